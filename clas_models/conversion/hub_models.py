"""Models from the Hugging Face Hub, as local folders.

Whether the Hub answers is found out with one request that waits a few seconds; then `huggingface_hub` downloads, and
goes on where an earlier download stopped.
"""

import errno
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from ..errors import InputError
from .companions import PATTERNS

WANTED = ("*.safetensors", "*.json", "*.py", "README.md", *PATTERNS)
# What tells what a model is, without its weights.
_FIRST = ("*config*.json", "model_index.json", "params.json")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_SECONDS = 6.0
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


class HubUnreachableError(InputError):
    """The Hub does not answer from here, and the model is not in the local cache either."""


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form of a Hub id, `owner/name`."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def download_model(repo_id: str, check: Callable[[Path, str], None] | None = None) -> Path:
    """The folder of a model's newest revision in the Hub's cache, downloaded where it is not there yet.

    `check` is given a folder with the configuration, and the id, before any weights come; it raises InputError.

    Raises:
        HubUnreachableError: the Hub cannot be reached and the cache does not hold the model.
        InputError: no such model, no right to it, or no safetensors weights.
        OSError: the disk is full or not writable.
    """
    try:
        if constants.HF_HUB_OFFLINE:
            raise OfflineModeIsEnabled("HF_HUB_OFFLINE is set")
        siblings = HfApi().model_info(repo_id, timeout=_SECONDS).siblings or []
        _refuse_pickles(repo_id, [file.rfilename for file in siblings])
        if check is not None:
            check(Path(snapshot_download(repo_id, allow_patterns=list(_FIRST))), repo_id)
        return Path(snapshot_download(repo_id, allow_patterns=list(WANTED)))
    except GatedRepoError as error:
        raise InputError(
            f"{repo_id}: the model is gated; ask for access on its page and log in with `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{repo_id}: no such model on the Hub, or no right to see it; check the name, or log in"
        ) from error
    except InputError:
        raise
    except Exception as error:  # what cannot be reached raises exceptions of the HTTP library that the Hub's uses
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise
        return _from_cache(repo_id, error)


def _from_cache(repo_id: str, error: Exception) -> Path:
    try:
        folder = Path(snapshot_download(repo_id, allow_patterns=list(WANTED), local_files_only=True))
    except (LocalEntryNotFoundError, OSError):
        folder = None
    if folder is None or not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise HubUnreachableError(
            f"{repo_id}: neither a local folder nor in the cache, and the Hub cannot be reached "
            f"({type(error).__name__}); check the connection, or give the folder of a downloaded model"
        ) from error
    return folder


def _refuse_pickles(repo_id: str, names: list[str]) -> None:
    if any(name.endswith(".safetensors") for name in names):
        return
    if any(name.endswith(_PICKLES) for name in names):
        raise InputError(
            f"{repo_id}: its weights are a pickle, which can run code when it is read and is refused; "
            "look for a revision or a copy of the model with safetensors weights"
        )
    if any(name.endswith(".gguf") for name in names):
        raise InputError(f"{repo_id}: holds GGUF files; download one of them and give the file")
    raise InputError(f"{repo_id}: no safetensors weights in this repository")
