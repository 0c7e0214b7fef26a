"""A run's folder: begun, continued where it was, or begun anew because its settings have changed.

Only what a run has written itself is ever removed.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clas_models.atomic import LOCK_NAME, atomic_file, check_place, folder_lock
from clas_models.errors import InputError

from .run_folder import PREDICTIONS_NAME, SETTINGS_NAME, TUNE_NAME, RunFolder, Settings, whole_lines

_INFORMATION = ("model", "other.data")  # names: the fingerprint and the examples' digest say what lies behind them
_GROWING = ("methods", "languages")  # more methods and tasks change nothing about those that were there
_GROWING_OTHER = ("metrics", "templates", "examples", "written")  # as these, in `other`, by method or task
_NAMED = 4  # changed settings that are told


@contextmanager
def begun(path: Path, settings: Settings, say: Callable[[str], Any]) -> Iterator[RunFolder]:
    """The run's folder with these settings in it, locked for the length of a `with` block.

    Args:
        path: a run's folder, an empty one, or one that is made now.
        settings: of the run that begins; where they are those in the folder, and perhaps methods or tasks more, the run
            goes on.
        say: is told what was found, in one line.

    Raises:
        InputError: the folder holds something else, or another process writes to it.
        OSError: the folder cannot be written.
    """
    _check(path)
    path.mkdir(parents=True, exist_ok=True)
    with folder_lock(path, f"{path}: another run is writing to it; wait for it, or give another --out"):
        for leftover in _leftovers(path):
            leftover.unlink()
        if not (path / SETTINGS_NAME).is_file():
            _write(path, settings)
            yield RunFolder(path, settings)
            return
        run = RunFolder.open(path)
        before, after = asdict(run.settings), json.loads(json.dumps(asdict(settings)))
        common = _common(before, after)
        if changed := _changes(before, common):
            say(f"{path}: begun with other settings ({'; '.join(changed)}), so it starts anew")
            _discard(run)
        else:
            count = sum(len(whole_lines(file)) for file in _files(run))
            say(f"{path}: goes on, {count:,} predictions are there already")
        if changed or common != after:
            (path / TUNE_NAME).unlink(missing_ok=True)  # decided among fewer candidates
            run = RunFolder(path, settings)
            _write(path, settings)
        yield run


def _check(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: a file is in the way; give another --out")
    check_place(path)
    if not path.is_dir() or (path / SETTINGS_NAME).is_file():
        return
    foreign = {entry.name for entry in path.iterdir()} - {LOCK_NAME, *(left.name for left in _leftovers(path))}
    if foreign:
        raise InputError(
            f"{path}: not empty ({min(foreign)}) and not the folder of a run; give another --out, or an empty folder"
        )


def _leftovers(path: Path) -> list[Path]:
    """What a killed run leaves of files that appear whole or not at all."""
    return [left for name in (SETTINGS_NAME, TUNE_NAME) for left in path.glob(f".{name}.*.partial")]


def _write(path: Path, settings: Settings) -> None:
    with atomic_file(path / SETTINGS_NAME) as partial:
        text = json.dumps(asdict(settings), indent=2, ensure_ascii=False)
        partial.write_text(text + "\n", encoding="utf-8")


def _files(run: RunFolder) -> list[Path]:
    settings = run.settings
    return [
        run.file(task, method, language)
        for task, languages in settings.languages.items()
        for method in settings.methods
        for language in languages
    ]


def _discard(run: RunFolder) -> None:
    """Remove a run's own files, the settings last of all, by being replaced: until then they tell that others hold."""
    files = _files(run)
    for file in files:
        file.unlink(missing_ok=True)
    folders = {folder for file in files for folder in (file.parent, file.parent.parent)}
    for folder in (*sorted(folders, key=lambda folder: -len(folder.parts)), run.path / PREDICTIONS_NAME):
        with suppress(OSError):  # gone already, or something of the user's is in it
            folder.rmdir()


def _common(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """`after` without the methods and tasks that `before` does not have."""
    other = _without_new(after["other"], before["other"], _GROWING_OTHER)
    return _without_new(after, before, _GROWING) | {"other": other}


def _without_new(after: dict[str, Any], before: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    known = {name: before.get(name, {}) for name in names if name in after}
    return after | {name: {key: value for key, value in after[name].items() if key in known[name]} for name in known}


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What differs between two settings, each as `name was, now is`."""
    old, new = _flat(before), _flat(after)
    names = [name for name in {**old, **new} if name not in _INFORMATION and old.get(name) != new.get(name)]
    told = [f"{name} {_short(old.get(name))}, now {_short(new.get(name))}" for name in names[:_NAMED]]
    return told + ([f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else [])


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with names such as `methods.clas.alpha`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _short(value: object) -> str:
    text = "not there" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
