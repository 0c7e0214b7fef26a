"""Consistency and transfer in the report: Table 1 by hand, who is at chance, what is missing, and why."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from analysis.support import by_hand, made_up

from eval.report import write_report
from eval.report.collect import TaskResults, collect
from eval.report.transfer import transfer_part

from .support import METHODS, answer, grid_methods, settings, write_run

LANGUAGES = ("en", "de", "sw")
WITH_ANCHOR = [f"{name} en" for name in ("cons. with", "tr+ from", "tr+ to", "tr− from", "tr− to")]


def run_of(path: Path, languages=LANGUAGES, command="run", **methods) -> Path:
    """A run from records by method, language and key."""
    kinds = grid_methods((-2, 2)) if command == "grid" else METHODS
    records = {
        ("xnli", name, code): list(by_key.values()) for name, found in methods.items() for code, by_key in found.items()
    }
    of = settings({"xnli": languages}, {name: kinds.get(name, METHODS["clas"]) for name in methods}, command=command)
    return write_run(path, of, records)


def part_of(*given, **methods):
    return transfer_part(task_of(*given, **methods))


def task_of(*given, **methods) -> TaskResults:
    return collect([run_of(*given, **methods)])[0]


def shown(table) -> list[dict[str, str]]:
    titles = [column.title for column in table.columns]
    return [dict(zip(titles, (cell.text for cell in row), strict=True)) for row in table.body]


def without_scores(records):
    return {code: {key: replace(one, choice_scores=()) for key, one in by.items()} for code, by in records.items()}


def wrong_in(records, *codes):
    """Always a wrong answer, a third of them in each of three places."""
    changed = {
        code: {key: replace(one, prediction=(one.gold[0] + 1) % 4) for key, one in records[code].items()}
        for code in codes
    }
    return {**records, **changed}


def test_a_row_of_table_1_worked_out_by_hand(tmp_path):
    (table, *_) = part_of(tmp_path / "run", base=by_hand()).tables
    row, above = shown(table)
    assert row == {
        "method": "base",
        "languages": "3",
        "questions": "4",
        "accuracy, %": "50.00 ± 25.00",
        "cons.": "0.125",
        "tr+": "0.750",
        "tr−": "0.389",
        **dict(zip(WITH_ANCHOR, ("0.062", "0.500", "1.000", "0.500", "0.250"), strict=True)),
    }
    assert above["method"] == "base, above chance"  # four questions show of no language that it is
    assert (above["languages"], above["accuracy, %"], above["tr+"]) == ("0", "–", "–")
    assert table.data[0]["undefined positive"] == 0


def test_pairs_are_directed_and_stand_by_script_and_family(tmp_path):
    part = part_of(tmp_path / "run", base=by_hand())
    pairs = {(row["from"], row["to"]): (row["positive"], row["negative"]) for row in part.pairs.data}
    assert list(pairs) == [("sw", "de"), ("sw", "en"), ("de", "sw"), ("de", "en"), ("en", "sw"), ("en", "de")]
    assert pairs["en", "de"] == pytest.approx((2 / 3, 1))
    assert pairs["de", "en"] == pytest.approx((1, 1 / 2))
    positive, consistency = part.choices[0].charts.values()
    assert positive.columns == ("sw", "de", "en")
    assert positive.values == ((None, 1, 1), (0.5, None, 1), (pytest.approx(1 / 3), pytest.approx(2 / 3), None))
    assert consistency.values[1] == (0.25, None, 0.25)
    assert positive.rows[1] == "de · Latn, Germanic (at chance)"


def test_languages_at_chance_are_named_and_means_are_given_without_them(tmp_path):
    base = wrong_in(made_up(LANGUAGES, 200, level=9), "sw")
    part = part_of(tmp_path / "run", base=base)
    row, above = shown(part.tables[0])
    assert (row["languages"], above["languages"]) == ("3", "2")
    assert float(row["accuracy, %"].split()[0]) < float(above["accuracy, %"].split()[0])
    assert "base: below chance (25 %) in sw." in part.tables[0].notes
    by_language = {cells["language"]: cells["accuracy, %"] for cells in shown(part.details[-2])}
    assert by_language["sw"] == "0.00 (below chance)"
    assert "chance" not in by_language["en"]


def test_methods_are_compared_on_what_both_have(tmp_path):
    base, clas = made_up(LANGUAGES, 60, level=2), made_up(("en", "de"), 60, level=4)
    del clas["de"]["7"]
    part = part_of(tmp_path / "run", base=base, clas=clas)
    table, differences = part.tables
    assert [(row["method"], row["languages"], row["questions"]) for row in shown(table)] == [
        ("base", "3", "60"),
        ("clas", "2", "59"),
    ]
    assert "clas: no predictions in sw, so the means are about fewer languages." in table.notes
    assert "clas: questions that are not there in all languages, and do not count: 1." in table.notes
    assert "clas: 59 questions that both have in 2 languages." in differences.notes
    accuracy = differences.data[0]
    assert (accuracy["quantity"], accuracy["languages"], accuracy["questions"]) == ("accuracy", 2, 59)
    assert accuracy["difference"] == pytest.approx(accuracy["score"] - accuracy["base"])
    assert accuracy["low"] < accuracy["difference"] < accuracy["high"]
    assert {row["language"] for row in part.details[0].data} == {"en", "de"}


def test_without_the_anchor_its_columns_are_gone_and_a_sentence_says_why(tmp_path):
    part = part_of(tmp_path / "run", ("de", "sw"), base=by_hand(("de", "sw")))
    assert not set(WITH_ANCHOR) & {column.title for column in part.tables[0].columns}
    assert any("en, the anchor, has no predictions here" in note for note in part.tables[0].notes)
    assert {"cons.", "tr+"} <= set(shown(part.tables[0])[0])


def test_older_runs_have_transfer_and_no_consistency(tmp_path):
    part = part_of(tmp_path / "run", base=without_scores(by_hand()), clas=by_hand())
    old, _, new, _ = shown(part.tables[0])
    assert (old["cons."], old["tr+"]) == ("–", "0.750")
    assert new["cons."] == "0.125"
    assert any(note.startswith("base: no consistency, because") for note in part.tables[0].notes)
    assert list(part.choices[0].charts) == ["positive transfer, base", "positive transfer, clas", "consistency, clas"]
    told = {row["quantity"] for row in part.tables[1].data}
    assert {"accuracy", "positive", "negative from anchor"} <= told
    assert not any("consistency" in name for name in told)


def test_what_is_undefined_is_counted(tmp_path):
    records = {code: dict(by_key) for code, by_key in by_hand().items()}
    records["sw"] = {key: replace(one, prediction=(one.gold[0] + 1) % 3) for key, one in records["sw"].items()}
    notes = part_of(tmp_path / "run", base=records).tables[0].notes
    assert "base: tr+ is undefined for 2 of 6 pairs, which the mean leaves out." in notes


def test_one_language_has_no_pairs(tmp_path):
    part = part_of(tmp_path / "run", ("en",), base=by_hand(("en",)))
    assert part.all_tables == part.choices == ()
    assert part.notes == ("Consistency and transfer between languages need at least two languages.",)


def test_languages_without_a_common_question_have_nothing_to_compare(tmp_path):
    records = by_hand(("en", "de"))
    records["de"] = {f"{key} other": replace(one, key=f"{key} other") for key, one in records["de"].items()}
    part = part_of(tmp_path / "run", ("en", "de"), base=records)
    assert part.all_tables == ()
    assert "No question has been answered in all languages yet" in part.notes[0]


def test_generated_answers_are_not_about_choices(tmp_path):
    records = {("xquad", "base", code): [answer(0, "one", 1.0)] for code in ("en", "de")}
    task = collect([write_run(tmp_path / "run", settings({"xquad": ["en", "de"]}), records)])[0]
    assert transfer_part(task).all_tables == transfer_part(task).notes == ()


def test_a_grid_has_a_row_for_each_setting_and_no_maps(tmp_path):
    names = list(grid_methods((-2, 2)))
    task = task_of(tmp_path / "run", command="grid", **{name: made_up(LANGUAGES, 40, seed=3) for name in names})
    part = transfer_part(task)
    assert part.tables == part.choices == ()
    assert {row["method"] for row in part.details[0].data} == set(names)
    assert part.pairs.long


def test_names_that_differ_in_a_sign_have_figures_of_their_own(tmp_path):
    names = ("base", "clas:alpha=-2", "clas:alpha=2")
    task = task_of(tmp_path / "run", **{name: by_hand() for name in names})
    charts = [chart.name for choice in transfer_part(task).choices for chart in choice.charts.values()]
    assert len(set(charts)) == len(charts) == 6


def test_maps_of_one_quantity_share_their_colours(tmp_path):
    (choice,) = part_of(tmp_path / "run", base=by_hand(), clas=made_up(LANGUAGES, 4, (3,))).choices
    assert choice.charts["positive transfer, base"].ends == choice.charts["positive transfer, clas"].ends


def test_the_report_holds_tables_figures_and_numbers(tmp_path):
    clas = made_up(LANGUAGES, 30, level=3)
    run = run_of(tmp_path / "run", base=made_up(LANGUAGES, 30), clas=clas)
    page, markdown, record, *written = write_report([run], tmp_path / "out")
    assert "consistency and transfer between languages" in page.read_text(encoding="utf-8")
    assert "(figures/1-xnli-positive-1-base.png)" in markdown.read_text(encoding="utf-8")
    assert tmp_path / "out" / "figures" / "1-xnli-consistency-2-clas.svg" in written
    with (tmp_path / "out" / "tables" / "1-xnli-transfer-pairs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 6
    assert list(rows[0]) == ["method", "from", "to", "consistency", "positive", "negative"]
    tables = {table["name"]: table for table in json.loads(record.read_text(encoding="utf-8"))["tables"]}
    assert tables["1-xnli-transfer"]["rows"][0]["positive"] == pytest.approx(
        sum(float(row["positive"]) for row in rows[:6]) / 6, abs=1e-5
    )
