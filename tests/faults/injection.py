"""A command in a process of its own, in which the n-th change to the files below a folder goes wrong.

Changes are what Python does to files and folders, every wait for the disk, and every file that safetensors writes.  A
clean run lists them, with the places in the project's code that they come from; then each can be made to fail.
"""

# Descriptors, and paths as the system is given them.
# ruff: noqa: PTH109, PTH113, PTH115, PTH118, PTH202
from __future__ import annotations

import errno
import io
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from tqdm import tqdm

_ROOT = Path(__file__).parents[2]
_CODE = (f"{_ROOT}/clas_models/", f"{_ROOT}/eval/")
_DEADLINE = 120.0
# By their number: the folder that a path is relative to stands there, or nothing.
_CHANGES = {"os.mkdir": 2, "os.rename": 2, "os.remove": 1, "os.rmdir": 1, "os.link": 2, "os.symlink": 2,
            "os.chmod": 2, "os.truncate": None, "open": None}  # fmt: skip
_FREES = ("os.rename", "os.remove", "os.rmdir", "os.chmod")
Main = Callable[[Sequence[str]], int]


@dataclass(frozen=True)
class Fault:
    """What befalls the `number`-th change, from 0.

    `kind`: "full", nothing more can be written from there on; "denied", the system refuses it, once; "killed".  What
    was on its way to the disk is there by half.
    """

    kind: str
    number: int

    @property
    def errno(self) -> int:
        return errno.ENOSPC if self.kind == "full" else errno.EACCES


@dataclass(frozen=True)
class Run:
    """How a command ended: `status` is minus the signal for one that was killed, None for one that raised; `changes`
    are the places of all changes.
    """

    status: int | None
    err: str
    changes: tuple[str, ...]


def run(main: Main, arguments: Sequence[object], folder: Path, fault: Fault | None = None) -> Run:
    """The command, with every library as warm as in this process."""
    tqdm.monitor_interval = 0  # a thread, which a fork would lose
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(main, [str(each) for each in arguments], folder, fault, sender))
    process.start()
    sender.close()
    try:
        assert receiver.poll(_DEADLINE), "the command does not end"
        status, err, changes = receiver.recv()
    except EOFError:
        process.join(_DEADLINE)
        status, err, changes = process.exitcode, "", ()
    process.kill()
    process.join()
    return Run(status, err, changes)


def _run(main: Main, arguments: Sequence[str], folder: Path, fault: Fault | None, sender: Any) -> None:
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    err = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(err):
        injector = _Injector(folder, fault)
        status: int | None
        try:
            status = main(arguments)
        except BaseException:
            status = None
            traceback.print_exc()
    sender.send((status, err.getvalue(), tuple(injector.changes)))


class _Injector:
    def __init__(self, folder: Path, fault: Fault | None) -> None:
        self.folder, self.fault = str(folder), fault
        self.changes: list[str] = []
        self._busy = False
        self._fsync, self._write, self._serialize = os.fsync, os.write, safetensors.torch.serialize_file
        os.fsync, os.write, safetensors.torch.serialize_file = self.fsync, self.write, self.serialize
        sys.addaudithook(self.hook)

    def hook(self, event: str, given: tuple[Any, ...]) -> None:
        if self._busy or event not in _CHANGES or (event == "open" and not given[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        self._busy = True
        try:
            place = _CHANGES[event]
            path = _path(given[0], given[place] if place is not None else -1)
        finally:
            self._busy = False
        self.meet(event, path)

    def fsync(self, descriptor: int) -> None:
        path = _path(descriptor)
        self.meet("fsync", path, lambda: os.path.isfile(path) and os.truncate(path, os.path.getsize(path) // 2))
        self._fsync(descriptor)

    def write(self, descriptor: int, content: bytes) -> int:
        self.meet("write", _path(descriptor), lambda: self._write(descriptor, content[: len(content) // 2]))
        return self._write(descriptor, content)

    def serialize(self, tensors: Any, path: Any, **more: Any) -> None:
        def half() -> None:
            self._serialize(tensors, path, **more)
            os.truncate(path, os.path.getsize(path) // 2)

        try:
            self.meet("serialize", str(path), half)
        except OSError as error:
            raise SafetensorError(f"I/O error: {error.strerror} (os error {error.errno})") from error
        self._serialize(tensors, path, **more)

    def meet(self, event: str, path: str, half: Callable[[], Any] = lambda: None) -> None:
        """Count a change, and let it come to grief if it shall."""
        if self._busy or not path.startswith(self.folder):
            return
        number = len(self.changes)
        self.changes.append(f"{event} {_place()}")
        fault = self.fault
        if fault is None or number < fault.number:
            return
        if number > fault.number and fault.kind != "full":
            return
        if fault.kind == "full" and event in _FREES:
            return
        self._busy = True
        try:
            half()
        finally:
            self._busy = False
        if fault.kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(fault.errno, os.strerror(fault.errno), path)


def _path(path: Any, folder: int = -1) -> str:
    """A path, or that of an open file; one that is relative to an open folder as a whole."""
    if isinstance(path, int):
        return os.readlink(f"/proc/self/fd/{path}")
    start = os.getcwd() if folder < 0 else os.readlink(f"/proc/self/fd/{folder}")
    return os.path.join(start, os.fsdecode(path))


def _place() -> str:
    """The lines of the project's code that are being run."""
    frames = (frame for frame, _ in traceback.walk_stack(None))
    return " ".join(f"{f.f_code.co_name}:{f.f_lineno}" for f in frames if f.f_code.co_filename.startswith(_CODE))
