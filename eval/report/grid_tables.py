"""Grids: which settings were tried, how the score follows the strengths, and what was best.

Behind Figures 5 and 6 of "CLAS" (section 4.4), and figures 4 and 8 of the paper on the latent process; drawing is the
business of `charts.py`, what `tune` decided that of `tuning.py`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from ..run_folder import CLAS, CLAS_VECTORS, VECTORS
from .comparison import Comparison, Difference
from .table import (
    CHANGED,
    MISSING,
    Cell,
    Table,
    Value,
    changed,
    columns,
    count,
    difference,
    interval_cells,
    interval_data,
    score,
)  # fmt: skip
from .words import heading, slug

# What varies in a grid, by the field of the settings: the symbol, in the order of the columns.
AXES = {"alpha": "α", "vector_strength": "strength", "beta": "β", "gamma": "γ", "vector_layers": "layer"}
# By kind of method, the dial that scores follow, and what else tells settings apart.
_KINDS = {
    CLAS: ("alpha", "beta", "gamma"),
    VECTORS: ("vector_strength", "vector_layers"),
    CLAS_VECTORS: ("vector_strength", "alpha", "beta", "gamma", "vector_layers"),
}
CAUTION = (
    "The best of many settings was chosen on the same examples that it is shown on, so its gain is too good; "
    "tune chooses, decides and reports on different ones."
)


@dataclass(frozen=True, order=True)
class GridPoint:
    """One point of a grid; ordered by what is beside the dial, then by the dial.

    Attributes:
        beside: fields and values, such as beta and gamma, or the layer of vectors.
        dial: the strength that scores follow: alpha, or that of vectors.
        name: its field.
    """

    beside: tuple[tuple[str, float], ...]
    dial: float
    name: str
    method: str

    @property
    def symbol(self) -> str:
        """Of the dial."""
        return AXES[self.name]

    @property
    def strengths(self) -> str:
        """`β = 0.4, γ = 0.2`."""
        return ", ".join(f"{AXES[name]} = {value:g}" for name, value in self.beside)

    @property
    def all_strengths(self) -> str:
        return f"{self.symbol} = {self.dial:g}, {self.strengths}"

    @property
    def slug(self) -> str:
        """`beta0.4-gamma0.2`, for names of files."""
        return "-".join(f"{name.removeprefix('vector_')}{value:g}" for name, value in self.beside)

    @property
    def titles(self) -> tuple[str, ...]:
        """Of the columns of `cells`."""
        return self.symbol, *(AXES[name] for name, _ in self.beside)

    @property
    def cells(self) -> list[Cell]:
        return [Cell(f"{number:g}", number) for number in (self.dial, *(value for _, value in self.beside))]

    @property
    def data(self) -> dict[str, Value]:
        return {"method": self.method, self.name: self.dial, **dict(self.beside)}


def grid_points(comparison: Comparison) -> tuple[GridPoint, ...]:
    """The points with one strength for all languages, and vectors of one layer, in order."""
    found = []
    for method in comparison.methods:
        values = comparison.task.parameters(method)
        fields = _KINDS.get(str(values.get("kind")), ())
        numbers = [number for name in fields if (number := _number(values.get(name))) is not None]
        if fields and len(numbers) == len(fields):
            found.append(GridPoint(tuple(zip(fields[1:], numbers[1:], strict=True)), numbers[0], fields[0], method))
    return tuple(sorted(found))


def _number(value: object) -> float | None:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return float(value) if isinstance(value, int | float) else None


def titles(points: Iterable[GridPoint]) -> tuple[str, ...]:
    """The columns of the settings; all points of a grid have the same."""
    return next((point.titles for point in points), ())


def by_strengths(points: Iterable[GridPoint]) -> dict[tuple[float, ...], tuple[GridPoint, ...]]:
    """The points with the same values beside the dial, such as a pair (beta, gamma), in the order of the dial."""
    alike = groupby(sorted(points), key=lambda point: point.beside)
    return {tuple(value for _, value in beside): tuple(group) for beside, group in alike}


def best_on_average(comparison: Comparison) -> str | None:
    """Name of the method with the best average difference without the anchor; None where nothing can be averaged."""
    sign = comparison.task.scale.sign
    means = {name: sign * across.interval.mean for name, across in comparison.across.items() if across.interval}
    return max(means, key=lambda name: means[name], default=None)


def settings_table(comparison: Comparison) -> Table:
    """One row for each setting: the average difference, and how many languages move which way."""
    task, places = comparison.task, comparison.task.scale.digits
    body, data = [], []
    for point in grid_points(comparison):
        across = comparison.across.get(point.method)
        if across is None or across.interval is None:
            continue
        up, down = _moved(comparison, point.method)
        shown = score(across.score, places), *interval_cells(across.interval, places), count(up), count(down)
        body.append((*point.cells, *shown, changed(across)))
        values = point.data | {"score": across.score} | interval_data(across.interval)
        data.append(values | {"gains": up, "losses": down, "changed": across.changed})
    told = (task.scale.heading, f"difference to {task.base}", "95 % interval", "gains", "losses", CHANGED)
    return Table(
        name=slug(task.run, task.task, "settings"),
        title=f"{heading(task)}: average of {len(task.others)} languages without {task.anchor}, by setting",
        columns=columns(*titles(grid_points(comparison)), *told),
        body=tuple(body),
        notes=(
            f"{task.base}: {score(comparison.base_mean, places).text}. Gains and losses: languages without "
            f"{task.anchor} whose own 95 % interval lies on the better or worse side of zero, not corrected for their "
            "number.",
            CAUTION,
        ),
        data=tuple(data),
    )


def _moved(comparison: Comparison, method: str) -> tuple[int, int]:
    """Languages whose interval is on the better and on the worse side of zero."""
    cells = [row.differences.get(method) for row in comparison.rows if row.language != comparison.task.anchor]
    above = sum(cell is not None and cell.interval.low > 0 for cell in cells)
    below = sum(cell is not None and cell.interval.high < 0 for cell in cells)
    return (above, below) if comparison.task.scale.higher_is_better else (below, above)


def best_table(comparison: Comparison) -> Table:
    """The best setting of every language, or the base where none is better."""
    task, places = comparison.task, comparison.task.scale.digits
    points, body, data = grid_points(comparison), [], []
    for row in comparison.rows:
        tried = {point: row.differences[point.method] for point in points if point.method in row.differences}
        if row.language == task.anchor or not tried:
            continue
        values: dict[str, Value] = {"language": row.language, "examples": row.examples, "base": row.base}
        cells = [Cell(row.language), count(row.examples), score(row.base, places)]
        point = best_point(tried, task.scale.sign)
        best = tried[point]
        if task.scale.sign * best.interval.mean > 0:
            shown = score(best.score, places), *interval_cells(best.interval, places), changed(best)
            cells += [*point.cells, *shown]
            values |= {name: value for name, value in point.data.items() if name != "method"}
            values |= {"score": best.score} | interval_data(best.interval) | {"changed": best.changed}
        else:
            cells += [Cell("0", 0.0), *[Cell(MISSING)] * len(point.beside)]
            cells += [score(row.base, places), difference(0.0, places), *[Cell(MISSING)] * 2]
            values |= {point.name: 0.0, **{name: None for name, _ in point.beside}}
            values |= {"score": row.base, "difference": 0.0}
        body.append(tuple(cells))
        data.append(values)
    told = ["language", "examples", f"{task.base} ({task.scale.heading})", *titles(points)]
    told += ["score", "difference", "95 % interval", CHANGED]
    return Table(
        name=slug(task.run, task.task, "best"),
        title=f"{heading(task)}: best setting of each language",
        columns=columns(*told),
        body=tuple(body),
        notes=(CAUTION, f"Where no setting was better than {task.base}, the strength is 0."),
        data=tuple(data),
    )


def best_point(tried: Mapping[GridPoint, Difference], sign: int) -> GridPoint:
    """The largest gain, of equal ones the weakest steering; it may be a loss."""
    return max(
        tried,
        key=lambda point: (sign * tried[point].interval.mean, -abs(point.dial), *(-value for _, value in point.beside)),
    )


def scores_table(comparison: Comparison) -> Table:
    """Every language at every setting, a row each."""
    task, places = comparison.task, comparison.task.scale.digits
    body, data = [], []
    for row in comparison.rows:
        for point in grid_points(comparison):
            if cell := row.differences.get(point.method):
                shown = score(cell.score, places), *interval_cells(cell.interval, places), count(cell.examples)
                body.append((Cell(row.language), *point.cells, *shown, changed(cell)))
                values = {"language": row.language} | point.data | {"score": cell.score}
                values |= interval_data(cell.interval) | {"examples": cell.examples, "changed": cell.changed}
                data.append(values)
    return Table(
        name=slug(task.run, task.task, "grid"),
        title=f"{heading(task)}: every language at every setting",
        columns=columns(
            "language",
            *titles(grid_points(comparison)),
            task.scale.heading,
            "difference",
            "95 % interval",
            "examples",
            CHANGED,
        ),
        body=tuple(body),
        data=tuple(data),
        long=True,
    )
