"""Tables of interventions from predictions worked out by hand, in their three forms."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from report.support import answer, choices, nats, settings, write_run

from clas_models.errors import InputError
from eval.analysis.intervention_output import to_csv, to_json, to_markdown
from eval.analysis.intervention_tables import (
    Cell,
    InterventionTable,
    Row,
    Score,
    rows_of,
    scales_of,
)
from eval.report.collect import TaskResults, collect
from eval.run_folder import Record
from eval.score_scale import SCALES
from eval.statistics import holm

METHODS: dict[str, dict[str, Any]] = {
    "base": {"kind": "base"},
    "int-mean": {"kind": "int", "select": "lape", "value": "mean", "site": "gate"},
    "int:value=zero": {"kind": "int", "select": "lape", "value": "zero", "site": "gate"},
}
COLUMNS = {"No Int": "base", "Int mean": "int-mean", "Int 0": "int:value=zero"}
GOLD = [0] * 20
RIGHT = {"base": {"en": 15, "hi": 10, "ur": 8}, "int-mean": {"en": 15, "hi": 19, "ur": 8},
         "int:value=zero": {"en": 15, "hi": 2, "ur": 6}}  # fmt: skip


def task_of_records(path: Path, records: dict[tuple[str, str, str], list[Record]]) -> TaskResults:
    by_task: dict[str, list[str]] = {}
    for task, _, code in records:
        by_task.setdefault(task, [])
        if code not in by_task[task]:
            by_task[task].append(code)
    [found] = collect([write_run(path, settings(by_task, METHODS), records)])
    return found


@pytest.fixture
def task(tmp_path: Path) -> TaskResults:
    records = {
        ("xnli", method, code): choices([0] * right + [1] * (20 - right), GOLD)
        for method, by_code in RIGHT.items()
        for code, right in by_code.items()
    }
    return task_of_records(tmp_path / "run", records)


@pytest.fixture
def table(task: TaskResults) -> InterventionTable:
    rows = tuple(rows_of(task, COLUMNS, ["hi", "ur", "en"]))
    scales = scales_of(task.scale)
    return InterventionTable("tiny, xnli: lape", ("language",), tuple(COLUMNS), scales, rows, ("A note.",)).adjusted()


def test_cells_have_the_scores_and_differences_of_the_runs(table: InterventionTable) -> None:
    assert [row.labels for row in table.rows] == [("hi",), ("ur",), ("en",)]
    for row in table.rows:
        for column, method in COLUMNS.items():
            cell, right = row.cells[column], RIGHT[method][row.labels[0]]
            [score] = cell.scores
            assert (score.value, cell.examples) == (5.0 * right, 20)
            if column == "No Int":
                assert (score.interval, score.p, cell.changed) == (None, None, None)
            else:
                assert score.interval is not None
                assert score.interval.mean == pytest.approx(score.value - row.cells["No Int"].scores[0].value)
                assert score.interval.low <= score.interval.mean <= score.interval.high
                assert cell.changed == abs(right - RIGHT["base"][row.labels[0]])


def test_p_values_are_adjusted_for_all_cells_but_the_anchors(table: InterventionTable) -> None:
    scores = [cell.scores[0] for row in table.rows[:2] for cell in list(row.cells.values())[1:]]
    assert table.tests == len(scores) == 4
    assert [score.p for score in scores] == pytest.approx([2 * 0.5**9, 2 * 0.5**8, 1.0, 0.5])  # McNemar, by hand
    assert [score.p_holm for score in scores] == pytest.approx(holm([score.p or 0 for score in scores]))
    assert [score.significant for score in scores] == [True, True, False, False]
    assert all(cell.scores[0].p_holm is None for cell in table.rows[2].cells.values())


def test_the_best_of_a_row(table: InterventionTable) -> None:
    assert [set(table.best(row)) for row in table.rows] == [{"Int mean"}, {"No Int", "Int mean"}, set()]


def test_lower_is_better_where_the_scale_says_so(tmp_path: Path) -> None:
    level = {"base": 2.0, "int-mean": 1.5, "int:value=zero": 2.5}
    records = {
        ("perplexity", method, "hi"): [nats(key, 10 * value, 10, size=40) for key in range(4)]
        for method, value in level.items()
    }
    task = task_of_records(tmp_path / "run", records)
    [row] = rows_of(task, COLUMNS, ["hi"])
    table = InterventionTable("t", ("language",), tuple(COLUMNS), scales_of(task.scale), (row,))
    assert table.best(row) == {"Int mean"}
    assert "nats a token, lower is better" in to_markdown([table])
    assert "**1.5000**" in to_markdown([table])


def test_labels_may_say_more_than_the_language(task: TaskResults) -> None:
    """As the tables of fine-tuned models do: which neurons were trained, and the language."""
    rows = (*rows_of(task, COLUMNS, ["hi"], ("source",)), *rows_of(task, COLUMNS, ["ur"], ("random",)))
    table = InterventionTable("t", ("trained", "language"), tuple(COLUMNS), scales_of(task.scale), rows)
    head, rule, *body = [line for line in to_markdown([table]).splitlines() if line.startswith("|")][:4]
    assert [cell.strip() for cell in head.strip("|").split("|")][:3] == ["trained", "language", "examples"]
    assert rule.startswith("| ------- | -------- | -------: |")
    assert [line.split("|")[1].strip() for line in body] == ["source", "random"]


def test_markdown_has_scores_and_then_differences(table: InterventionTable) -> None:
    text = to_markdown([table])
    assert text.startswith("### tiny, xnli: lape\n\naccuracy, %. The best of a row is bold.\n\n")
    assert "| hi       |       20 |     50.0 | **95.0** |  10.0 |" in text
    assert "| en       |       20 |     75.0 |     75.0 |  75.0 |" in text
    assert "+45.0\\* [" in text
    assert "adjusted (Holm) for 4 comparisons" in text
    assert text.count("| en ") == 1, "nothing is tested in the anchor"
    assert text.endswith("\n\n- A note.\n")
    widths = {len(line) for line in text.splitlines() if line.startswith("| ") and "[" not in line and "Int" in line}
    assert len(widths) == 2, "the lines of a table are as long as its head"


def test_exact_match_has_f1_beside_it(tmp_path: Path) -> None:
    f1 = {"base": [1.0, 0.5, 0.0, 0.5], "int-mean": [1.0, 1.0, 0.5, 0.5], "int:value=zero": [0.0, 0.9, 0.9, 0.9]}
    records = {
        ("xquad", method, "hi"): [answer(key, f"{method} {key}", value) for key, value in enumerate(values)]
        for method, values in f1.items()
    }
    task = task_of_records(tmp_path / "run", records)
    [row] = rows_of(task, COLUMNS, ["hi"])
    table = InterventionTable("t", ("language",), tuple(COLUMNS), scales_of(task.scale), (row,)).adjusted()
    assert [scale.name for scale in table.scales] == ["exact_match", "f1"]
    assert table.best(row) == {"Int mean"}, "of exact match, as in table 2"
    text = to_markdown([table])
    assert "exact_match, % (in brackets f1, %). The best" in text.replace("\\_", "_")
    assert "| 25.0 (50.0) | **50.0 (75.0)** | 0.0 (67.5) |" in text
    assert "Difference in exact_match, percentage points, to No Int" in text.replace("\\_", "_")
    assert "Difference in f1, percentage points, to No Int" in text
    assert {line["score"] for line in csv.DictReader(io.StringIO(to_csv([table])))} == {"exact_match", "f1"}


def test_csv_and_json_have_every_cell(table: InterventionTable) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv([table, table]))))
    assert len(lines) == 2 * 9
    by_cell = {(line["language"], line["intervention"]): line for line in lines}
    [described, _] = json.loads(json.dumps(to_json([table, table])))
    assert (described["columns"], described["scores"], described["tests"]) == (list(COLUMNS), ["accuracy"], 4)
    for row in described["rows"]:
        for cell in row["cells"]:
            line = by_cell[row["language"], cell["intervention"]]
            for name, value in cell.items():
                assert line[name] == ("" if value is None else str(value))
    hindi = by_cell["hi", "Int mean"]
    assert (hindi["value"], hindi["difference"], hindi["changed"], hindi["best"]) == ("95.0", "45.0", "9", "True")
    assert (by_cell["hi", "No Int"]["low"], by_cell["en", "Int 0"]["p"]) == ("", "")


def test_a_cell_may_be_missing() -> None:
    rows = (Row(("hi",), {"No Int": Cell((Score(50.0),), 8)}),)
    table = InterventionTable("t", ("language",), ("No Int", "Int 0"), (SCALES["accuracy"],), rows).adjusted()
    assert "| hi       |        8 |   50.0 |     – |" in to_markdown([table])
    assert "Difference" not in to_markdown([table])
    assert len(to_csv([table]).splitlines()) == 2


def test_runs_without_what_is_compared(task: TaskResults) -> None:
    with pytest.raises(InputError, match="the run has no predictions of int-mean, which interventions are compared"):
        rows_of(task, {"No Int": "int-mean", "Int 0": "int:value=zero"}, ["hi"])
    with pytest.raises(InputError, match="no predictions of int:value=p90 in hi, ur; start the run again"):
        rows_of(task, {**COLUMNS, "Int P90": "int:value=p90"}, ["hi", "ur"])
