"""The layer table as a picture: Figure 1 of "CLAS" (section 2.3), as PNG and as SVG.

Only drawing: the numbers come from `layer_table`, the shaded layers from `bridge_layers`.  matplotlib is imported when
a figure is asked for, and without pyplot, so that no backend is chosen and nothing stays behind for the caller.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import atomic_file
from .bridge_layers import contiguous_runs
from .categories import Category
from .layer_table import LayerTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours of Okabe and Ito ("Color Universal Design", 2008), told apart with any colour vision.  Marker and dash differ
# as well, so that the lines can be told apart in grey.
_STYLES: dict[Category, dict[str, Any]] = {
    Category.DEAD: {"color": "#000000", "marker": "x", "linestyle": ":"},
    Category.LANGUAGE_SPECIFIC: {"color": "#D55E00", "marker": "^", "linestyle": "-."},
    Category.PARTIAL_SHARED: {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    Category.ALL_SHARED: {"color": "#009E73", "marker": "s", "linestyle": "--"},
}
_BRIDGE: dict[str, Any] = {"facecolor": "#DCCBEB", "edgecolor": "#7B4FA3", "linewidth": 0.8}

# Without the salt the identifiers in an SVG are random.
_SETTINGS = {"svg.hashsalt": "clas-models", "axes.axisbelow": True, "lines.linewidth": 1.6, "lines.markersize": 5}


def save_layer_figure(
    table: LayerTable, stem: Path, *, bridge_layers: Collection[int] = (), title: str = ""
) -> list[Path]:
    """Write `stem`.png (150 dpi) and `stem`.svg and return their paths.

    Percent of a layer's neurons over the layer, one line for each category; bridge layers are shaded purple.  The same
    input gives the same SVG, byte for byte (with the same matplotlib).  Each file appears whole or not at all.

    Raises OSError: a file cannot be written.
    """
    from matplotlib import style

    stem.parent.mkdir(parents=True, exist_ok=True)
    written = []
    # The default style first: the reader's own matplotlibrc must not change the figure.
    with style.context(["default", _SETTINGS]):
        figure = _draw(table, bridge_layers, title)
        for suffix, options in ((".png", {"dpi": 150}), (".svg", {"metadata": {"Date": None}})):
            # Not with_suffix, which would take the ".1" of "llama-3.1" for a suffix.
            path = stem.with_name(stem.name + suffix)
            with atomic_file(path) as partial:
                figure.savefig(partial, format=suffix[1:], **options)
            written.append(path)
    return written


def _draw(table: LayerTable, bridge_layers: Collection[int], title: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    _plot(axes, table)
    _shade(axes, bridge_layers)
    _label(axes, [row.layer for row in table.rows] + list(bridge_layers))
    axes.set_title(title, wrap=True)
    # Below the axes and not in them: no place inside is free in every table.
    figure.legend(loc="outside lower center", ncols=5, frameon=False, columnspacing=1.6, borderaxespad=0)
    return figure


def _shade(axes: Axes, bridge_layers: Collection[int]) -> None:
    for position, (first, last) in enumerate(contiguous_runs(bridge_layers)):
        # matplotlib leaves labels that start with an underscore out of the legend: one entry for all runs.
        label = "_" if position else "bridge layers"
        axes.axvspan(first - 0.5, last + 0.5, label=label, zorder=0, **_BRIDGE)


def _plot(axes: Axes, table: LayerTable) -> None:
    shares = {row.layer: row.percentages() for row in table.rows}
    # NaN where a layer was not profiled breaks the line: it must not be drawn as if it had been measured.
    layers = range(min(shares), max(shares) + 1)
    gap = (float("nan"),) * len(Category)
    for category, style in _STYLES.items():
        values = [shares.get(layer, gap)[category] for layer in layers]
        # The thin crosses and dots of the dead go on top, where another line's markers cannot cover them.
        order = 4 if category == Category.DEAD else 3
        axes.plot(layers, values, label=category.label, zorder=order, clip_on=False, **style)


def _label(axes: Axes, layers: Collection[int]) -> None:
    from matplotlib.ticker import FixedLocator, PercentFormatter

    first, last = min(layers), max(layers)
    axes.set_xlim(first - 0.5, last + 0.5)
    axes.set_ylim(0, 100)
    step = -(-(last - first + 1) // 16)
    axes.xaxis.set_major_locator(FixedLocator(range(first, last + 1, step)))
    axes.xaxis.set_minor_locator(FixedLocator(range(first, last + 1)))
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=0, symbol=" %"))
    axes.set_xlabel("layer")
    axes.set_ylabel("share of the layer's neurons")
    axes.grid(axis="y", color="#D0D0D0", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
