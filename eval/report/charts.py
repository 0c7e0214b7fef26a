"""What the report's figures show, as plain values: lines, dots with intervals, heat maps.

`figures.py` draws them as PNG and SVG, `places.py` lays them out for the page, so that both show the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..statistics import Interval
from .comparison import Comparison
from .grid_tables import AXES, GridPoint, best_on_average, by_strengths, grid_points
from .words import heading, slug


@dataclass(frozen=True)
class Line:
    """Points of one language, or of an average: the emphasised ones stand out, and may have intervals."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    intervals: tuple[Interval | None, ...] = ()
    emphasis: bool = False


@dataclass(frozen=True)
class LineChart:
    """Scores over a strength; `level` is the base's average, a horizontal line; `decimals` are those of a score."""

    name: str
    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    level: float | None
    level_label: str
    decimals: int


@dataclass(frozen=True)
class DotChart:
    """A difference with its interval for every language, a series for each method; None where there is none.

    `separate` counts the last rows that are no languages but averages; `decimals` are those of a score.
    """

    name: str
    title: str
    x_label: str
    rows: tuple[str, ...]
    series: Mapping[str, tuple[Interval | None, ...]]
    decimals: int
    separate: int = 0


@dataclass(frozen=True)
class HeatMap:
    """Differences to the base, `[rows][columns]`; None where there is none.

    Or, with `ends`, values that are shown as they are: those of the first and the last colour.
    """

    name: str
    title: str
    x_label: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    unit: str
    decimals: int
    higher_is_better: bool
    ends: tuple[float, float] | None = None
    y_label: str = ""


Chart: TypeAlias = LineChart | DotChart | HeatMap


@dataclass(frozen=True)
class Choice:
    """Charts that share one place on the page.

    Attributes:
        charts: by what a reader chooses them.
        first: what is shown before.
    """

    name: str
    charts: Mapping[str, Chart]
    first: str

    @property
    def shown(self) -> Chart:
        return self.charts[self.first]


def choices(comparison: Comparison) -> list[Choice]:
    """The figures of one task: differences for a plain run; Figures 5 and 6 and heat maps, in one place, for a grid."""
    task = comparison.task
    if not task.is_grid:
        found: dict[str, Chart] = {"differences": differences_chart(comparison)} if comparison.across else {}
        return [Choice(slug(task.run, task.task, "figure"), found, "differences")] if found else []
    points, best = grid_points(comparison), best_on_average(comparison)
    found, first = {}, ""
    for group in by_strengths(points).values():
        if len(group) > 1 and comparison.across:
            name = f"scores, {group[0].strengths}"
            found[name] = dial_chart(comparison, group)
            found[f"differences, {group[0].strengths}"] = heat_map(comparison, group)
            first = name if not first or any(point.method == best for point in group) else first
    if beta_gamma := beta_gamma_chart(comparison, points):
        found["β alone and γ alone"] = beta_gamma
    if by_layer := layer_chart(comparison, points):
        found["layers"] = by_layer
    return [Choice(slug(task.run, task.task, "figure"), found, first or next(iter(found)))] if found else []


def differences_chart(comparison: Comparison) -> DotChart:
    task = comparison.task
    languages = [row.language for row in comparison.rows]
    series: dict[str, tuple[Interval | None, ...]] = {}
    for method, across in comparison.across.items():
        cells = [row.differences.get(method) for row in comparison.rows]
        series[method] = (*(cell.interval if cell else None for cell in cells), across.interval)
    return DotChart(
        name=slug(task.run, task.task, "differences"),
        title=f"{heading(task)}: difference to {task.base}, 95 % intervals",
        x_label=comparison.task.scale.difference,
        rows=(*languages, f"avg. without {task.anchor}"),
        series=series,
        decimals=task.scale.digits,
        separate=1,
    )


def dial_chart(comparison: Comparison, points: Sequence[GridPoint]) -> LineChart:
    """Figure 5 for one pair of beta and gamma, or one layer: the score over the dial; 0 is the base."""
    task, first = comparison.task, points[0]
    measured = {point.dial for point in points}
    lines = []
    for row in comparison.rows:
        found = {point.dial: cell.score for point in points if (cell := row.differences.get(point.method))}
        if found:
            x, y = zip(*sorted((found if 0.0 in measured else found | {0.0: row.base}).items()), strict=True)
            lines.append(Line(row.language, x, y))
    average = _average(comparison, {point.dial: point.method for point in points})
    if average:
        lines.append(average)
    return LineChart(
        name=slug(task.run, task.task, f"{first.name.removeprefix('vector_')}-{first.slug}"),
        title=f"{heading(task)}: {first.symbol}, with {first.strengths}",
        x_label=first.symbol,
        y_label=task.scale.heading,
        lines=tuple(lines),
        level=comparison.base_mean,
        level_label=f"{task.base}, avg.",
        decimals=task.scale.digits,
    )


def layer_chart(comparison: Comparison, points: Sequence[GridPoint]) -> LineChart | None:
    """Vectors of one layer after the other, on average: a line for each strength; None with fewer than two layers."""
    task = comparison.task
    by_strength: dict[str, dict[float, str]] = {}
    for point in points:
        beside = dict(point.beside)
        layer = beside.pop("vector_layers", None)
        if layer is not None:
            others = "".join(f", {AXES[name]} = {value:g}" for name, value in beside.items())
            by_strength.setdefault(f"strength {point.dial:g}{others}", {})[layer] = point.method
    lines = [
        line
        for label, methods in by_strength.items()
        if len(methods) > 1 and (line := _average(comparison, methods, label, with_base=False))
    ]
    if not lines:
        return None
    return LineChart(
        name=slug(task.run, task.task, "layers"),
        title=f"{heading(task)}: vectors of each layer",
        x_label="layer",
        y_label=f"{task.scale.heading}, avg. without {task.anchor}",
        lines=tuple(lines),
        level=comparison.base_mean,
        level_label=task.base or "",
        decimals=task.scale.digits,
    )


def beta_gamma_chart(comparison: Comparison, points: Sequence[GridPoint]) -> LineChart | None:
    """Figure 6: beta alone (gamma 0) and gamma alone (beta 0), both with alpha 1; None without such points."""
    task = comparison.task
    strong = [(dict(point.beside), point.method) for point in points if point.name == "alpha" and point.dial == 1]
    beta = {beside["beta"]: method for beside, method in strong if beside["gamma"] == 0 and beside["beta"]}
    gamma = {beside["gamma"]: method for beside, method in strong if beside["beta"] == 0 and beside["gamma"]}
    named = (("β alone (γ = 0)", beta), ("γ alone (β = 0)", gamma))
    lines = [line for label, methods in named if (line := _average(comparison, methods, label))]
    if not lines:
        return None
    return LineChart(
        name=slug(task.run, task.task, "beta-gamma"),
        title=f"{heading(task)}: β alone and γ alone, with α = 1",
        x_label="β or γ",
        y_label=f"{task.scale.heading}, avg. without {task.anchor}",
        lines=tuple(lines),
        level=comparison.base_mean,
        level_label=task.base or "",
        decimals=task.scale.digits,
    )


def _average(
    comparison: Comparison, methods: Mapping[float, str], label: str = "", *, with_base: bool = True
) -> Line | None:
    """Average scores without the anchor over a strength, with the intervals of their differences; 0 is the base.

    Over something else, such as layers, there is no place for the base.
    """
    found: dict[float, tuple[float, Interval | None]] = {}
    for strength, method in methods.items():
        across = comparison.across.get(method)
        if across and across.score is not None and across.interval and across.base is not None:
            shift, ends = across.base, across.interval
            found[strength] = across.score, Interval(ends.mean + shift, ends.low + shift, ends.high + shift)
    if not found:
        return None
    if with_base and 0.0 not in found and comparison.base_mean is not None:
        found[0.0] = comparison.base_mean, None
    x = tuple(sorted(found))
    label = label or f"avg. without {comparison.task.anchor}"
    return Line(label, x, tuple(found[value][0] for value in x), tuple(found[value][1] for value in x), emphasis=True)


def heat_map(comparison: Comparison, points: Sequence[GridPoint]) -> HeatMap:
    """Difference to the base by language and dial, for one pair of beta and gamma, or one layer."""
    task = comparison.task
    rows = [row for row in comparison.rows if any(point.method in row.differences for point in points)]
    return HeatMap(
        name=slug(task.run, task.task, f"heat-{points[0].slug}"),
        title=f"{heading(task)}: difference to {task.base}, with {points[0].strengths}",
        x_label=points[0].symbol,
        rows=tuple(row.language for row in rows),
        columns=tuple(f"{point.dial:g}" for point in points),
        values=tuple(
            tuple(cell.interval.mean if (cell := row.differences.get(point.method)) else None for point in points)
            for row in rows
        ),
        unit=comparison.task.scale.difference,
        decimals=task.scale.digits - 1,
        higher_is_better=task.scale.higher_is_better,
    )
