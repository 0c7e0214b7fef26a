"""The paper's tables: wording, signs, notes, and the same numbers in Markdown, CSV and JSON."""

import csv
import io
import json

import pytest

from eval.report.collect import collect
from eval.report.comparison import compare
from eval.report.table import Cell, Column, Table, difference, escape_markdown, interval, p_sentence, p_value, plain
from eval.report.tables import answers_table, differences_table, metrics_table
from eval.report.words import slug
from eval.statistics import Interval

from .support import choice, choices, nats, settings, write_run, xnli_records, xquad_records

GAINS = {"base": 0.0, "int-mean": -0.02, "clas": 0.1}


@pytest.fixture
def comparison(tmp_path):
    records = xnli_records(["de", "en", "th"], GAINS, 50)
    return compare(collect([write_run(tmp_path / "run", settings({"xnli": ["de", "en", "th"]}), records)])[0])


def test_the_table_has_the_papers_form(comparison):
    lines = differences_table(comparison).to_markdown().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    assert rows[0] == [
        *("language", "examples", "base (accuracy, %)"),
        *("int-mean", "int-mean − base", "95 % interval", "p (Holm)", "outputs changed"),
        *("clas", "clas − base", "95 % interval", "p (Holm)", "outputs changed"),
    ]
    last = ["Avg.", "Avg. (without en)", "σ of the scores (without en)"]
    assert [row[0] for row in rows[2:]] == ["de", "en", "th", *last]
    de = comparison.rows[0]
    cell = de.differences["clas"]
    assert rows[2][1:3] == ["50", f"{de.base:.2f}"]
    assert rows[2][8] == f"{cell.score:.2f}"
    assert rows[2][9].startswith(f"{cell.interval.mean:+.2f}")
    assert rows[2][10] == f"[{cell.interval.low:+.2f}, {cell.interval.high:+.2f}]".replace("+0.00", "0.00")
    assert rows[2][12] == f"{cell.changed} of 50"
    assert rows[3][4:8] == ["0.00", "[0.00, 0.00]", "–", "0 of 50"]  # English is untouched, and not tested
    across = comparison.across["clas"]
    assert rows[6][8:10] == [f"{across.score:.2f}", rows[6][9]]
    assert rows[6][9].startswith(f"{across.interval.mean:+.2f}")
    assert rows[6][12] == f"{across.changed} of 100"
    assert rows[7][8:11] == [f"{across.spread:.2f}", "", ""]  # below the scores: that is what varies


def test_the_notes_name_the_tests_and_the_untouched_anchor(tmp_path):
    records = xnli_records(["de", "en", "th", "tr"], GAINS, 50)
    run = write_run(tmp_path / "run", settings({"xnli": ["de", "en", "th", "tr"]}), records)
    comparison = compare(collect([run])[0])
    notes = " ".join(differences_table(comparison).notes)
    assert "McNemar's exact test, adjusted (Holm) for 3 languages without en" in notes
    assert "Levene's test, centred at the median" in notes
    assert p_sentence(comparison.across["clas"].t_test) in notes
    assert "clas changes 0 of 50 predictions in en." in notes


def test_csv_and_json_hold_the_same_numbers(comparison):
    table = differences_table(comparison)
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    values = json.loads(json.dumps(table.to_json(), allow_nan=False))
    assert [row["language"] for row in rows] == ["de", "en", "th"]
    for row, value, expected in zip(rows, values["rows"], comparison.rows, strict=True):
        cell = expected.differences["clas"]
        assert float(row["clas low"]) == value["clas low"] == pytest.approx(cell.interval.low, abs=1e-6)
        assert int(row["clas gained"]) == value["clas gained"] == cell.gained
        assert float(row["clas p"]) == value["clas p"] == pytest.approx(cell.p, abs=1e-6)
    assert rows[1]["clas p (Holm)"] == ""
    assert values["rows"][1]["clas p (Holm)"] is None
    summary = values["summary"]["methods"]["clas"]
    assert summary["paired t-test p"] == pytest.approx(comparison.across["clas"].t_test, abs=1e-6)


def test_missing_and_cut_examples_are_told(tmp_path):
    records = {
        ("xnli", "base", "de"): [choice(0, 0, 0, cut=7), choice(1, 0, 0), choice(2, 1, 0)],
        ("xnli", "clas", "de"): choices([0, 0], [0, 0]),
    }
    run = write_run(tmp_path / "run", settings({"xnli": ["de", "th"]}), records)
    notes = differences_table(compare(collect([run])[0])).notes
    assert "No predictions yet: th." in notes
    assert "de: base has 3 examples, clas 2; compared on the 2 that both have." in notes
    assert "Prompts whose context was shortened to fit the maximum length: de 1." in notes


def test_a_method_that_has_not_begun_is_left_out_of_the_table_but_one_without_a_language_is_not(tmp_path):
    records = xnli_records(["en", "de", "th"], {"base": 0.0, "clas": 0.1}, 20)
    del records["xnli", "clas", "th"]
    run = write_run(tmp_path / "run", settings({"xnli": ["en", "de", "th"]}), records)
    table = differences_table(compare(collect([run])[0]))
    assert "int-mean" not in [column.title for column in table.columns]
    assert [cell.text for cell in table.body[2][3:]] == ["–"] * 5


def test_statistics_that_are_undefined_are_left_out(tmp_path):
    records = xnli_records(["en", "de"], {"base": 0.0, "clas": 0.1}, 20)  # one language besides English: no t-test
    run = write_run(tmp_path / "run", settings({"xnli": ["en", "de"]}), records)
    text = differences_table(compare(collect([run])[0])).to_markdown()
    assert "undefined" not in text
    assert "t-test" not in text
    assert "σ" not in text.split("- ")[0].split("|---")[1]


def test_a_perplexity_says_that_lower_is_better_and_counts_no_changes(tmp_path):
    records = {("perplexity", name, code): [nats(1, value, 5, 20), nats(2, 7, 5, 20)]
               for name, value in (("base", 4.0), ("clas", 5.0)) for code in ("de", "th")}  # fmt: skip
    run = write_run(tmp_path / "run", settings({"perplexity": ["de", "th"]}), records)
    task = collect([run])[0]
    titles = [column.title for column in differences_table(compare(task)).columns]
    assert "base (nats a token, lower is better)" in titles
    assert "outputs changed" not in titles  # every number is another one, which says nothing
    assert metrics_table(task).title.endswith("all metrics (lower is better)")


def test_how_often_each_class_was_answered_shows_a_model_that_says_the_same_always(tmp_path):
    records = {
        ("xnli", "base", "de"): choices([0, 0, 0], [0, 1, 2]),
        ("xnli", "clas", "de"): choices([0, 2, 2], [0, 1, 2]),
    }
    table = answers_table(collect([write_run(tmp_path / "run", settings({"xnli": ["de"]}), records)])[0])
    assert [[cell.text for cell in row] for row in table.body] == [
        *(["de", "base", "3", "0", "0"], ["de", "clas", "1", "0", "2"], ["de", "right answers", "1", "1", "1"]),
    ]
    texts = write_run(tmp_path / "text", settings({"xquad": ["de"]}), xquad_records(["de"], GAINS, 3))
    assert answers_table(collect([texts])[0]) is None


def test_all_metrics_are_listed_by_language_and_method(tmp_path):
    run = write_run(tmp_path / "run", settings({"xquad": ["en", "de"]}), xquad_records(["en", "de"], GAINS, 12))
    table = metrics_table(collect([run])[0])
    names = ["language", "method", "examples", "f1", "exact_match", "mlqa_f1", "prompts cut"]
    assert [column.title for column in table.columns] == names
    assert [(row[0].text, row[1].text) for row in table.body] == [
        (code, name) for code in ("en", "de") for name in GAINS
    ]
    assert {row[-1].text for row in table.body} == {"1"}  # the sixth prompt of every file was cut
    # The average without English is, of two languages, the other one.
    assert [cell.text for cell in table.foot[2][3:6]] == [cell.text for cell in table.body[5][3:6]]


def test_numbers_are_shown_with_their_signs():
    assert [difference(value, 2).text for value in (1.005, -0.004, 0.0, -1.5)] == ["+1.00", "0.00", "0.00", "-1.50"]
    assert difference(2.0, 1, marked=True).text == "+2.0*"
    assert interval(Interval(1.0, float("-inf"), float("inf")), 2).text == "–"
    assert [p_value(value).text for value in (0.0004, 0.0234, 1.0, None)] == ["< 0.001", "0.023", "1.000", "–"]
    assert [p_sentence(value) for value in (0.0004, 0.5, None)] == ["p < 0.001", "p = 0.500", "p undefined"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>alert(1)</script>", r"\<script>alert(1)\</script>"),
        ("a|b\nc", r"a\|b c"),
        ("[x](javascript:y)", r"[x\](javascript:y)"),
        ("*bold* _so_ `code` $x$", r"\*bold\* \_so\_ \`code\` \$x\$"),
        ("back\\slash &amp;", r"back\\slash \&amp;"),
        ("exact_match [-1.00, +2.00] p < 0.05", "exact_match [-1.00, +2.00] p < 0.05"),
    ],
)
def test_text_is_never_markdown(text, expected):
    assert escape_markdown(text) == expected


def test_what_is_not_finite_is_missing_in_csv_and_json():
    table = Table("x", "X", (Column("a"),), ((Cell("–"),),), data=({"a": float("inf"), "b": -1e-9, "c": 0.1 + 0.2},))
    assert table.to_csv() == "a,b,c\n,0.0,0.3\n"
    assert plain({"a": [float("nan"), 1, "x"]}) == {"a": [None, 1, "x"]}


def test_file_names_hold_nothing_but_letters_and_digits():
    assert slug(1, "XNLI dev/../x", "β") == "1-xnli-dev-..-x-x"
    assert "/" not in slug("../../etc")
