"""A folder that appears under its final name whole or not at all, and keeps finished work for the next attempt."""

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..atomic import LOCK_NAME, check_place, folder_lock, fsync_path
from ..errors import InputError
from ..keeping import refuse_loss, refuse_runs_within
from ..modeling.families import FAMILIES
from .export_record import read_record
from .source import read_config


def staging_folder(out: Path) -> Path:
    """Where an unfinished `out` is made: beside it, so that the last step is a rename."""
    return out.with_name(f".{out.name}.incomplete")


def _replaced(out: Path) -> Path:
    """Where the folder is that `out` takes the place of, for the moment."""
    return out.with_name(f".{out.name}.replaced")


def check_target(out: Path, *, overwrite: bool) -> None:
    """Refuse an `out` that must not be written, before any work is done.

    Raises InputError: it exists and may not be replaced, or its parent is not a writable folder.
    """
    if out.exists() or out.is_symlink():
        refuse_loss(out, "exists already", overwrite=overwrite)
        if not _is_replaceable(out):
            raise InputError(f"{out}: not a steered checkpoint, so --overwrite leaves it alone; give another --out")
        refuse_runs_within(out)
    check_place(out.parent)


def _is_replaceable(out: Path) -> bool:
    if not out.is_dir() or out.is_symlink():
        return False
    if not any(out.iterdir()) or read_record(out) is not None:
        return True
    try:
        return read_config(out).get("model_type") in {family.model_type for family in FAMILIES.values()}
    except InputError:
        return False


@contextmanager
def staged(out: Path, *, overwrite: bool, keep: Collection[str] = ()) -> Iterator[Path]:
    """A locked folder to fill; it becomes `out` when the block ends without an exception, and else it stays.

    It is empty but for what an earlier attempt left under the names in `keep`, the finished work.

    Raises InputError: `out` must not be written, or another conversion is writing it.
    """
    check_target(out, overwrite=overwrite)
    folder = staging_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder, f"{out}: another conversion is writing it; wait for it, or give another --out"):
        try:
            if (old := _replaced(out)).is_dir() and not out.exists():  # an attempt was killed between its two renames
                old.rename(out)
                check_target(out, overwrite=overwrite)
            _discard_leftovers(folder, keep)
            yield folder
        except InputError:
            # After a user's mistake the folder is kept only if an attempt has finished something in it.
            if not any(path.name in keep for path in folder.iterdir()):
                shutil.rmtree(folder)
            raise
        (folder / LOCK_NAME).unlink(missing_ok=True)
        fsync_path(folder)
        _publish(folder, out, overwrite=overwrite)


def _discard_leftovers(folder: Path, keep: Collection[str]) -> None:
    """What an earlier attempt, perhaps at another model, left unfinished must not be published with this one."""
    for path in folder.iterdir():
        if path.name == LOCK_NAME or path.name in keep:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _publish(folder: Path, out: Path, *, overwrite: bool) -> None:
    check_target(out, overwrite=overwrite)  # somebody may have made it in the meantime
    old = _replaced(out)
    shutil.rmtree(old, ignore_errors=True)
    replaces = out.exists()
    if replaces:
        out.rename(old)
    try:
        folder.rename(out)
    except OSError:
        if replaces:
            old.rename(out)
        raise
    fsync_path(out.parent)
    shutil.rmtree(old, ignore_errors=True)
