"""The report's charts for the page: plotly figures as plain JSON values, without the library itself.

Only drawing: what is shown comes from `charts.py`.  The page's script puts in the colours of text and grid, which
depend on the reader's light or dark scheme; lines in the colour of text are marked with `meta.ink`.
"""

import html
import json
import math
from collections.abc import Iterator, Sequence
from functools import singledispatch
from itertools import cycle
from typing import Any

import plotly.graph_objects as go

from ..statistics import Interval
from .charts import Chart, DotChart, HeatMap, LineChart
from .figures import COLOURS, heat_limit, signed

_INK = "#808080"  # readable on white and on black, should the script not run
_SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")
_DASHES = ("solid", "dash", "dashdot", "dot")
# ColorBrewer's PuOr in five steps, the middle one clear enough for either scheme.
_DIVERGING = ((0.0, "#B35806"), (0.25, "#F1A340"), (0.5, "#F7F7F7"), (0.75, "#998EC3"), (1.0, "#542788"))


def plotly_figure(chart: Chart) -> dict[str, Any]:
    """Data and layout, as `Plotly.newPlot` takes them."""
    figure = go.Figure(data=_traces(chart))
    figure.update_layout(
        template="none",
        title={"text": _plain(chart.title), "font": {"size": 15}},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
        hoverlabel={"namelength": -1},
        height=_height(chart),
    )
    figure.update_xaxes(title=_plain(chart.x_label), zeroline=False)
    _arrange(chart, figure)
    return dict(json.loads(figure.to_json()))


def _plain(text: str) -> str:
    """Plotly takes some HTML in its texts: what comes from a user is none."""
    return html.escape(text, quote=False)


def _height(chart: Chart) -> int:
    return 460 if isinstance(chart, LineChart) else 170 + 28 * len(chart.rows)


@singledispatch
def _traces(chart: Chart) -> list[Any]:
    raise TypeError(f"no drawing for {type(chart).__name__}")


@_traces.register(LineChart)
def _(chart: LineChart) -> list[Any]:
    styles = zip(cycle(COLOURS), cycle(_SYMBOLS), cycle(_DASHES))
    alone = all(line.emphasis for line in chart.lines)
    traces = []
    for line in chart.lines:
        colour, symbol, dash = next(styles)
        ink = line.emphasis and not alone
        if ink:
            colour, symbol, dash = _INK, "circle", "solid"
        traces.append(
            go.Scatter(
                name=_plain(line.label),
                x=list(line.x),
                y=list(line.y),
                mode="lines+markers",
                line={"color": colour, "dash": dash, "width": 4 if line.emphasis else 1.6},
                marker={"symbol": symbol, "size": 8 if line.emphasis else 7, "color": colour},
                error_y=_errors(line.y, line.intervals) if line.intervals else None,
                meta={"ink": ink},
                hovertemplate=f"%{{x:g}}: %{{y:.{chart.decimals}f}}",
            )
        )
    return traces


@_traces.register(DotChart)
def _(chart: DotChart) -> list[Any]:
    count = len(chart.series)
    traces = []
    for index, (label, intervals) in enumerate(chart.series.items()):
        offset = (index - (count - 1) / 2) * 0.8 / max(1, count)
        shown = [(row, interval) for row, interval in enumerate(intervals) if interval]
        means = [interval.mean for _, interval in shown]
        traces.append(
            go.Scatter(
                name=_plain(label),
                x=means,
                y=[row + offset for row, _ in shown],
                mode="markers",
                marker={"symbol": _SYMBOLS[index % 7], "size": 9, "color": COLOURS[index % 6]},
                error_x=_errors(means, [interval for _, interval in shown]),
                text=[_plain(f"{chart.rows[row]}: {_described(interval, chart.decimals)}") for row, interval in shown],
                hovertemplate="%{text}",
            )
        )
    return traces


def _described(interval: Interval, places: int) -> str:
    ends = f" [{interval.low:+.{places}f}, {interval.high:+.{places}f}]" if math.isfinite(interval.low) else ""
    return f"{interval.mean:+.{places}f}{ends}"


def _errors(means: Sequence[float], intervals: Sequence[Interval | None]) -> dict[str, Any]:
    def lengths(end: str) -> Iterator[float]:
        for mean, interval in zip(means, intervals, strict=True):
            length = abs(getattr(interval, end) - mean) if interval else 0.0
            yield length if math.isfinite(length) else 0.0

    return {
        "type": "data",
        "symmetric": False,
        "array": list(lengths("high")),
        "arrayminus": list(lengths("low")),
        "width": 3,
    }


@_traces.register(HeatMap)
def _(chart: HeatMap) -> list[Any]:
    limit = heat_limit(chart)
    return [
        go.Heatmap(
            x=[_plain(column) for column in chart.columns],
            y=[_plain(row) for row in chart.rows],
            z=[list(row) for row in chart.values],
            text=[["" if value is None else signed(value, chart.decimals) for value in row] for row in chart.values],
            texttemplate="%{text}",
            zmin=-limit,
            zmax=limit,
            colorscale=[list(step) for step in _DIVERGING],
            reversescale=not chart.higher_is_better,
            colorbar={"title": {"text": _plain(chart.unit), "side": "right"}},
            hovertemplate=f"%{{y}}, {_plain(chart.x_label)} %{{x}}: %{{z:+.{chart.decimals + 1}f}}<extra></extra>",
        )
    ]


def _arrange(chart: Chart, figure: Any) -> None:
    """Axes and reference lines."""
    if isinstance(chart, LineChart):
        figure.update_yaxes(title=_plain(chart.y_label), zeroline=False)
        if chart.level is not None:
            note = {"annotation_text": _plain(chart.level_label), "annotation_position": "bottom right"}
            figure.add_hline(y=chart.level, line={"color": _INK, "dash": "dot", "width": 1.5}, **note)
        return
    # Rows from the top, as in the tables.
    figure.update_yaxes(autorange="reversed", ticklabelstandoff=4)
    if isinstance(chart, DotChart):
        figure.update_yaxes(
            tickvals=list(range(len(chart.rows))), ticktext=[_plain(row) for row in chart.rows], zeroline=False
        )
        figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.18 * 460 / _height(chart)})
        figure.add_vline(x=0, line={"color": _INK, "width": 1.5})
        if chart.separate:
            figure.add_hline(y=len(chart.rows) - chart.separate - 0.5, line={"color": _INK, "width": 1})
    else:
        # Otherwise plotly would take the names of the columns for numbers, and space them so.
        figure.update_xaxes(type="category")
        figure.update_yaxes(type="category")
