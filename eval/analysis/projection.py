"""States as points of a plane, and the figure of them: Figures 3 and 6 of the paper on the latent process.

A projection is a function of states; the figure knows its points only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle, product
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..report.figures import MARKERS, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

States: TypeAlias = Mapping[str, NDArray[np.float32]]
"""Of one layer: by method `[points, hidden]`."""
Plane: TypeAlias = Mapping[str, NDArray[np.float64]]
"""By method `[points, 2]`."""
Project: TypeAlias = Callable[[States], Plane]

_COLUMNS = 6
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F6000", "#7B4FA3", "#8C8C8C")
_ANCHOR: dict[str, Any] = {
    "color": "#000000",
    "marker": "*",
    "s": 46,
    "linewidths": 0.4,
    "edgecolors": "white",
    "zorder": 5,
}


def principal_components(states: States) -> Plane:
    """The two principal components of the first method's states; those of the others on the same axes.

    Raises ValueError: fewer than two points.
    """
    from sklearn.decomposition import PCA

    first, *_ = states.values()
    if len(first) < 2:
        raise ValueError("principal components need at least two points")
    fitted = PCA(n_components=2, svd_solver="full").fit(first)
    return {method: fitted.transform(points).astype(np.float64) for method, points in states.items()}


@dataclass(frozen=True)
class ScatterPanels:
    """A panel for each method and layer, with a point for each question in each language.

    Attributes:
        languages: of every point.
        anchor: the language that is marked.
        planes: by layer.
    """

    name: str
    title: str
    languages: tuple[str, ...]
    anchor: str
    planes: Mapping[int, Plane]


@draw.register(ScatterPanels)
def _(chart: ScatterPanels) -> Figure:
    from matplotlib.figure import Figure

    methods = list(next(iter(chart.planes.values())))
    blocks = -(-len(chart.planes) // _COLUMNS)
    columns = -(-len(chart.planes) // blocks)
    figure = Figure(figsize=(2.3 * columns + 1.2, 2.3 * blocks * len(methods) + 0.5), layout="constrained")
    grid = figure.subplots(blocks * len(methods), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_visible(False)
    for (row, method), (place, (layer, plane)) in product(enumerate(methods), enumerate(chart.planes.items())):
        axes = grid[row * blocks + place // columns, place % columns]
        axes.set_visible(True)
        _scatter(axes, chart, plane[method])
        _same_axes(axes, plane)
        axes.set_title(f"layer {layer}" if len(methods) == 1 else f"{method}\nlayer {layer}", fontsize=8)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.suptitle(chart.title, fontsize=10.5)
    figure.legend(handles, labels, loc="outside right center", frameon=False, ncols=-(-len(labels) // 32), fontsize=8)
    return figure


def _scatter(axes: Axes, chart: ScatterPanels, points: NDArray[np.float64]) -> None:
    codes = np.array(chart.languages)
    others = [code for code in dict.fromkeys(chart.languages) if code != chart.anchor]
    for code, (marker, colour) in zip(others, cycle(product(MARKERS, _COLOURS)), strict=False):
        style: dict[str, Any] = {
            "color": colour,
            "marker": marker,
            "s": 11,
            "linewidths": 0,
            "alpha": 0.75,
            "zorder": 3,
        }
        axes.scatter(*points[codes == code].T, label=code, **style)
    axes.scatter(*points[codes == chart.anchor].T, label=chart.anchor, **_ANCHOR)
    axes.set_xticks([])
    axes.set_yticks([])


def _same_axes(axes: Axes, plane: Plane) -> None:
    """The limits that hold all methods' points of a layer."""
    everything = np.concatenate(list(plane.values()))
    low, high = everything.min(axis=0), everything.max(axis=0)
    margin = np.maximum(0.06 * (high - low), 1e-9)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
