"""Every command that writes a folder keeps what is there: it adds, or refuses, or is told `--overwrite`."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conversion.support import run_main as run_converter
from run_helpers import (  # noqa: F401
    data_fixture,
    evaluation_fixture,
    save_plain,
    steered_fixture,
    templates_fixture,
)

from clas_models.conversion.cli import build_parser as converter_parser
from clas_models.errors import InputError
from clas_models.keeping import refuse_loss
from eval.cli import build_parser as evaluation_parser


def commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command of both command lines, those that come later too."""
    yield "convert.py", converter_parser()
    for action in evaluation_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


WRITING = {name: parser for name, parser in commands() if name not in ("compare",)}


@pytest.mark.parametrize("name", WRITING)
def test_every_command_that_writes_can_be_told_to_overwrite(name: str) -> None:
    assert "--overwrite" in WRITING[name].format_usage()


def test_compare_writes_nothing() -> None:
    assert "--out" not in dict(commands())["compare"].format_usage()


def test_what_is_lost_is_said_with_the_place_and_the_remedy(tmp_path: Path) -> None:
    refuse_loss(tmp_path, "", overwrite=False)
    refuse_loss(tmp_path, "a year's work is there", overwrite=True)
    with pytest.raises(InputError) as caught:
        refuse_loss(tmp_path, "a year's work is there", overwrite=False)
    assert str(caught.value) == f"{tmp_path}: a year's work is there; give another --out, or --overwrite to replace it"


# ---- each command, where another one has written


@pytest.fixture
def run(steered: Path, data: Path, templates: Path, evaluation: Any, tmp_path: Path) -> Path:
    """A small finished run with a report."""
    options = ["--tasks", "xnli", "--languages", "de", "--samples", 4, "--data-dir", data, "--templates", templates]
    evaluation.made("run", steered, *options, "--out", tmp_path / "run", "--quiet")
    evaluation.made("report", tmp_path / "run")
    return tmp_path / "run"


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--tasks", "xnli", "--methods", "base"),
        ("run", "--tasks", "xquad"),
        ("run", "--tasks", "xnli", "--alpha", "2"),
        ("run", "--tasks", "xnli", "--max-length", "300"),
        ("grid", "--task", "xnli", "--alpha", "1"),
        ("tune", "--task", "xnli", "--alpha", "1"),
    ],
    ids=" ".join,
)
def test_an_evaluation_keeps_the_predictions_of_another(
    command: tuple[str, ...], run: Path, steered: Path, data: Path, templates: Path, evaluation: Any
) -> None:
    before = content(run)
    name, *options = command
    common = ["--languages", "de", "--samples", 4, "--data-dir", data, "--templates", templates, "--out", run]
    said = evaluation.refused(name, steered, *options, *common, "--quiet")
    assert "8 predictions of other settings are there" in said
    assert content(run) == before


def test_an_evaluation_keeps_the_predictions_of_another_model(
    run: Path, data: Path, templates: Path, evaluation: Any, tmp_path: Path
) -> None:
    before = content(run)
    common = ["--languages", "de", "--samples", 4, "--data-dir", data, "--templates", templates, "--out", run]
    assert "fingerprint" in evaluation.refused(
        "run", save_plain(tmp_path / "plain"), "--tasks", "xnli", *common, "--quiet"
    )
    assert content(run) == before


def test_a_report_keeps_one_on_other_runs(run: Path, evaluation: Any, tmp_path: Path) -> None:
    evaluation.made("report", run)  # the same runs: the same report again
    other = Path(shutil.copytree(run, tmp_path / "other", ignore=shutil.ignore_patterns("report")))
    before = content(run / "report")
    said = evaluation.refused("report", other, "--out", run / "report")
    assert said == f"{run / 'report'}: a report on run is there; give another --out, or --overwrite to replace it"
    assert content(run / "report") == before
    evaluation.made("report", other, "--out", run / "report", "--overwrite")
    assert content(run / "report") != before
    evaluation.made("report", other, "--out", tmp_path / "third")


@pytest.mark.parametrize("name", ["report.md", "report.html", "tables/mine.csv"])
def test_a_report_keeps_files_of_the_user_s(name: str, run: Path, evaluation: Any, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    if name == "tables/mine.csv":
        evaluation.made("report", run, "--out", tmp_path / "mine")
    else:
        said = evaluation.refused("report", run, "--out", tmp_path / "mine")
        assert f"{name} is there, which no report has written" in said
        assert not (tmp_path / "mine" / "tables").exists()
    assert mine.read_text() == "mine"


def test_a_table_keeps_a_file_that_is_there(steered: Path, evaluation: Any, tmp_path: Path) -> None:
    out = tmp_path / "thesis.csv"
    out.write_text("mine")
    said = evaluation.refused("layers", steered, "--out", out)
    assert said == f"{out}: exists already; give another --out, or --overwrite to replace it"
    assert out.read_text() == "mine"
    evaluation.made("layers", steered, "--out", out, "--overwrite")
    assert out.read_text().startswith("layer,")


def test_a_conversion_does_not_remove_an_evaluation_within_the_checkpoint(
    run: Path, steered: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = Path(shutil.copytree(steered, tmp_path / "checkpoint"))
    shutil.copytree(run, checkpoint / "runs" / "first")
    before = content(checkpoint)
    assert run_converter([steered, "--out", checkpoint, "--overwrite"]) == 2
    assert f"{checkpoint / 'runs' / 'first'}: the folder of an evaluation" in capfd.readouterr().err
    assert run_converter([steered, "--format", "ia3", "--out", checkpoint, "--overwrite"]) == 2
    assert content(checkpoint) == before
