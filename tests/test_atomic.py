"""Files that appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from clas_models.atomic import atomic_file

resource = pytest.importorskip("resource", reason="file modes and size limits are those of POSIX")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The system refuses to make a file longer than that, as it does when the disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_the_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "card.txt"
    with atomic_file(path) as partial:
        partial.write_text("first half, ")
        assert not path.exists()
        assert partial.parent == path.parent  # on the same disk, so that the last step is a rename
        with partial.open("a") as file:
            file.write("second half")
    assert path.read_text() == "first half, second half"
    assert list(tmp_path.iterdir()) == [path]


def test_replaces_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "card.txt"
    path.write_text("old, and longer than the new")
    with atomic_file(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old, and longer than the new"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_who_has_the_old_file_open_reads_on(tmp_path: Path) -> None:
    path = tmp_path / "card.txt"
    path.write_text("old")
    with path.open() as reader:
        with atomic_file(path) as partial:
            partial.write_text("new")
        assert reader.read() == "old"


def fail_halfway(path: Path, error: type[BaseException]) -> None:
    with atomic_file(path) as partial:
        partial.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        fail_halfway(tmp_path / "card.txt", error)
    assert list(tmp_path.iterdir()) == []


def test_an_exception_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "card.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        fail_halfway(path, KeyboardInterrupt)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "card.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="File too large"), files_of_at_most(4096), atomic_file(path) as partial:
        partial.write_bytes(bytes(10_000))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_os_error_for_tensors_too(tmp_path: Path) -> None:
    path = tmp_path / "masks.safetensors"
    with pytest.raises(OSError, match="File too large") as caught, files_of_at_most(4096), atomic_file(path) as partial:
        save_file({"mask": torch.ones(10_000, dtype=torch.bool)}, partial)
    assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from clas_models.atomic import atomic_file
with atomic_file(sys.argv[1]) as partial:
    partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "card.txt"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_text() == "old"
    with atomic_file(path) as partial:  # what the other one left is not in the way
        partial.write_text("new")
    assert path.read_text() == "new"


def test_a_name_that_a_folder_has(tmp_path: Path) -> None:
    path = tmp_path / "card.txt"
    path.mkdir()
    with pytest.raises(IsADirectoryError), atomic_file(path) as partial:
        partial.write_text("text")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "missing" / "card.txt"):
        pytest.fail("there is nothing to write to")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError), atomic_file(tmp_path / "card.txt"):
        pytest.fail("there is nothing to write to")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_mode_follows_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    path = tmp_path / "masks.safetensors"
    with umask(mask), atomic_file(path) as partial:
        save_file({"mask": torch.ones(3)}, partial)  # which makes files for their owner alone
    assert path.stat().st_mode & 0o777 == mode


def test_content_and_name_reach_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    with atomic_file(tmp_path / "card.txt") as partial:
        partial.write_text("text")
        assert synced == []
    assert synced == [(tmp_path / "card.txt").stat().st_ino, tmp_path.stat().st_ino]


def test_what_a_killed_process_left_of_the_same_file_goes(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, running, other = (tmp_path / f".card.txt.{name}.partial" for name in (ended.pid, os.getppid(), "x"))
    for path in (left, running, other):
        path.touch()
    with atomic_file(tmp_path / "card.txt") as partial:
        partial.write_text("new")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "card.txt", running, other])
