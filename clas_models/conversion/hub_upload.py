"""A finished checkpoint folder goes to the Hub: the repository is made ready first, then the files that belong there.

`huggingface_hub` sends them.  It asks the Hub what is there already, so an upload that broke off is resumed by being
started again; the new files appear in the repository in one commit.  What the folder holds beside a checkpoint's own
files stays where it is.
"""

import glob
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import enable_progress_bars, validate_repo_id

from ..atomic import atomic_file
from ..command_line import CONVERT
from ..errors import InputError
from ..modeling.families import FAMILIES
from .companions import code_files_in, companions
from .export_record import ADAPTER_CONFIG, EXPORT_NAME, ExportRecord, read_record
from .formats.control_vector import file_name
from .model_card import CARD_NAME, CARD_TAG, with_address
from .rescaling import FIGURE_STEM
from .source import PROFILE_NAME, QUANTILES_NAME, STRENGTHS_NAME, VECTORS_NAME, read_config
from .weights import INDEX_NAME, read_shards

_FILES = (
    "config.json", INDEX_NAME, PROFILE_NAME, QUANTILES_NAME, VECTORS_NAME, STRENGTHS_NAME, EXPORT_NAME,
    CARD_NAME,
    f"{FIGURE_STEM}.png", f"{FIGURE_STEM}.svg",
)  # fmt: skip
_ADAPTER_FILES = (ADAPTER_CONFIG, "adapter_model.safetensors")
_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")
_ANY_WEIGHTS = (".safetensors", ".bin", ".gguf")
_SECONDS = 10.0


def prepare_repository(name: str, *, private: bool = False) -> str:
    """The id, with its owner, of a repository that the user may write to; created, empty, where it does not exist.

    Args:
        name: owner/name, or a name alone for the user's own.
        private: of a repository that is created; one that exists keeps its visibility.

    Raises InputError: no valid name, no token, no right to write, no connection, a public repository where a private
    one was asked for, or one that holds another model.
    """
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(
            f"{name!r} is no name of a repository: write owner/name, with letters, digits, '-', '_' and '.'"
        ) from error
    if constants.HF_HUB_OFFLINE:
        raise InputError(f"{name}: nothing can be uploaded while HF_HUB_OFFLINE is set; unset it")
    if get_token() is None:
        raise InputError(f"{name}: an upload needs a token; log in with `hf auth login`, or set HF_TOKEN")
    api = HfApi()
    with _told(name):
        user = api.whoami()
        repo_id = name if "/" in name else f"{user['name']}/{name}"
        if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise InputError(f"{repo_id}: the token may only read; make one that may write in the Hub's settings")
        try:
            info = api.model_info(repo_id, timeout=_SECONDS)
        except RepositoryNotFoundError:
            api.create_repo(repo_id, private=private or None)
            info = api.model_info(repo_id, timeout=_SECONDS)
        # The first request of every upload: refused without the right to write, and it changes nothing.
        api.preupload_lfs_files(repo_id, [CommitOperationAdd(CARD_NAME, b"")])
    if private and not info.private:
        raise InputError(
            f"{repo_id}: exists and is public, which --private does not change; make it private in its settings on the "
            "Hub, or give another name"
        )
    weights = [file for file in info.siblings or () if file.rfilename.endswith(_ANY_WEIGHTS)]
    if weights and CARD_TAG not in (info.tags or ()):
        raise InputError(f"{repo_id}: holds another model already; give another name, or empty the repository")
    return repo_id


def check_new(out: Path, *, overwrite: bool) -> None:
    """Raises InputError for a folder that a conversion would find in its way, before a repository is made for it."""
    if out.exists() and not overwrite:
        raise InputError(
            f"{out}: exists already; leave MODEL out to upload it as it is, or give another --out, or --overwrite"
        )


def upload_finished(folder: Path, name: str, *, private: bool = False, quiet: bool = False) -> str:
    """Upload a checkpoint that was finished before; as `prepare_repository` and `upload`."""
    checkpoint_files(folder)  # before a repository is made for it
    return upload(folder, prepare_repository(name, private=private), quiet=quiet)


def upload(folder: Path, repo_id: str, *, quiet: bool = False) -> str:
    """Upload a finished checkpoint, whose card says from then on where it is; returns the address of the repository.

    Weights of an earlier upload that no longer belong to the checkpoint are removed from the repository.

    Raises InputError: no finished checkpoint, or the upload broke off; the message says how it goes on.
    KeyboardInterrupt: with that message, too. OSError: the card cannot be written.
    """
    files = checkpoint_files(folder)
    if (card := folder / CARD_NAME).is_file():
        before = card.read_text(encoding="utf-8")
        if (after := with_address(before, repo_id)) != before:
            with atomic_file(card) as partial:
                partial.write_text(after, encoding="utf-8")
    if not quiet:
        enable_progress_bars()
    go_on = f"{CONVERT} --out {shlex.quote(str(folder))} --push-to-hub {repo_id}"
    try:
        api = HfApi()
        there = api.list_repo_files(repo_id)
        api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=[glob.escape(name) for name in files],
            delete_patterns=[name for name in there if _WEIGHTS.fullmatch(name) and name not in files] or None,
            commit_message="Upload checkpoint",
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; the checkpoint in {folder} is whole, go on with: {go_on}") from None
    except Exception as error:  # of the Hub's library, of its HTTP library, and of the threads that they start
        raise InputError(
            f"{repo_id}: the upload broke off ({_reason(error)}); the checkpoint in {folder} is whole, go "
            f"on with: {go_on}"
        ) from error
    return f"{constants.ENDPOINT}/{repo_id}"


def checkpoint_files(folder: Path) -> list[str]:
    """The files of a finished checkpoint or of another form of it, as paths in the folder; nothing else that lies
    there is named.

    Raises InputError: it is neither, or something of it is missing or damaged.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder of a finished checkpoint with --out")
    record = read_record(folder)
    if record is not None and not (folder / "config.json").is_file():
        found = _adapters(folder, record)
    else:
        found = [*_code(folder), *(shard.path for shard in read_shards(folder))]
    found += [*(folder / name for name in _FILES), *companions(folder)]
    return sorted({path.relative_to(folder).as_posix() for path in found if path.is_file()})


def _adapters(folder: Path, record: ExportRecord) -> list[Path]:
    languages = record.languages
    if record.format == "control-vector":
        needed = [folder / file_name(code) for code in languages]
    else:
        needed = [folder / code / name for code in languages for name in _ADAPTER_FILES]
    for path in needed:
        if not path.is_file():
            raise InputError(f"{path}: missing, so the adapters are not whole; make them again")
    return [*needed, *(folder / code / CARD_NAME for code in languages)]


def _code(folder: Path) -> list[Path]:
    """A steered checkpoint's modeling files; a folded one has none. Raises InputError: the folder holds neither."""
    config = read_config(folder)
    if config.get("model_type") in {family.model_type for family in FAMILIES.values()}:
        return code_files_in(folder, config.get("auto_map") or {})
    if read_record(folder) is None:
        model_type = config.get("model_type")
        raise InputError(f"{folder}: not a steered checkpoint (model type {model_type!r}); convert it first")
    return []


@contextmanager
def _told(name: str) -> Iterator[None]:
    """What goes wrong between here and the Hub, as a user's mistake that says what to do."""
    try:
        yield
    except InputError:
        raise
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise InputError(f"{name}: the Hub does not know the token; log in again with `hf auth login`") from error
        if status == 403:
            raise InputError(
                f"{name}: the token has no right to write there; give a repository of yours, or a token that may write"
            ) from error
        raise InputError(f"{name}: the Hub refuses ({_reason(error)}); try again later") from error
    except Exception as error:  # of the HTTP library that the Hub's uses, which changes with its version
        raise InputError(
            f"{name}: the Hub cannot be reached ({_reason(error)}); check the connection and run again"
        ) from error


def _reason(error: BaseException) -> str:
    """What lies behind an error, in a few words: the Hub's own answer where there is one."""
    if type(error) is ValueError:  # the library's own words, such as those about a card's metadata
        return " ".join(str(error).split())
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, HfHubHTTPError):
        seen = seen.__cause__
    if isinstance(seen, HfHubHTTPError):
        return f"{seen.response.status_code} {seen.server_message or seen.response.reason_phrase}"
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}".partition("\n")[0]
