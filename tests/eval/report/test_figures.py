"""Figures on disk: whole, repeatable, and of every kind of chart."""

import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from eval.report.charts import DotChart, HeatMap, Line, LineChart
from eval.report.figures import draw, heat_ends, heat_text, save_chart
from eval.score_scale import scale_of
from eval.statistics import Interval

from .support import XNLI

BAR = Interval(1.0, -1.0, 2.5)
LINES = LineChart(
    name="lines",
    title="a $model$, <b>",
    x_label="α",
    y_label="accuracy, %",
    lines=(
        *(Line(code, (-2.0, 0.0, 2.0), (40.0 + index, 42.0, 41.0)) for index, code in enumerate(XNLI)),
        Line("avg.", (-2.0, 0.0, 2.0), (40.0, 42.0, 41.0), (Interval(40.0, 39.0, 41.0), None, BAR), emphasis=True),
    ),
    level=42.0,
    level_label="base",
    decimals=2,
)
DOTS = DotChart("dots", "Dots", "difference", (*XNLI, "avg."), {"clas": (BAR,) * 15 + (None,), "x": (BAR,) * 16}, 2, 1)
HEAT = HeatMap(
    "heat", "Heat", "α", ("en", "de"), ("-2", "2"), ((0.0, None), (3.0, -1.5)), "points", 1, higher_is_better=True
)


@pytest.mark.parametrize("chart", [LINES, DOTS, HEAT], ids=["lines", "dots", "heat"])
def test_png_and_svg_are_whole_and_the_svg_repeats_itself(tmp_path, chart):
    png, svg = save_chart(chart, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{chart.name}.png", f"{chart.name}.svg"]
    assert png.read_bytes().startswith(b"\x89PNG")
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    first = svg.read_bytes()
    save_chart(chart, tmp_path)
    assert svg.read_bytes() == first


def test_a_failed_write_leaves_nothing(tmp_path):
    (tmp_path / "heat.png").mkdir()
    with pytest.raises(OSError):
        save_chart(HEAT, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["heat.png"]


def test_fifteen_languages_can_be_told_apart_in_grey():
    axes = draw(LINES).axes[0]
    drawn = [line for line in axes.get_lines() if line.get_label() in XNLI]
    assert len({(line.get_marker(), line.get_linestyle()) for line in drawn}) == 15
    average = next(line for line in axes.get_lines() if line.get_label() == "avg.")
    assert average.get_linewidth() > 2 * drawn[0].get_linewidth()


def test_no_label_covers_another():
    for chart in (LINES, DOTS):
        figure = draw(chart)
        figure.draw_without_rendering()
        axes = figure.axes[0]
        legend = axes.get_legend()
        labels = [*(legend.get_texts() if legend else ()), *axes.get_yticklabels()]
        boxes = [label.get_window_extent() for label in labels if label.get_text()]
        assert not any(box.overlaps(other) for index, box in enumerate(boxes) for other in boxes[:index])


def test_the_heat_map_is_centred_at_no_difference():
    image = draw(HEAT).axes[0].get_images()[0]
    assert image.get_clim() == (-3.0, 3.0)
    assert heat_ends(replace(HEAT, values=((None, None), (None, None)))) == (-1.0, 1.0)
    assert [heat_text(HEAT, value) for value in (2.0, -0.04, -1.0)] == ["+2.0", "0", "-1.0"]


def test_a_heat_map_of_values_has_the_colours_that_it_is_told():
    image = draw(replace(HEAT, values=((0.3, None), (0.7, 0.4)), ends=(0.0, 1.0))).axes[0].get_images()[0]
    assert image.get_clim() == (0.0, 1.0)
    assert image.get_cmap().name != draw(HEAT).axes[0].get_images()[0].get_cmap().name


def test_a_heat_map_of_many_languages_has_colours_and_no_numbers():
    codes = tuple(f"l{number}" for number in range(60))
    figure = draw(replace(HEAT, rows=codes, columns=codes, values=((0.5,) * 60,) * 60, ends=(0.0, 1.0)))
    assert not figure.axes[0].texts
    assert max(figure.get_size_inches()) < 25


def test_the_name_of_the_colours_fits_beside_the_smallest_heat_map():
    figure = draw(replace(HEAT, rows=("de",), values=((1.0, 2.0),), unit=scale_of("exact_match").difference))
    figure.draw_without_rendering()
    label = figure.axes[1].yaxis.label.get_window_extent()
    assert figure.bbox.y0 <= label.y0 < label.y1 <= figure.bbox.y1


def test_an_unbounded_interval_is_a_point():
    chart = DotChart("dots", "Dots", "difference", ("de",), {"clas": (Interval(5.0, -math.inf, math.inf),)}, 2)
    figure = draw(chart)
    figure.draw_without_rendering()
    low, high = figure.axes[0].get_xlim()
    assert high - low < 10


def test_a_dollar_starts_no_formula(tmp_path):
    svg = save_chart(LINES, tmp_path)[1].read_text(encoding="utf-8")
    assert re.search(r"<!-- a \$model\$, &lt;b&gt; -->", svg)
