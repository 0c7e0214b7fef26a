"""A run's folder: begun, continued where it was, extended, or begun anew because the user says so.

More methods, tasks, languages or samples leave what is finished and add to it.  Anything else would lose predictions
and is refused without `--overwrite`.  Only what a run has written itself is ever removed.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from clas_models.atomic import LOCK_NAME, atomic_file, check_place, folder_lock
from clas_models.errors import InputError
from clas_models.json_data import flattened
from clas_models.keeping import refuse_loss

from .run_folder import PREDICTIONS_NAME, SETTINGS_NAME, TUNE_NAME, RunFolder, Settings, whole_lines

# Names: the fingerprint and digests say what lies behind them. Which of them were profiled follows.
_INFORMATION = ("model", "other.data", "other.adapter.folder", "other.profiled.")
# In `other`: more of them change nothing about the others. Examples and templates are by task and language.
_BY_METHOD_OR_TASK = ("max_length", "metrics", "written")
_BY_LANGUAGE = ("examples", "templates")
_NAMED = 4  # changed settings that are told

SettingsFor: TypeAlias = Callable[[tuple[int, ...]], Settings]
"""Numbers of samples that a run had before it was given more -> its settings."""


@contextmanager
def begun(
    path: Path, settings_for: SettingsFor, say: Callable[[str], Any], *, overwrite: bool = False
) -> Iterator[RunFolder]:
    """The run's folder with these settings in it, locked for the length of a `with` block.

    Args:
        path: a run's folder, an empty one, or one that is made now.
        settings_for: of the run that begins; where those in the folder are a part of them, the run goes on.
        say: is told what was found, in one line.
        overwrite: remove the predictions of a run with other settings.

    Raises:
        InputError: the folder holds something else, or predictions that would be lost, or another process writes to it.
        OSError: the folder cannot be written.
    """
    _check(path)
    path.mkdir(parents=True, exist_ok=True)
    with folder_lock(path, f"{path}: another run is writing to it; wait for it, or give another --out"):
        for leftover in _leftovers(path):
            leftover.unlink()
        if not (path / SETTINGS_NAME).is_file():
            settings = settings_for(())
            _write(path, settings)
            yield RunFolder(path, settings)
            return
        run = RunFolder.open(path)
        count = sum(len(whole_lines(file)) for file in _files(run))
        wanted = settings_for(_parts(run.settings, settings_for(())))
        if changed := _changes(run.settings, wanted):
            lost = f"{count:,} predictions of other settings are there ({'; '.join(changed)})"
            refuse_loss(path, lost if count else "", overwrite=overwrite)
            say(f"{path}: begun with other settings ({'; '.join(changed)}), so it starts anew")
            _discard(run)
            wanted = settings_for(())
        else:
            say(f"{path}: goes on, {count:,} predictions are there already")
        if changed or _telling(run.settings) != _telling(wanted):
            _write(path, wanted)
            run = RunFolder(path, wanted)
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
    for file in (*files, run.path / TUNE_NAME):
        file.unlink(missing_ok=True)
    folders = {folder for file in files for folder in (file.parent, file.parent.parent)}
    for folder in (*sorted(folders, key=lambda folder: -len(folder.parts)), run.path / PREDICTIONS_NAME):
        with suppress(OSError):  # gone already, or something of the user's is in it
            folder.rmdir()


def _parts(before: Settings, after: Settings) -> tuple[int, ...]:
    """The numbers of samples that a run had before those of `after`: they were planned in batches of their own."""
    parts = tuple(before.other.get("parts", ()))
    return (*parts, before.samples) if before.samples is not None and _is_more(before, after) else parts


def _is_more(before: Settings, after: Settings) -> bool:
    return before.samples is not None and (after.samples is None or after.samples > before.samples)


def _changes(before: Settings, after: Settings) -> list[str]:
    """What of a run's settings does not hold for `after`, each as `name was, now is`; more than they have is fine."""
    old, new = asdict(before), json.loads(json.dumps(asdict(after)))
    new["methods"] = _of(old["methods"], new["methods"])
    if isinstance(old["other"].get("max_length"), int):  # version 0.1 had one for all tasks
        old["other"]["max_length"] = dict.fromkeys(old["languages"], old["other"]["max_length"])
    for name in _BY_METHOD_OR_TASK:
        if name in new["other"]:
            new["other"][name] = _of(old["other"].get(name, {}), new["other"][name])
    new["languages"] = {
        task: [code for code in codes if code in new["languages"][task]]
        for task, codes in old["languages"].items()
        if task in new["languages"]
    }
    for name in _BY_LANGUAGE:
        if known := old["other"].get(name):
            new["other"][name] = {task: _known(known[task], new["other"][name].get(task)) for task in known}
    if _is_more(before, after):
        new["samples"] = before.samples
    for settings in (old, new):
        settings["other"].pop("parts", None)
    flat, now = _telling(old), _telling(new)
    names = [name for name in {**flat, **now} if flat.get(name) != now.get(name)]
    told = [f"{name} {_short(flat.get(name))}, now {_short(now.get(name))}" for name in names[:_NAMED]]
    return told + ([f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else [])


def _telling(settings: Settings | dict[str, Any]) -> dict[str, Any]:
    """All settings that a prediction depends on, as read from a file, with names such as `methods.clas.alpha`."""
    values = json.loads(json.dumps(asdict(settings) if isinstance(settings, Settings) else settings))
    return {name: value for name, value in flattened(values).items() if not name.startswith(_INFORMATION)}


def _of(known: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values under names that are known."""
    return {name: values[name] for name in known if name in values}


def _known(known: Any, found: Any) -> Any:
    """Of what was found by language that of the known ones; of digests of parts those of the known parts."""
    if not isinstance(known, dict) or not isinstance(found, dict):
        return found
    of_known = _of(known, found)
    return {
        code: value[: len(known[code])] if isinstance(value, list) and isinstance(known[code], list) else value
        for code, value in of_known.items()
    }


def _short(value: object) -> str:
    text = "not there" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
