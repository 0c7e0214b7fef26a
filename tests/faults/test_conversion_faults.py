"""A conversion whose disk is full, whose files are refused, or that is killed, at each of its changes in turn: nothing
half done under the final name, nothing lost, and the same command again gives the bytes of one that nothing befell.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fuzz import sound

from clas_models.command_line import CONVERT
from clas_models.conversion.cli import main

from .experiment import Experiment

pytestmark = pytest.mark.slow
OPTIONS = ("--bridge-layers", "1-2", "--quiet")


@pytest.fixture
def begin(tmp_path: Path) -> Path:
    """A folder with all that a conversion may need."""
    folder = tmp_path / "begin"
    shutil.copytree(sound.plain(), folder / "plain")
    shutil.copytree(sound.steered(), folder / "steered")
    shutil.copy(sound.corpus(), folder / "rows.jsonl")
    return folder


def test_a_new_checkpoint(begin: Path, tmp_path: Path) -> None:
    def arguments(work: Path) -> list[object]:
        return [work / "plain", "--corpus", work / "rows.jsonl", "--out", work / "out", *OPTIONS]

    assert Experiment(main, CONVERT, arguments, begin, "out").try_all(tmp_path)


def test_vectors_from_a_corpus(begin: Path, tmp_path: Path) -> None:
    def arguments(work: Path) -> list[object]:
        given = ("--vectors", work / "rows.jsonl", "--vector-layers", 1, "--detector-corpus", "none", "--quiet")
        return [work / "plain", *given, "--out", work / "out"]

    assert Experiment(main, CONVERT, arguments, begin, "out").try_all(tmp_path)


def test_one_checkpoint_in_place_of_another(begin: Path, tmp_path: Path) -> None:
    shutil.copytree(begin / "steered", begin / "out")

    def arguments(work: Path) -> list[object]:
        return [work / "steered", "--alpha", 2, "--overwrite", "--out", work / "out", *OPTIONS]

    assert Experiment(main, CONVERT, arguments, begin, "out").try_all(tmp_path)
