"""Numbers of languages as bars, a series for each selection: Figures 2 to 7 of Mondal et al. (2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..report.figures import COLOURS, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HATCHES = ("", "//", "..", "xx", "\\\\", "++")
_MOST_NUMBERS = 40  # bars with a number on each


@dataclass(frozen=True)
class BarChart:
    """Attributes:
    rows: what each group of bars stands for.
    series: by label a value for each row.
    """

    name: str
    title: str
    y_label: str
    rows: tuple[str, ...]
    series: Mapping[str, tuple[int, ...]]


@draw.register(BarChart)
def _(chart: BarChart) -> Figure:
    from matplotlib.figure import Figure

    bars = len(chart.rows) * len(chart.series)
    figure = Figure(figsize=(min(16.0, max(6.0, 2.0 + 0.42 * bars)), 4.5), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / max(1, len(chart.series))
    for index, (label, values) in enumerate(chart.series.items()):
        offset = (index - (len(chart.series) - 1) / 2) * width
        style: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "hatch": _HATCHES[index % len(_HATCHES)]}
        drawn = axes.bar(
            [row + offset for row in range(len(values))], values, width * 0.95, label=label, edgecolor="white", **style
        )
        if bars <= _MOST_NUMBERS:
            axes.bar_label(drawn, fontsize=7, padding=1)
    axes.set_xticks(range(len(chart.rows)), chart.rows)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color="#D8D8D8", linewidth=0.6)
    axes.set_title(chart.title, fontsize=10.5, wrap=True)
    axes.set_ylabel(chart.y_label)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure
