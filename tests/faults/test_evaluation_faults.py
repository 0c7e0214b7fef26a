"""An evaluation whose disk is full, whose files are refused, or that is killed, at each of its changes in turn: no file
by half, nothing lost, and the same command again gives the bytes of one that nothing befell.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fuzz import sound

from clas_models.command_line import EVAL
from eval.cli import main

from .experiment import Experiment

pytestmark = pytest.mark.slow


@pytest.fixture
def begin(tmp_path: Path) -> Path:
    folder = tmp_path / "begin"
    shutil.copytree(sound.steered(), folder / "steered")
    return folder


def test_a_run(begin: Path, tmp_path: Path) -> None:
    assert Experiment(main, EVAL, lambda work: sound.run_arguments(work / "run"), begin).try_all(tmp_path)


def test_tune_with_its_alphas_written(begin: Path, tmp_path: Path) -> None:
    def arguments(work: Path) -> list[object]:
        return [*sound.tune_arguments(work / "steered", work / "run"), "--write"]

    assert Experiment(main, EVAL, arguments, begin).try_all(tmp_path)


def test_vectors(begin: Path, tmp_path: Path) -> None:
    def arguments(work: Path) -> list[object]:
        return sound.vectors_arguments(work / "vectors.safetensors")

    assert Experiment(main, EVAL, arguments, begin, "vectors.safetensors").try_all(tmp_path)


def test_a_report(begin: Path, tmp_path: Path) -> None:
    shutil.copytree(sound.run_folder(), begin / "run")
    assert Experiment(main, EVAL, lambda work: ["report", work / "run"], begin).try_all(tmp_path)


def test_scores_in_a_card(begin: Path, tmp_path: Path) -> None:
    shutil.copytree(sound.run_folder(), begin / "run")
    assert Experiment(main, EVAL, lambda work: ["card", work / "steered", work / "run"], begin).try_all(tmp_path)
