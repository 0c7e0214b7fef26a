"""The report's charts for the page: where each thing stands, in per cent of the plot, so that it fits any width.

Only layout: what is shown comes from `charts.py`, and the page's template turns places into elements.  Texts stay
texts, which wrap and follow the reader's font; there is no library on the page.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, pairwise

from ..statistics import Interval
from .charts import Chart, DotChart, HeatMap, Line, LineChart
from .figures import COLOURS, bounds, heat_colours, heat_ends, heat_text, is_dark
from .table import MISSING, difference
from .table import interval as interval_cell

_DASHES = ("", "6 3", "8 3 2 3", "2 3")
_MOST_TICKS = 12  # that fit beside each other on a phone


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, with the ticks that stand there."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """In per cent of the length."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    def labels(self) -> Iterator[tuple[float, str]]:
        yield from ((self.place(tick), f"{tick:g}") for tick in self.ticks)


def axis_of(values: Sequence[float], ticks: Sequence[float] = (), *, room: float = 0.04) -> Axis:
    """An axis that holds all values, with a margin of `room` on both sides; round ticks where none are given."""
    from matplotlib.ticker import MaxNLocator

    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = room * (high - low) or 1.0
    low, high = low - margin, high + margin
    round_ones = [float(tick) for tick in MaxNLocator(nbins=5).tick_values(low, high) if low <= tick <= high]
    return Axis(low, high, tuple(ticks) or tuple(0.0 if abs(tick) < 1e-12 else tick for tick in round_ones))


@dataclass(frozen=True)
class Bar:
    """A difference and its interval; without `ends` where nothing bounds it, without `middle` where there is none."""

    series: int
    middle: float | None
    ends: tuple[float, float] | None
    text: str


@dataclass(frozen=True)
class Dots:
    """A row of bars for every language, one below the other for each method."""

    axis: Axis
    series: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, bool, tuple[Bar, ...]], ...]


def dots(chart: DotChart) -> Dots:
    """`rows` are label, whether it is an average, and bars; `series` are label and colour."""
    known = [interval for intervals in chart.series.values() for interval in intervals if interval]
    values = [value for each in known for value in (each.mean, each.low, each.high) if math.isfinite(value)]
    axis = axis_of([0.0, *values])
    rows = []
    for number, label in enumerate(chart.rows):
        bars = [_bar(axis, index, each[number], chart.decimals) for index, each in enumerate(chart.series.values())]
        rows.append((label, number >= len(chart.rows) - chart.separate, tuple(bars)))
    return Dots(axis, tuple(zip(chart.series, cycle(COLOURS))), tuple(rows))


def _bar(axis: Axis, series: int, interval: Interval | None, decimals: int) -> Bar:
    if interval is None:
        return Bar(series, None, None, MISSING)
    text = difference(interval.mean, decimals).text
    if not math.isfinite(interval.low) or not math.isfinite(interval.high):
        return Bar(series, axis.place(interval.mean), None, text)
    ends = axis.place(interval.low), axis.place(interval.high)
    return Bar(series, axis.place(interval.mean), ends, f"{text} {interval_cell(interval, decimals).text}")


@dataclass(frozen=True)
class Path:
    """One line; `d` and `points` are SVG paths and `band` a polygon in a square of 100, from the top left."""

    label: str
    colour: str
    dash: str
    emphasis: bool
    d: str
    points: str
    band: str


@dataclass(frozen=True)
class Lines:
    """Lines over a strength; `stops` are the measured strengths: place, width, and what is read there."""

    x: Axis
    y: Axis
    paths: tuple[Path, ...]
    level: float | None
    stops: tuple[tuple[float, float, str], ...]


def lines(chart: LineChart) -> Lines:
    """The layout of a line chart."""
    ticks = sorted({value for line in chart.lines for value in line.x})
    ends = [end for line in chart.lines for each in line.intervals if each for end in (each.low, each.high)]
    heights = [*(value for line in chart.lines for value in line.y), *filter(math.isfinite, ends)]
    x = axis_of(ticks, ticks[:: math.ceil(len(ticks) / _MOST_TICKS) or 1])
    y = axis_of([*heights, *([] if chart.level is None else [chart.level])])
    alone = all(line.emphasis for line in chart.lines)
    paths = []
    for line, colour, dash in zip(chart.lines, cycle(COLOURS), cycle(_DASHES)):
        ink = line.emphasis and not alone
        places = [(x.place(one), 100 - y.place(other)) for one, other in zip(line.x, line.y, strict=True)]
        paths.append(
            Path(
                label=line.label,
                colour="var(--ink)" if ink else colour,
                dash="" if ink else dash,
                emphasis=line.emphasis,
                d="M" + "L".join(f"{one:g} {other:g}" for one, other in places),
                points="".join(f"M{one:g} {other:g}h0" for one, other in places),
                band=_band(line, x, y),
            )
        )
    level = None if chart.level is None else round(100 - y.place(chart.level), 2)
    return Lines(x, y, tuple(paths), level, tuple(_stops(chart, x, ticks)))


def _band(line: Line, x: Axis, y: Axis) -> str:
    """Around the intervals of a line: along the lower ends, and back along the upper ones; "" without intervals."""
    if not line.intervals:
        return ""
    ends = [bounds(each, middle) for each, middle in zip(line.intervals, line.y, strict=True)]
    lower = [(one, low) for one, (low, _) in zip(line.x, ends, strict=True)]
    upper = [(one, high) for one, (_, high) in zip(line.x, ends, strict=True)]
    return " ".join(f"{x.place(one):g},{100 - y.place(other):g}" for one, other in (*lower, *reversed(upper)))


def _stops(chart: LineChart, x: Axis, ticks: Sequence[float]) -> Iterator[tuple[float, float, str]]:
    edges = [0.0, *((x.place(one) + x.place(other)) / 2 for one, other in pairwise(ticks)), 100.0]
    for tick, (left, right) in zip(ticks, pairwise(edges), strict=True):
        found = {line.label: line.y[line.x.index(tick)] for line in chart.lines if tick in line.x}
        told = ", ".join(f"{label} {value:.{chart.decimals}f}" for label, value in found.items())
        yield round(left, 2), round(right - left, 2), f"{chart.x_label} = {tick:g}: {told}"


@dataclass(frozen=True)
class Heat:
    """Rows of a heat map: a label, and for each column its text, its colour and that of the letters."""

    ends: tuple[str, str]
    rows: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]
    scale: tuple[str, ...]


def heat(chart: HeatMap) -> Heat:
    """`scale` are the colours between the values in `ends`."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    (low, high), colours = heat_ends(chart), colormaps[heat_colours(chart)]

    def cell(value: float | None) -> tuple[str, str, str]:
        if value is None:
            return MISSING, "transparent", "inherit"
        share = (value - low) / (high - low)
        return heat_text(chart, value), to_hex(colours(share)), "#fff" if is_dark(chart, share) else "#000"

    rows = tuple((label, tuple(map(cell, values))) for label, values in zip(chart.rows, chart.values, strict=True))
    ends = heat_text(chart, low), heat_text(chart, high)
    return Heat(ends, rows, tuple(to_hex(colours(step / 8)) for step in range(9)))


def laid_out(chart: Chart) -> Dots | Lines | Heat:
    """A chart of any kind."""
    if isinstance(chart, DotChart):
        return dots(chart)
    return lines(chart) if isinstance(chart, LineChart) else heat(chart)
