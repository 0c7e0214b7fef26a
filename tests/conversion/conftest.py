"""Fixtures of the converter's tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from .support import Ended, run_main, save_plain, write_corpus


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other cost far more than they bring to models of this size."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Converter:
    """The command line in this process."""

    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: object) -> Ended:
        self.capture.readouterr()
        status = run_main(arguments)
        return Ended(status, *self.capture.readouterr())

    def made(self, *arguments: object) -> Ended:
        """A run that must succeed."""
        ended = self(*arguments)
        assert ended.status == 0, ended.err
        return ended

    def refused(self, *arguments: object) -> str:
        """The one line that a run says which must be refused before it begins to work."""
        ended = self(*arguments)
        assert ended.status == 2
        assert ended.out == ""
        line, end = ended.err[:-1], ended.err[-1]
        assert end == "\n"
        assert "\n" not in line
        assert "\r" not in line, "a progress bar: work was done in vain"
        assert line.startswith("convert.py: error: ")
        return line.removeprefix("convert.py: error: ")


@pytest.fixture
def converter(capfd: pytest.CaptureFixture[str]) -> Converter:
    return Converter(capfd)


@pytest.fixture
def corpus_file(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "rows.jsonl")


@pytest.fixture
def plain_folder(tmp_path: Path) -> Path:
    """A tiny plain Llama."""
    return save_plain(tmp_path / "plain")


@pytest.fixture(scope="session")
def _converted_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    corpus = write_corpus(folder / "rows.jsonl")
    save_plain(folder / "plain")
    assert run_main([folder / "plain", "--corpus", corpus, "--out", folder / "steered", "--quiet"]) == 0
    return folder / "steered"


@pytest.fixture
def steered_folder(_converted_once: Path, tmp_path: Path) -> Path:
    """A copy of a tiny steered Llama, converted from what `plain_folder` holds, on the rows of `corpus_file`."""
    return Path(shutil.copytree(_converted_once, tmp_path / "steered"))
