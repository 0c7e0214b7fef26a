"""A command line of the project in this process, and how a run of it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Ended:
    """How a run ended; `status` is minus the signal for one that was killed."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Command:
    """`run` takes arguments and returns the exit status; a refusal begins with `prog`."""

    capture: pytest.CaptureFixture[str]
    run: Callable[[Sequence[object]], int]
    prog: str

    def __call__(self, *arguments: object) -> Ended:
        self.capture.readouterr()
        status = self.run(arguments)
        return Ended(status, *self.capture.readouterr())

    def made(self, *arguments: object) -> Ended:
        """A run that must succeed."""
        ended = self(*arguments)
        assert ended.status == 0, ended.err
        return ended

    def refused(self, *arguments: object) -> str:
        """The one line that a run says which must be refused before it begins to work."""
        ended = self(*arguments)
        assert ended.status == 2, ended.err
        assert ended.out == ""
        line, end = ended.err[:-1], ended.err[-1]
        assert end == "\n"
        assert "\n" not in line, line
        assert "\r" not in line, "a progress bar: work was done in vain"
        head, _, said = line.partition(": error: ")
        assert f"{head} ".startswith(f"{self.prog} ")
        return said
