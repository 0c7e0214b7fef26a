"""Grids and searches for alpha: settings, best ones, and what the figures show."""

import json

import pytest

from clas_models.errors import InputError
from eval.report.charts import DotChart, HeatMap, LineChart, beta_gamma_chart, dial_chart, heat_map
from eval.report.charts import choices as chart_choices
from eval.report.collect import collect
from eval.report.comparison import compare
from eval.report.grid_tables import (
    best_on_average,
    best_table,
    by_strengths,
    grid_points,
    scores_table,
    settings_table,
)
from eval.report.tuning import read_tuning, tuning_table

from .support import choices, grid_methods, settings, write_run, xnli_records

LANGUAGES = ["en", "de", "th"]
GOLD = [0] * 10


def right(count: int) -> list[int]:
    """Predictions of which the first `count` are right."""
    return [0] * count + [1] * (10 - count)


def grid_of(tmp_path, scores, methods, command="grid", name="grid"):
    """`scores` by method: right answers of ten in de; th has one more, English always 5."""
    records = {}
    for method, count in scores.items():
        for code, number in (("en", 5), ("de", count), ("th", count + 1)):
            records["xnli", method, code] = choices(right(number), GOLD)
    run = write_run(tmp_path / name, settings({"xnli": LANGUAGES}, methods, command=command), records)
    return compare(collect([run])[0])


@pytest.fixture
def comparison(tmp_path):
    methods = grid_methods([-2, 2, 4], [(0.4, 0.2), (0.2, 0.1)])
    scores = {"base": 4, "clas-a-2-b0.4-g0.2": 7, "clas-a2-b0.4-g0.2": 4, "clas-a4-b0.4-g0.2": 0}
    scores |= {"clas-a-2-b0.2-g0.1": 5, "clas-a2-b0.2-g0.1": 7, "clas-a4-b0.2-g0.1": 3}
    return grid_of(tmp_path, scores, methods)


def test_settings_come_from_the_parameters_in_order(comparison):
    points = grid_points(comparison)
    assert [(*(value for _, value in point.beside), point.dial) for point in points] == [
        *((0.2, 0.1, -2), (0.2, 0.1, 2), (0.2, 0.1, 4), (0.4, 0.2, -2), (0.4, 0.2, 2), (0.4, 0.2, 4)),
    ]
    assert list(by_strengths(points)) == [(0.2, 0.1), (0.4, 0.2)]


def test_alphas_by_language_are_no_point_of_a_grid(tmp_path):
    methods = {"base": {"kind": "base"}, "x": {"kind": "clas", "alpha": {"de": 1.0}, "beta": 0.4, "gamma": 0.2}}
    assert grid_points(grid_of(tmp_path, {"base": 4, "x": 5}, methods)) == ()


def test_the_table_of_settings(comparison):
    table = settings_table(comparison)
    assert [(row["alpha"], row["beta"], row["difference"]) for row in table.data[:3]] == [
        *((-2, 0.2, pytest.approx(10)), (2, 0.2, pytest.approx(30)), (4, 0.2, pytest.approx(-10))),
    ]
    assert (table.data[5]["gains"], table.data[5]["losses"]) == (0, 2)
    assert [row[-1].text for row in table.body][:3] == ["2 of 20", "6 of 20", "2 of 20"]  # outputs changed
    assert "chosen on the same examples" in table.notes[1]


def test_the_best_setting_of_each_language_is_the_weakest_of_equal_ones(comparison):
    table = best_table(comparison)
    assert [row["language"] for row in table.data] == ["de", "th"]
    # alpha -2 with 0.4, 0.2 and alpha 2 with 0.2, 0.1 both gain three answers.
    assert [(row["alpha"], row["beta"], row["difference"]) for row in table.data] == [(2, 0.2, pytest.approx(30))] * 2
    assert best_on_average(comparison) in ("clas-a-2-b0.4-g0.2", "clas-a2-b0.2-g0.1")
    assert "chosen on the same examples" in table.notes[0]


def test_where_nothing_gains_the_base_is_best(tmp_path):
    comparison = grid_of(tmp_path, {"base": 4, "clas-a2-b0.4-g0.2": 3}, grid_methods([2]))
    table = best_table(comparison)
    assert [row["alpha"] for row in table.data] == [0.0, 0.0]
    assert [cell.text for cell in table.body[0][3:]] == ["0", "–", "–", "40.00", "0.00", "–", "–"]


def test_every_language_at_every_setting_is_in_the_csv_only(comparison):
    table = scores_table(comparison)
    assert len(table.data) == 3 * 6
    assert "18 rows, in `tables/1-xnli-grid.csv`." in table.to_markdown()


def test_figure_5_has_a_line_a_language_and_the_average(comparison):
    chart = dial_chart(comparison, grid_points(comparison)[3:])
    lines = {line.label: line for line in chart.lines}
    assert list(lines) == ["en", "de", "th", "avg. without en"]
    assert lines["de"].x == (-2, 0, 2, 4)  # alpha 0 is the base
    assert lines["de"].y == pytest.approx((70, 40, 40, 0))
    average = lines["avg. without en"]
    assert average.emphasis
    assert average.y == pytest.approx((75, 45, 45, 5))
    assert average.intervals[0].low < 75 < average.intervals[0].high
    assert chart.level == pytest.approx(45)


def test_figure_6_shows_one_strength_alone_at_alpha_1(tmp_path):
    methods = grid_methods([1], [(0.4, 0.0), (0.2, 0.0), (0.0, 0.3), (0.4, 0.2)]) | grid_methods([2], [(0.6, 0.0)])
    scores = {"base": 4, "clas-a1-b0.4-g0": 6, "clas-a1-b0.2-g0": 5, "clas-a1-b0-g0.3": 3}
    scores |= {"clas-a1-b0.4-g0.2": 9, "clas-a2-b0.6-g0": 9}
    comparison = grid_of(tmp_path, scores, methods)
    beta, gamma = beta_gamma_chart(comparison, grid_points(comparison)).lines
    assert (beta.x, gamma.x) == ((0, 0.2, 0.4), (0, 0.3))
    assert (beta.y, gamma.y) == (pytest.approx((45, 55, 65)), pytest.approx((45, 35)))


def test_the_heat_map_holds_differences(comparison):
    chart = heat_map(comparison, grid_points(comparison)[3:])
    assert (chart.rows, chart.columns) == (("en", "de", "th"), ("-2", "2", "4"))
    assert chart.values[0] == (0, 0, 0)
    assert chart.values[1] == pytest.approx((30, 0, -40))


def test_which_figures_there_are(comparison, tmp_path):
    (choice,) = chart_choices(comparison)  # one place on the page for all pairs
    assert [type(chart) for chart in choice.charts.values()] == [LineChart, HeatMap] * 2
    assert len({chart.name for chart in choice.charts.values()}) == 4
    assert choice.first == "scores, β = 0.4, γ = 0.2"  # with the best setting on average
    single = grid_of(tmp_path, {"base": 4, "clas-a2-b0.4-g0.2": 5}, grid_methods([2]), name="single")
    assert chart_choices(single) == []  # one alpha makes no line
    records = xnli_records(LANGUAGES, {"base": 0.0, "clas": 0.1}, 10)
    plain = compare(collect([write_run(tmp_path / "plain", settings({"xnli": LANGUAGES}), records)])[0])
    (choice,) = chart_choices(plain)
    dots = choice.shown
    assert isinstance(dots, DotChart)
    assert dots.rows == ("en", "de", "th", "avg. without en")
    assert dots.series["clas"][3] == plain.across["clas"].interval


def decision(alpha: float, kept: bool, gain: float) -> dict:
    around = {"mean": gain, "low": gain - 0.01, "high": gain + 0.01}
    return {
        "chosen": alpha,
        "kept": kept,
        "reason": "because <b>",
        "candidates": {str(alpha): around},
        "together": False,
        "selection": {"n": 3, "base": 0.4, "tuned": 0.45, "gain": around},
        "decided": {"n": 6, "base": 0.4, "tuned": 0.45, "gain": around, "p": 0.012},
        "held_out": {"n": 5, "base": 0.41, "tuned": 0.46, "gain": around},
    }


def test_what_tune_decided_is_a_table(tmp_path):
    comparison = grid_of(tmp_path, {"base": 4, "clas-a2-b0.4-g0.2": 5}, grid_methods([2]), command="tune")
    file = comparison.task.path / "tune.json"
    assert read_tuning(comparison.task) is None
    file.write_text(json.dumps({"task": "xquad", "languages": {}}))
    assert read_tuning(comparison.task) is None
    languages = {"de": decision(2.0, True, 0.05), "th": decision(0.0, False, 0.005)}
    file.write_text(json.dumps({"task": "xnli", "languages": languages}))
    table = tuning_table(comparison.task, read_tuning(comparison.task))
    de, th = table.body
    shown = ["de", "2", "3", "6", "+5.00", "[+4.00, +6.00]", "0.012", "5", "41.00", "46.00", "+5.00", "[+4.00, +6.00]"]
    shown += ["because <b>"]
    assert [cell.text for cell in de] == shown
    assert [cell.text for cell in th][1] == "0"
    assert table.data[0]["held out low"] == pytest.approx(4)


def test_a_decision_of_an_older_rule_is_named(tmp_path):
    comparison = grid_of(tmp_path, {"base": 4, "clas-a2-b0.4-g0.2": 5}, grid_methods([2]), command="tune")
    older = decision(2.0, True, 0.05)
    del older["decided"]
    (comparison.task.path / "tune.json").write_text(json.dumps({"task": "xnli", "languages": {"de": older}}))
    with pytest.raises(InputError, match=r"tune\.json: decided by a rule of older versions; run `tune` again"):
        read_tuning(comparison.task)


@pytest.mark.parametrize("content", ["{", "[]", '{"task": "xnli", "languages": {"de": {"chosen": 1}}}'])
def test_a_broken_decision_is_named(tmp_path, content):
    comparison = grid_of(tmp_path, {"base": 4, "clas-a2-b0.4-g0.2": 5}, grid_methods([2]), command="tune")
    (comparison.task.path / "tune.json").write_text(content)
    with pytest.raises(InputError, match=r"tune\.json: not what `tune` writes"):
        read_tuning(comparison.task)
