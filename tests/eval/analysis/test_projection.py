"""States as points of a plane, and their figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eval.analysis.projection import ScatterPanels, principal_components
from eval.report.figures import draw, save_chart

LANGUAGES = ("en", "de", "zh")


def states(seed: int) -> np.ndarray:
    """Points `[3 languages x 4, 6]` that differ in two of six directions more than in the others."""
    drawn = np.random.default_rng(seed).normal(size=(12, 6)) * [9, 4, 0.1, 0.1, 0.1, 0.1]
    return drawn.astype(np.float32)


def panels(methods: tuple[str, ...], layers: tuple[int, ...] = (1, 3)) -> ScatterPanels:
    planes = {
        layer: principal_components({method: states(10 * layer + at) for at, method in enumerate(methods)})
        for layer in layers
    }
    return ScatterPanels("points", "title", tuple(code for code in LANGUAGES for _ in range(4)), "en", planes)


def test_the_axes_are_those_of_the_first_method() -> None:
    first = states(0)
    found = principal_components({"base": first, "same": first, "moved": first + np.eye(6)[5], "other": states(1)})
    assert {plane.shape for plane in found.values()} == {(12, 2)}
    np.testing.assert_allclose(found["same"], found["base"])
    np.testing.assert_allclose(found["base"].mean(axis=0), 0, atol=1e-5)
    assert abs(np.corrcoef(found["base"][:, 0], first[:, 0])[0, 1]) > 0.99
    shift = found["moved"] - found["base"]
    np.testing.assert_allclose(shift, shift[:1].repeat(12, axis=0), atol=1e-4, err_msg="moved on the same axes")
    assert abs(found["other"].mean()) > 1e-3, "not centred anew"
    with pytest.raises(ValueError, match="at least two points"):
        principal_components({"base": first[:1]})


def test_a_panel_for_each_method_and_layer_with_the_anchor_marked(tmp_path: Path) -> None:
    chart = panels(("base", "clas"), layers=(0, 1, 2, 3, 4, 5, 6))
    figure = draw(chart)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == [
        f"{method}\nlayer {layer}" for method in ("base", "clas") for layer in range(7)
    ]
    assert [len(collection.get_offsets()) for collection in shown[0].collections] == [4, 4, 4]
    assert shown[0].get_legend_handles_labels()[1] == ["de", "zh", "en"]
    assert shown[0].get_xlim() == shown[7].get_xlim(), "the same axes for both methods"
    assert [path.name for path in save_chart(chart, tmp_path)] == ["points.png", "points.svg"]


def test_many_languages_differ_in_colour_or_marker() -> None:
    codes = tuple(f"l{number}" for number in range(60))
    points = np.random.default_rng(0).normal(size=(60, 2))
    axes = draw(ScatterPanels("points", "", codes, "l0", {0: {"base": points}})).axes[0]
    styles = {
        (tuple(collection.get_facecolor()[0][:3]), collection.get_paths()[0].vertices.tobytes())
        for collection in axes.collections
    }
    assert len(styles) == 60
