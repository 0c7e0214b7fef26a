"""The command `transfer`: tables on the screen, all numbers in a file, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from analysis.support import by_hand
from report.support import METHODS, answer, settings, write_run
from run_helpers import data_fixture, evaluation_fixture, steered_fixture, templates_fixture  # noqa: F401


@pytest.fixture
def run(tmp_path: Path) -> Path:
    records = {("xnli", "base", code): list(by_key.values()) for code, by_key in by_hand().items()}
    records["xquad", "base", "en"] = [answer(0, "a text", 1.0)]
    of = settings({"xnli": ["en", "de", "sw"], "xquad": ["en"]}, {"base": METHODS["base"]})
    return write_run(tmp_path / "run", of, records)


def test_it_prints_table_1_and_every_language(run: Path, evaluation: Any) -> None:
    said = evaluation.made("transfer", run).out
    row = next(line.split() for line in said.splitlines() if line.startswith("base "))
    assert row[:8] == ["base", "3", "4", "50.00", "±", "25.00", "0.125", "0.750"]
    assert "xnli, tiny-model: consistency and transfer by language" in said
    assert "75.00 (at chance)" in said
    assert "xquad" not in said


def test_json_has_every_table(run: Path, evaluation: Any, tmp_path: Path) -> None:
    assert evaluation.made("transfer", run, "--out", tmp_path / "all.json").out == f"{tmp_path / 'all.json'}\n"
    tables = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))["tables"]
    assert [(table["task"], table["name"]) for table in tables] == [
        ("xnli", f"1-xnli-transfer{name}") for name in ("", "-by-language", "-pairs")
    ]
    assert tables[0]["rows"][0]["negative"] == pytest.approx(7 / 18, abs=1e-6)


def test_csv_has_every_pair(run: Path, evaluation: Any, tmp_path: Path) -> None:
    evaluation.made("transfer", run, "--out", tmp_path / "pairs.csv")
    with (tmp_path / "pairs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["task"], row["from"], row["to"]) for row in rows][:2] == [("xnli", "sw", "de"), ("xnli", "sw", "en")]
    assert len(rows) == 6


def test_a_file_that_is_there_is_kept(run: Path, evaluation: Any, tmp_path: Path) -> None:
    out = tmp_path / "mine.json"
    out.write_text("mine")
    assert evaluation.refused("transfer", run, "--out", out) == (
        f"{out}: exists already; give another --out, or --overwrite to replace it"
    )
    assert out.read_text() == "mine"
    evaluation.made("transfer", run, "--out", out, "--overwrite")
    assert out.read_text().startswith("{")


def test_a_file_of_another_kind_is_refused(run: Path, evaluation: Any, tmp_path: Path) -> None:
    assert "no .csv or .json file" in evaluation.refused("transfer", run, "--out", tmp_path / "all.txt")


def test_a_run_without_choices_in_two_languages_is_refused(evaluation: Any, tmp_path: Path) -> None:
    for name, task, records in (
        ("texts", "xquad", [answer(0, "a text", 1.0)]),
        ("alone", "xnli", list(by_hand(("en",))["en"].values())),
    ):
        run = write_run(tmp_path / name, settings({task: ["en"]}), {(task, "base", "en"): records})
        said = evaluation.refused("transfer", run)
        assert ("no task whose answers are choices" in said) == (task == "xquad")
        assert ("at least two languages" in said) == (task == "xnli")


def test_a_run_of_a_model_has_all_numbers(
    steered: Path, data: Path, templates: Path, evaluation: Any, tmp_path: Path
) -> None:
    options = ["--tasks", "xnli", "--samples", 12, "--data-dir", data / "xnli", "--templates", templates, "--quiet"]
    evaluation.made("run", steered, *options, "--out", tmp_path / "run")
    evaluation.made("transfer", tmp_path / "run", "--out", tmp_path / "all.json")
    tables = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))["tables"]
    rows = [row for table in tables if table["name"] == "1-xnli-transfer-pairs" for row in table["rows"]]
    assert len(rows) == 2 * 4 * 3
    assert all(-1 <= row["consistency"] <= 1 for row in rows)
