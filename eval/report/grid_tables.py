"""Grids: which strengths were tried, how the score follows alpha, beta and gamma, what was best, what `tune` decided.

Behind Figures 5 and 6 of "CLAS" (section 4.4); drawing is the business of `charts.py`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from clas_models.errors import InputError
from clas_models.json_data import parse_json

from ..run_folder import CLAS, TUNE_NAME
from ..statistics import Interval
from .collect import TaskResults
from .comparison import Comparison, Difference
from .table import MISSING, Cell, Table, Value, columns, count, difference, interval_cells, interval_data, score
from .tables import heading, slug

STRENGTHS = ("α", "β", "γ")
CAUTION = (
    "The best of many settings was chosen on the same examples that it is shown on, so its gain is too good; "
    "tune chooses on one half and reports the other."
)


@dataclass(frozen=True, order=True)
class GridPoint:
    """One point of a grid; ordered by beta, gamma, alpha."""

    beta: float
    gamma: float
    alpha: float
    method: str

    @property
    def strengths(self) -> str:
        return f"β = {self.beta:g}, γ = {self.gamma:g}"

    @property
    def cells(self) -> list[Cell]:
        """Of the columns STRENGTHS."""
        return [Cell(f"{number:g}", number) for number in (self.alpha, self.beta, self.gamma)]

    @property
    def data(self) -> dict[str, Value]:
        return {"method": self.method, "alpha": self.alpha, "beta": self.beta, "gamma": self.gamma}


def grid_points(comparison: Comparison) -> tuple[GridPoint, ...]:
    """The points with one alpha for all languages, in order."""
    found = []
    for method in comparison.methods:
        values = comparison.task.parameters(method)
        strengths = {name: values.get(name) for name in ("beta", "gamma", "alpha")}
        numbers = {name: float(value) for name, value in strengths.items() if isinstance(value, int | float)}
        if values.get("kind") == CLAS and len(numbers) == len(strengths):
            found.append(GridPoint(method=method, **numbers))
    return tuple(sorted(found))


def by_strengths(points: Iterable[GridPoint]) -> dict[tuple[float, float], tuple[GridPoint, ...]]:
    """The points of every pair (beta, gamma), in the order of alpha."""
    pairs = groupby(sorted(points), key=lambda point: (point.beta, point.gamma))
    return {pair: tuple(group) for pair, group in pairs}


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
        body.append((*point.cells, *shown))
        values = point.data | {"score": across.score} | interval_data(across.interval)
        data.append(values | {"gains": up, "losses": down})
    better = "" if task.scale.higher_is_better else " Lower is better."
    titles = (task.scale.unit, f"difference to {task.base}", "95 % interval", "gains", "losses")
    return Table(
        name=slug(task.run, task.task, "settings"),
        title=f"{heading(task)}: average of {len(task.others)} languages without {task.anchor}, by setting",
        columns=columns(*STRENGTHS, *titles),
        body=tuple(body),
        notes=(
            f"{task.base}: {score(comparison.base_mean, places).text}.{better} Gains and losses: languages without "
            f"{task.anchor} whose own 95 % interval lies above or below zero, not corrected for their number.",
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
        if point := _best(tried, task.scale.sign):
            found = tried[point].interval
            cells += [*point.cells, *interval_cells(found, places)]
            values |= {name: value for name, value in point.data.items() if name != "method"} | interval_data(found)
        else:
            cells += [Cell("0", 0.0), Cell(MISSING), Cell(MISSING), difference(0.0, places), Cell(MISSING)]
            values |= {"alpha": 0.0, "beta": None, "gamma": None, "difference": 0.0}
        body.append(tuple(cells))
        data.append(values)
    titles = ("language", "examples", f"{task.base} ({task.scale.unit})", *STRENGTHS, "difference", "95 % interval")
    return Table(
        name=slug(task.run, task.task, "best"),
        title=f"{heading(task)}: best setting of each language",
        columns=columns(*titles),
        body=tuple(body),
        notes=(CAUTION, f"Where no setting was better than {task.base}, α is 0."),
        data=tuple(data),
    )


def _best(tried: Mapping[GridPoint, Difference], sign: int) -> GridPoint | None:
    """The largest gain, of equal ones the weakest steering; None where nothing gains."""
    point = max(
        tried, key=lambda point: (sign * tried[point].interval.mean, -abs(point.alpha), -point.beta, -point.gamma)
    )
    return point if sign * tried[point].interval.mean > 0 else None


def scores_table(comparison: Comparison) -> Table:
    """Every language at every setting, a row each."""
    task, places = comparison.task, comparison.task.scale.digits
    body, data = [], []
    for row in comparison.rows:
        for point in grid_points(comparison):
            if cell := row.differences.get(point.method):
                shown = score(cell.score, places), *interval_cells(cell.interval, places), count(cell.examples)
                body.append((Cell(row.language), *point.cells, *shown))
                values = {"language": row.language} | point.data | {"score": cell.score}
                data.append(values | interval_data(cell.interval) | {"examples": cell.examples})
    return Table(
        name=slug(task.run, task.task, "grid"),
        title=f"{heading(task)}: every language at every setting",
        columns=columns("language", *STRENGTHS, task.scale.unit, "difference", "95 % interval", "examples"),
        body=tuple(body),
        data=tuple(data),
        long=True,
    )


def tuning_table(task: TaskResults) -> Table | None:
    """One row for each language: the alpha that was chosen on one half of the data, and what it does on the other.

    Returns:
        None for another task than the tuned one, and while `tune` has not decided yet.

    Raises InputError: the file is not what `tune` writes.
    """
    file = task.path / TUNE_NAME
    if not file.is_file():
        return None
    try:
        decided = parse_json(file.read_text(encoding="utf-8"))
        if decided["task"] != task.task:
            return None
        rows = [_row(task, code, decision) for code, decision in decided["languages"].items()]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{file}: not what `tune` writes ({error!r}); run `tune` again with the same --out") from error
    titles = ["language", "α", "chosen on", "gain there", "95 % interval"]
    titles += ["held out", f"base ({task.scale.unit})", "tuned", "gain", "95 % interval", "reason"]
    return Table(
        name=slug(task.run, task.task, "tune"),
        title=f"{heading(task)}: alpha chosen for each language",
        columns=columns(*titles, words=("language", "reason")),
        body=tuple(cells for cells, _ in rows),
        notes=(
            "α is chosen on one half of the examples and kept only where the gain's interval excludes zero, else it is "
            "0; base, tuned and gain are of the other half, which had no part in the choice.",
        ),
        data=tuple(values for _, values in rows),
        summary=decided,
    )


def _row(task: TaskResults, language: str, decision: Mapping[str, Any]) -> tuple[tuple[Cell, ...], dict[str, Value]]:
    places, scale = task.scale.digits, task.scale.factor
    selection, held_out = decision["selection"], decision["held_out"]
    gains = [_interval(half["gain"], scale) for half in (selection, held_out)]
    base, tuned = (float(held_out[name]) * scale for name in ("base", "tuned"))
    alpha = float(decision["chosen"])
    cells = (
        Cell(language),
        Cell(f"{alpha:g}" if decision["kept"] else f"{alpha:g} (not kept)" if alpha else "0", alpha),
        count(int(selection["n"])),
        *interval_cells(gains[0], places),
        count(int(held_out["n"])),
        *(score(base, places), score(tuned, places)),
        *interval_cells(gains[1], places),
        Cell(str(decision["reason"]) or MISSING),
    )
    values: dict[str, Value] = {"language": language, "alpha": alpha, "kept": bool(decision["kept"])}
    for name, half, gain in zip(("selection", "held out"), (selection, held_out), gains, strict=True):
        values |= {f"{name} examples": int(half["n"]), f"{name} base": float(half["base"]) * scale}
        values |= {f"{name} {end}": value for end, value in interval_data(gain, "gain").items()} if gain else {}
    return cells, values | {"held out tuned": tuned, "reason": str(decision["reason"])}


def _interval(values: Mapping[str, float | None] | None, scale: float) -> Interval | None:
    """None where it was not computed; an end may be null where there were too few examples."""
    if values is None or values["mean"] is None:
        return None
    low, high = (math.nan if (end := values[name]) is None else float(end) for name in ("low", "high"))
    return Interval(float(values["mean"]), low, high).times(scale)
