"""A few rows of the real data on a real model: the harness and `python -m eval` predict the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import DATA
from conversion.support import run_main as run_converter
from real_models import smollm2
from run_helpers import evaluation_fixture, records  # noqa: F401

from .support import Harness

pytestmark = pytest.mark.real


def test_predictions_on_real_data_are_those_of_eval(evaluation: Any, tmp_path: Path) -> None:
    if not all((DATA / name).is_dir() for name in ("xnli", "xquad", "okapi-m-mmlu")):
        pytest.skip("the data sets are not there")
    steered = tmp_path / "steered"
    options = (
        "--samples",
        2,
        "--max-length",
        64,
        "--bridge-layers",
        "24-27",
        "--detector-corpus",
        "none",
        "--alpha",
        4,
    )
    assert run_converter([smollm2(), "--languages", "de", *options, "--quiet", "--out", steered]) == 0
    evaluation.made(
        *("run", steered, "--tasks", "xnli,xquad,mmmlu", "--languages", "de", "--samples", 2, "--data-dir", DATA),
        *("--out", tmp_path / "run"),
    )
    harness = Harness(steered, {"data_dir": str(DATA)})
    for task in ("xnli", "xquad", "mmmlu"):
        expected = {record.key: record.prediction for record in records(tmp_path / "run", task, "clas", "de")}
        assert harness(f"clas_{task}_de", language="de", limit=2).given == expected
