"""Files that appear whole or not at all, and folders that one process at a time writes to."""

import glob
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from .errors import InputError

LOCK_NAME = ".lock"


def fsync_path(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_running(suffix: str) -> bool:
    """Whether there is a process with this number behind a dot, or it is none."""
    try:
        os.kill(int(suffix[1:]), 0)
    except (ValueError, PermissionError):
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the final name when the block ends without an exception.

    What killed processes have left of earlier ones goes.

    Raises OSError: it could not be written; then what stood under the final name still does, and nothing beside it.
    """
    path = Path(path)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        if not _is_running(left.suffixes[-2]):
            left.unlink(missing_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.touch()
    mode = partial.stat().st_mode  # what the user's umask allows; safetensors would leave 0600
    try:
        yield partial
        partial.chmod(mode)
        fsync_path(partial)
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        # safetensors reports a full disk as an error of its own, which nobody expects from writing a file.
        if isinstance(error, SafetensorError) and (number := re.search(r"os error (\d+)", str(error))):
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        raise
    fsync_path(path.parent)


def check_place(path: Path) -> None:
    """Raises InputError: `path` is neither a folder that can be written nor can become one."""
    above = path
    while not os.path.lexists(above) and above != above.parent:
        above = above.parent
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise InputError(f"{above} is not a folder that can be written; give another --out")


@contextmanager
def folder_lock(folder: Path, busy: str) -> Iterator[None]:
    """The folder is this process's alone, by a file `.lock`. Raises InputError, with the text `busy`: it is not."""
    try:
        lock = FileLock(folder / LOCK_NAME).acquire(timeout=0)
    except Timeout as error:
        raise InputError(busy) from error
    with lock:
        yield
