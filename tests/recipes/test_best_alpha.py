"""Which alpha of a grid is best on average."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from eval.run_folder import SETTINGS_NAME, Record, RunFolder, Settings
from recipes.best_alpha import main

# By method and language, right answers of four.
RIGHT = {
    "base": {"en": 2, "de": 1, "hi": 1},
    "clas:alpha=-2": {"en": 2, "de": 2, "hi": 1},
    "clas:alpha=4": {"en": 2, "de": 0, "hi": 4},
}


def write_grid(folder: Path, right: dict[str, dict[str, int]]) -> Path:
    methods: dict[str, dict[str, Any]] = {"base": {"kind": "base"}}
    strengths = {"kind": "clas", "beta": 0.4, "gamma": 0.2}
    methods |= {name: {**strengths, "alpha": float(name.split("=")[1])} for name in right if name != "base"}
    of = Settings("grid", "model", "f00d", "en", {"xnli": list(right["base"])}, methods, None, {"metrics": METRICS})
    folder.mkdir()
    (folder / SETTINGS_NAME).write_text(json.dumps(asdict(of)), encoding="utf-8")
    run = RunFolder.open(folder)
    for method, by_language in right.items():
        for code, count in by_language.items():
            file = run.file("xnli", method, code)
            file.parent.mkdir(parents=True, exist_ok=True)
            lines = [Record(str(row), int(row >= count), (0,), {"accuracy": float(row < count)}) for row in range(4)]
            file.write_text("".join(line.to_json() + "\n" for line in lines), encoding="utf-8")
    return folder


METRICS = {"xnli": ["accuracy"]}


def test_the_best_on_average_without_the_anchor(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([str(write_grid(tmp_path / "grid", RIGHT))]) == 0
    assert capfd.readouterr().out == "4\n"


@pytest.mark.parametrize(
    "right",
    [{"base": RIGHT["base"]}, {name: {"en": found["en"]} for name, found in RIGHT.items()}],
    ids=["no alpha", "the anchor alone"],
)
def test_nothing_to_choose(right: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    grid = write_grid(tmp_path / "grid", right)
    assert main([str(grid)]) == 2
    said = f"{grid}: no alpha beside 0 in a language that is not the anchor; add some to the grid\n"
    assert capfd.readouterr().err.endswith(said)
