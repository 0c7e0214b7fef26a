"""One command, disturbed at each of its changes in turn, and then run again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .injection import Fault, Main, Run, run

KINDS = ("full", "denied", "killed")
_ALL = os.environ.get("HYPOTHESIS_PROFILE") == "long"


@dataclass(frozen=True)
class Experiment:
    """A command that turns what is in a folder into what it shall be.

    Attributes:
        main, prog: the command line, and its name in messages.
        arguments: of the command, made of the folder that it is to work in.
        begin: what is in that folder before.
        whole: the name of the folder in it that the command makes, which must be there whole or not at all.
    """

    main: Main
    prog: str
    arguments: Callable[[Path], Sequence[object]]
    begin: Path
    whole: str | None = None

    def try_all(self, scratch: Path) -> int:
        """Every fault that is to be tried; returns how many there were."""
        clean = self._run(folder := self._fresh(scratch))
        assert clean.status == 0, clean.err
        expected, before = tree(folder), tree(self.begin)
        faults = list(chosen(clean.changes))
        gone_on: list[dict[str, Any]] = []
        for fault in faults:
            with Told(fault, clean.changes[fault.number]):
                disturbed = self._run(folder := self._fresh(scratch), fault)
                self._check_end(disturbed, fault)
                left = tree(folder)
                self._check_left(left, before, expected)
                if "--overwrite" not in self.arguments(folder) and self._is_made(left, expected):
                    continue  # the same command would refuse to touch it
                if left in gone_on:
                    continue  # it would do the same again
                gone_on.append(left)
                again = self._run(folder)
                assert again.status == 0, again.err
                assert differences(tree(folder), expected) == []
        return len(faults)

    def _fresh(self, scratch: Path) -> Path:
        """Always the same folder: some files hold its name."""
        folder = scratch / "work"
        shutil.rmtree(folder, ignore_errors=True)
        return Path(shutil.copytree(self.begin, folder))

    def _run(self, folder: Path, fault: Fault | None = None) -> Run:
        return run(self.main, self.arguments(folder), folder, fault)

    def _is_made(self, found: dict[str, Any], expected: dict[str, Any]) -> bool:
        return self.whole is not None and self.whole in found and differences(found, expected) == []

    def _check_end(self, ended: Run, fault: Fault) -> None:
        if fault.kind == "killed":
            assert ended.status == -9, (ended.status, ended.err)
        elif ended.status != 0:  # some changes are not needed
            assert ended.status == 2, ended.err
            assert ended.err.count("\n") == 1, ended.err
            assert ended.err.startswith(f"{self.prog}: error: "), ended.err

    def _check_left(self, found: dict[str, Any], before: dict[str, Any], expected: dict[str, Any]) -> None:
        """Files that were there are as they were, or as they shall be; what is made is whole, or not there."""
        made = "" if self.whole is None else self.whole
        for name, content in before.items():
            if name.partition("/")[0] != made:
                assert name in found, f"{name} is lost"
                assert found[name] in (content, expected.get(name)), f"{name} is damaged"
        old = within(before, made)
        assert within(found, made) in ({}, old, within(expected, made)), differences(found, expected)
        # Between the renames of two folders neither has the name.
        assert within(found, made) or within(found, f".{made}.replaced") == old, f"{made} is lost"


@dataclass(frozen=True)
class Told:
    """Adds to what goes wrong in a block which fault it was."""

    fault: Fault
    place: str

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            error.add_note(f"{self.fault}: {self.place}")


def chosen(changes: Sequence[str]) -> Iterator[Fault]:
    """All changes; or the first and the last of each line of the code, from wherever that is reached: one of the two
    fails, and both are fatal.
    """
    numbers: dict[str, list[int]] = {}
    for number, place in enumerate(changes):
        numbers.setdefault(" ".join(place.split()[:2]), []).append(number)
    for each in numbers.values():
        some = {"full": each[:1], "denied": each[-1:], "killed": sorted({each[0], each[-1]})}
        yield from (Fault(kind, number) for kind in KINDS for number in (each if _ALL else some[kind]))


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file with what it holds, and every folder, hidden ones included; not the locks, which stay."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.name != ".lock"
    }


def within(files: dict[str, Any], folder: str) -> dict[str, Any]:
    """Those in a folder, by their names in it."""
    return {
        name.removeprefix(f"{folder}/"): content for name, content in files.items() if name.startswith(f"{folder}/")
    }


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """The names of what is not the same."""
    return [name for name in sorted({*found, *expected}) if found.get(name, 0) != expected.get(name, 0)]
