"""What must hold of any input: a right result, or one line that says what is wrong; soon, and nothing half done."""

from __future__ import annotations

import io
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TypeVar

from clas_models.errors import InputError

_SECONDS = 60
_MEMORY = 8 * 2**30  # of addresses, beyond what this process has already
Result = TypeVar("Result")


def refused(call: Callable[[], Result]) -> Result | str:
    """The result, or the message of the InputError that was raised; any other exception is a fault."""
    with _in_time():
        try:
            return call()
        except InputError as error:
            message = str(error)
    assert message.strip()
    return message


def status_of(main: Callable[[Sequence[str]], int], arguments: Sequence[object], prog: str) -> int:
    """The exit status of a command line that is told to be quiet; 2 says one line, and nothing else."""
    out, err = _stream("strict"), _stream("backslashreplace")
    with _in_time(), redirect_stdout(out), redirect_stderr(err):
        try:
            status: Any = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code or 0
    said = _text(err)
    assert status in (0, 2), (status, said)
    if status == 2:
        assert said.endswith("\n"), said
        assert said.count("\n") == 1, said
        assert f"{said.partition(': error: ')[0]} ".startswith(f"{prog} "), said
        assert len(said.partition(": error: ")[2]) > 1, said
        assert not _text(out)
    return int(status)


def _stream(errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=errors, write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    return stream.buffer.getvalue().decode()  # type: ignore[attr-defined]


@contextmanager
def _in_time() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise AssertionError(f"not done after {_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def little_memory() -> Iterator[None]:
    """No more than `_MEMORY` can be asked for."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
