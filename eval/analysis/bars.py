"""Numbers of languages as bars, a panel for each selection: Figures 2 to 7 of Mondal et al. (2025).

Each has an axis of its own, because one selection may have a hundred times as many neurons as another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

from ..report.figures import COLOURS, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class BarChart:
    """Attributes:
    rows: what each bar stands for.
    series: by label of a panel, a value for each row.
    """

    name: str
    title: str
    y_label: str
    rows: tuple[str, ...]
    series: Mapping[str, tuple[int, ...]]


@draw.register(BarChart)
def _(chart: BarChart) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    size = min(16.0, max(5.0, 1.5 + 0.55 * len(chart.rows))), 0.8 + 1.7 * len(chart.series)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(chart.series), squeeze=False, sharex=True)[:, 0]
    for axes, (label, values), colour in zip(panels, chart.series.items(), cycle(COLOURS)):
        drawn = axes.bar(range(len(values)), values, 0.8, color=colour)
        axes.bar_label(drawn, fontsize=7, padding=1)
        axes.margins(y=0.15)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        axes.set_title(label, fontsize=9, loc="left", wrap=True)
        axes.set_ylabel(chart.y_label)
        axes.grid(axis="y", color="#D8D8D8", linewidth=0.6)
        axes.tick_params(axis="x", length=0)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xticks(range(len(chart.rows)), chart.rows)
    figure.suptitle(chart.title, fontsize=10.5, wrap=True)
    return figure
