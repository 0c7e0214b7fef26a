"""Fixtures of the converter's tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command import Command

from .support import run_main, save_plain, write_corpus


@pytest.fixture
def converter(capfd: pytest.CaptureFixture[str]) -> Command:
    return Command(capfd, run_main, "python convert.py")


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
    assert run_main([folder / "plain", "--corpus", corpus, "--out", folder / "steered", "--quiet", "--alpha", "1"]) == 0
    return folder / "steered"


@pytest.fixture
def steered_folder(_converted_once: Path, tmp_path: Path) -> Path:
    """A copy of a tiny steered Llama, converted from what `plain_folder` holds, on the rows of `corpus_file`."""
    return Path(shutil.copytree(_converted_once, tmp_path / "steered"))
