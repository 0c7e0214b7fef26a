"""The report's charts as PNG and SVG.

Only drawing: what is shown comes from `charts.py`.  Without pyplot, so that no backend is chosen and nothing stays
behind; colours of Okabe and Ito, with a marker and a dash of their own for every line, so that grey is enough.
"""

from __future__ import annotations

import math
from functools import singledispatch
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from clas_models.atomic import atomic_file

from ..statistics import Interval
from .charts import DotChart, HeatMap, Line, LineChart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design" (2008), without yellow, which vanishes on white, and black, which is the
# average's.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("-", "--", "-.", ":")
_COLOURED = 0.6  # of the strongest colour; above it, letters are white
_MOST_NUMBERS = 40  # columns of a heat map with a number in each cell
_GRID: dict[str, Any] = {"color": "#D8D8D8", "linewidth": 0.6}

# Text is drawn as it is: a dollar in a model's name starts no formula.  Without the salt the identifiers in an SVG are
# random.
_SETTINGS = {
    "svg.hashsalt": "clas-models",
    "axes.axisbelow": True,
    "text.parse_math": False,
    "font.size": 9.5,
    "axes.unicode_minus": False,
}


class Named(Protocol):
    """A chart of any kind that `draw` knows."""

    @property
    def name(self) -> str: ...


def save_chart(chart: Named, folder: Path) -> list[Path]:
    """Write NAME.png (150 dpi) and NAME.svg into `folder` and return their paths.

    Each file appears whole or not at all; the same chart gives the same SVG.

    Raises OSError: a file cannot be written.
    """
    from matplotlib import style

    written = []
    # The default style first: the reader's own matplotlibrc must not change the figure.
    with style.context(["default", _SETTINGS]):
        figure = draw(chart)
        for suffix, options in ((".png", {"dpi": 150}), (".svg", {"metadata": {"Date": None}})):
            path = folder / f"{chart.name}{suffix}"
            with atomic_file(path) as partial:
                figure.savefig(partial, format=suffix[1:], **options)
            figure.set_layout_engine("none")  # keep the first one's places: laying out takes most of the time
            written.append(path)
    return written


@singledispatch
def draw(chart: Named) -> Figure:
    """The figure of a chart of any kind."""
    raise TypeError(f"no drawing for {type(chart).__name__}")


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _finish(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    axes.set_title(title, fontsize=10.5, wrap=True)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.spines[["top", "right"]].set_visible(False)


@draw.register(LineChart)
def _(chart: LineChart) -> Figure:
    figure, axes = _figure(8, 5)
    if chart.level is not None:
        axes.axhline(
            chart.level, color="#707070", linewidth=1, linestyle=(0, (5, 3)), label=chart.level_label, zorder=1
        )
    styles = zip(cycle(COLOURS), cycle(MARKERS), cycle(_DASHES))  # the three lengths make 84 different lines
    alone = all(line.emphasis for line in chart.lines)
    for line in chart.lines:
        colour, marker, dash = next(styles)
        if line.emphasis and not alone:
            colour, marker, dash = "#000000", "o", "-"
        _plot(axes, line, colour, marker, dash)
    axes.grid(axis="y", **_GRID)
    ticks = sorted({value for line in chart.lines for value in line.x})
    if len(ticks) <= 16:
        axes.set_xticks(ticks, [f"{value:g}" for value in ticks])
    _finish(axes, chart.title, chart.x_label, chart.y_label)
    # The legend beside the axes, in the order in which the lines end on the right.
    lines = sorted(axes.get_lines(), key=lambda line: -float(np.asarray(line.get_ydata())[-1]))
    axes.legend(
        handles=lines, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, handlelength=3.2, labelspacing=0.55
    )
    return figure


def _plot(axes: Axes, line: Line, colour: str, marker: str, dash: str) -> None:
    weight = 2.8 if line.emphasis else 1.1
    axes.plot(
        line.x,
        line.y,
        color=colour,
        marker=marker,
        linestyle=dash,
        linewidth=weight,
        markersize=5.5 if line.emphasis else 4.5,
        label=line.label,
        zorder=4 if line.emphasis else 3,
    )
    if line.intervals:
        ends = [bounds(interval, y) for interval, y in zip(line.intervals, line.y, strict=True)]
        low, high = np.array(ends).T
        axes.fill_between(line.x, low, high, color=colour, alpha=0.15, linewidth=0, zorder=2)


def bounds(interval: Interval | None, middle: float) -> tuple[float, float]:
    """Of a bar; no bar, but a point, where nothing bounds it."""
    if interval is None or not math.isfinite(interval.low) or not math.isfinite(interval.high):
        return middle, middle
    return interval.low, interval.high


@draw.register(DotChart)
def _(chart: DotChart) -> Figure:
    step = 0.8 / max(1, len(chart.series))
    figure, axes = _figure(8, 1.4 + len(chart.rows) * max(0.3, 0.17 * len(chart.series)))
    axes.axvline(0, color="#707070", linewidth=1, zorder=1)
    for index, (label, intervals) in enumerate(chart.series.items()):
        offset = (index - (len(chart.series) - 1) / 2) * step
        shown = [(row, interval) for row, interval in enumerate(intervals) if interval]
        means = [interval.mean for _, interval in shown]
        ends = [bounds(interval, interval.mean) for _, interval in shown]
        axes.errorbar(
            means,
            [row + offset for row, _ in shown],
            xerr=np.array([(mean - low, high - mean) for mean, (low, high) in zip(means, ends, strict=True)]).T,
            fmt=MARKERS[index % len(MARKERS)],
            color=COLOURS[index % len(COLOURS)],
            markersize=5,
            elinewidth=1.3,
            capsize=2,
            label=label,
            zorder=3,
        )
    for edge in range(len(chart.rows) - 1):
        axes.axhline(edge + 0.5, color="#E8E8E8", linewidth=0.6, zorder=0)
    if chart.separate:
        axes.axhline(len(chart.rows) - chart.separate - 0.5, color="#707070", linewidth=0.8, zorder=1)
    axes.set_yticks(range(len(chart.rows)), chart.rows)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(chart.rows) - 0.5, -0.5)
    axes.grid(axis="x", **_GRID)
    _finish(axes, chart.title, chart.x_label, "")
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


@draw.register(HeatMap)
def _(chart: HeatMap) -> Figure:
    from matplotlib import colormaps

    crowded = len(chart.columns) > _MOST_NUMBERS
    width, height = (0.3, 0.2) if crowded else (0.62, 0.3)
    figure, axes = _figure(max(5.5, 2.6 + width * len(chart.columns)), max(3.4, 1.6 + height * len(chart.rows)))
    low, high = heat_ends(chart)
    values = [[math.nan if value is None else value for value in row] for row in chart.values]
    colours = colormaps[heat_colours(chart)].with_extremes(bad="#DDDDDD")
    image = axes.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto")
    for row, cells in enumerate(chart.values):
        for column, value in enumerate(cells):
            if value is not None and not crowded:
                label = axes.text(column, row, heat_text(chart, value), ha="center", va="center", fontsize=8)
                label.set(color="white" if is_dark(chart, (value - low) / (high - low)) else "black", in_layout=False)
    axes.set_xticks(range(len(chart.columns)), chart.columns)
    axes.set_yticks(range(len(chart.rows)), chart.rows)
    axes.tick_params(length=0)
    _finish(axes, chart.title, chart.x_label, chart.y_label)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label=chart.unit, fraction=0.05)
    return figure


def heat_ends(chart: HeatMap) -> tuple[float, float]:
    """The values of the first and the last colour: of differences equally far from 0."""
    if chart.ends:
        return chart.ends
    limit = max((abs(value) for row in chart.values for value in row if value is not None), default=0.0) or 1.0
    return -limit, limit


def heat_colours(chart: HeatMap) -> str:
    """The name of the colours, which matplotlib knows."""
    if chart.ends:
        return "YlGnBu" if chart.higher_is_better else "YlOrBr"
    return "PuOr" if chart.higher_is_better else "PuOr_r"


def is_dark(chart: HeatMap, share: float) -> bool:
    """Whether letters must be white on the colour that stands at this share of the way from the first to the last."""
    return share > _COLOURED if chart.ends else abs(2 * share - 1) > _COLOURED


def heat_text(chart: HeatMap, value: float) -> str:
    """Of differences with the sign; one that rounds to nothing is 0."""
    if chart.ends:
        return f"{round(value, chart.decimals) + 0.0:.{chart.decimals}f}"
    rounded = round(value, chart.decimals)
    return f"{rounded:+.{chart.decimals}f}" if rounded else "0"
