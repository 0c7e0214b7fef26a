"""Where things stand in the page's charts: the numbers of the charts, in per cent of the plot."""

import math

import pytest

from eval.report.charts import DotChart, HeatMap, Line, LineChart
from eval.report.places import axis_of, dots, heat, lines
from eval.statistics import Interval

from .test_figures import DOTS, HEAT, LINES, XNLI


def test_an_axis_holds_its_values_and_has_round_ticks():
    axis = axis_of([-3.0, 8.0])
    assert 0 < axis.place(-3.0) < axis.place(0.0) < axis.place(8.0) < 100
    assert dict(axis.labels()) == {axis.place(tick): f"{tick:g}" for tick in (-2.5, 0, 2.5, 5, 7.5)}
    assert axis_of([5.0, 5.0]).place(5.0) == 50


def test_a_bar_stands_where_its_numbers_are():
    found = dots(DOTS)
    assert [label for label, _ in found.series] == ["clas", "x"]
    label, average, (clas, other) = found.rows[-1]
    assert (label, average, clas.middle, clas.text) == ("avg.", True, None, "–")
    assert (other.middle, other.ends) == (found.axis.place(1.0), (found.axis.place(-1.0), found.axis.place(2.5)))
    assert other.text == "+1.00 [-1.00, +2.50]"


def test_an_unbounded_interval_is_a_dot_alone():
    chart = DotChart("dots", "Dots", "difference", ("de",), {"clas": (Interval(5.0, -math.inf, math.inf),)}, 2)
    ((_, _, (bar,)),) = dots(chart).rows
    assert (bar.ends, bar.text) == (None, "+5.00")


def test_lines_go_through_their_points_and_the_band_around_the_intervals():
    found = lines(LINES)
    assert [path.label for path in found.paths] == [*XNLI, "avg."]
    left, middle, right = (found.x.place(value) for value in (-2.0, 0.0, 2.0))
    assert found.paths[0].d == "M" + "L".join(
        f"{x:g} {100 - found.y.place(value):g}" for x, value in ((left, 40.0), (middle, 42.0), (right, 41.0))
    )
    assert found.paths[0].band == ""
    assert len(found.paths[-1].band.split()) == 6  # three points along the lower ends, and back
    assert found.paths[-1].colour == "var(--ink)"
    assert len({(path.colour, path.dash) for path in found.paths[:6]}) == 6
    assert found.level == pytest.approx(100 - found.y.place(42.0))


def test_every_strength_has_a_place_where_it_is_read():
    line = LineChart("x", "", "α", "", (Line("de", (-1.0, 3.0), (1.0, 2.5)), Line("th", (3.0,), (7.0,))), None, "", 1)
    (first, width, text), (second, _, other) = lines(line).stops
    assert (first, first + width) == (0, second)
    assert (text, other) == ("α = -1: de 1.0", "α = 3: de 2.5, th 7.0")


@pytest.mark.parametrize(("layers", "ticks"), [(2, (0, 1)), (12, tuple(range(12))), (32, tuple(range(0, 32, 3)))])
def test_many_values_have_fewer_ticks_and_are_all_read(layers, ticks):
    layer = tuple(map(float, range(layers)))
    found = lines(LineChart("x", "", "layer", "", (Line("de", layer, layer),), None, "", 0))
    assert found.x.ticks == ticks
    assert len(found.stops) == layers


@pytest.mark.parametrize("higher", [True, False])
def test_the_same_colour_is_for_the_better_whichever_direction_that_is(higher):
    chart = HeatMap("x", "", "α", ("de",), ("1", "2"), ((2.0, -2.0),), "", 1, higher_is_better=higher)
    ((_, (up, down)),) = heat(chart).rows
    better = up if higher else down
    assert better[1] == "#2d004b"  # the violet end
    assert (up[0], down[0]) == ("+2.0", "-2.0")


def test_a_heat_map_has_a_cell_for_every_value():
    found = heat(HEAT)
    assert [[text for text, *_ in cells] for _, cells in found.rows] == [["0", "–"], ["+3.0", "-1.5"]]
    assert found.ends == ("-3.0", "+3.0")
    assert found.rows[1][1][0][2] == "#fff"  # white letters on the strongest colour


def test_a_heat_map_of_values_goes_from_end_to_end_without_signs():
    values = ((0.25, None), (0.5, 1.0))
    found = heat(HeatMap("x", "", "", ("de", "en"), ("de", "en"), values, "", 2, True, (0.25, 1.0)))
    assert [[text for text, *_ in cells] for _, cells in found.rows] == [["0.25", "–"], ["0.50", "1.00"]]
    assert found.ends == ("0.25", "1.00")
    assert (found.rows[0][1][0][1], found.rows[1][1][1][1]) == (found.scale[0], found.scale[-1])
    assert [ink for _, cells in found.rows for _, _, ink in cells] == ["#000", "inherit", "#000", "#fff"]
