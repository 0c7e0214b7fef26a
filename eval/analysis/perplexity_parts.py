"""The folder of a perplexity change while it is computed: its settings, and a part for each language of text.

    OUT/settings.json                everything that the numbers depend on, written before the first part
    OUT/parts/LANGUAGE.safetensors   the nats of every row in that language, under every language's write

A part is there whole or not at all; a run that was stopped goes on with the parts that are missing.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from clas_models.atomic import LOCK_NAME, atomic_file, check_place, folder_lock, fsync_path
from clas_models.errors import InputError
from clas_models.json_data import parse_json
from clas_models.keeping import refuse_loss
from clas_models.profiling.tensor_file import check_names, check_tensor, described_tensors, save_described

SETTINGS_NAME, PARTS_NAME = "settings.json", "parts"
COMMAND = "perplexity-change"
_INFORMATION = ("model", "profiled")  # the fingerprint and the texts' digests say what lies behind them
_NAMED = 4  # changed settings that are told
_KEY, _VERSION = "clas_perplexity_change", 1


@dataclass(frozen=True)
class Part:
    """What was found on the text of one language, on the CPU.

    Attributes:
        nats: float64 `[1 + languages, rows]`, -log p summed over the tokens of each row; without any write first.
        tokens: int64 `[rows]`, how many tokens were predicted.
    """

    nats: Tensor
    tokens: Tensor

    def save(self, path: Path) -> None:
        """Raises OSError: it cannot be written."""
        path.parent.mkdir(parents=True, exist_ok=True)
        save_described(path, _KEY, {"format_version": _VERSION}, vars(self))
        fsync_path(path.parent)

    @classmethod
    def load(cls, path: Path, languages: int, rows: int) -> Self:
        """Raises InputError: no such file, a damaged one, or one of another shape."""
        remedy = "delete it and run again"
        with described_tensors(path, _KEY, "part of a perplexity change", remedy, _VERSION) as (_, tensors):
            check_names(tensors, set(cls.__dataclass_fields__))
            check_tensor("nats", tensors["nats"], torch.float64, (1 + languages, rows))
            check_tensor("tokens", tensors["tokens"], torch.int64, (rows,))
            if not bool(tensors["nats"].isfinite().all()):
                raise InputError(f"tensor 'nats' holds values that are not finite; {remedy}")
            return cls(**tensors)


def part_path(folder: Path, language: str) -> Path:
    return folder / PARTS_NAME / f"{language}.safetensors"


@contextmanager
def begun(
    folder: Path, settings: Mapping[str, Any], say: Callable[[str], Any], *, overwrite: bool = False
) -> Iterator[None]:
    """The folder with these settings in it, locked for the length of a `with` block.

    Args:
        folder: one of a perplexity change, an empty one, or one that is made now.
        settings: of what is computed, as JSON holds them.
        say: is told what was found, in one line.
        overwrite: remove parts of other settings.

    Raises:
        InputError: the folder holds something else, or parts that would be lost, or another process writes to it.
        OSError: the folder cannot be written.
    """
    _check(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder, f"{folder}: another run is writing to it; wait for it, or give another --out"):
        path, wanted = folder / SETTINGS_NAME, json.loads(json.dumps(settings))
        if path.is_file():
            count = len(list((folder / PARTS_NAME).glob("*.safetensors")))
            if changed := _changes(_read(path), wanted):
                lost = f"{count} parts of other settings are there ({'; '.join(changed)})"
                refuse_loss(folder, lost if count else "", overwrite=overwrite)
                say(f"{folder}: begun with other settings ({'; '.join(changed)}), so it starts anew")
                _discard(folder)
            else:
                say(f"{folder}: goes on, {count} parts are there already")
        with atomic_file(path) as partial:
            partial.write_text(json.dumps(wanted, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        yield


def _check(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: a file is in the way; give another --out")
    check_place(folder)
    if not folder.is_dir() or (folder / SETTINGS_NAME).is_file():
        return
    unfinished = {left.name for left in folder.glob(f".{SETTINGS_NAME}.*.partial")}
    if foreign := {entry.name for entry in folder.iterdir()} - {LOCK_NAME} - unfinished:
        raise InputError(
            f"{folder}: not empty ({min(foreign)}) and not the folder of a perplexity change; give another --out, or "
            "an empty folder"
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or found.get("command") != COMMAND:
            raise ValueError(f"its command is not {COMMAND}")
        return found
    except ValueError as error:
        raise InputError(f"{path}: not the settings of a perplexity change ({error}); give another --out") from error


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Which settings differ, each as `name was, now is`."""
    names = [name for name in {**before, **after} if name not in _INFORMATION and before.get(name) != after.get(name)]
    told = [f"{name} {_short(before.get(name))}, now {_short(after.get(name))}" for name in names[:_NAMED]]
    return told + ([f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else [])


def _short(value: object) -> str:
    text = "not there" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"


def _discard(folder: Path) -> None:
    """Remove what the command itself has written but the settings, which are replaced afterwards."""
    for path in (*(folder / PARTS_NAME).glob("*.safetensors"), *folder.glob(f"{COMMAND}*.*")):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # something of the user's is in it
        (folder / PARTS_NAME).rmdir()
