"""One row for every method of every run: does it help, where, and does it harm?

Of a grid the row is its best setting, of a search for alpha what was chosen, on the examples that had no part in it.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from .collect import TaskResults
from .comparison import LEVEL, Comparison
from .grid_tables import CAUTION, best_on_average, grid_points
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
    p_value,
    score,
)  # fmt: skip
from .tuning import TUNED, Tuned
from .verdict import tried_strengths
from .words import made_with

Row: TypeAlias = tuple[tuple[Cell, ...], dict[str, Value]]

_TITLES: tuple[str, ...] = (
    "task",
    "method",
    "unit",
    "base",
    "score",
    "difference",
    "95 % interval",
    CHANGED,
    "languages",
)
_TITLES += ("p (t-test)", "better", "worse", "made with", "run", "command", "model")
_WORDS = ("command", "model", "task", "method", "made with", "unit", "better", "worse")


def overview_table(
    results: Sequence[TaskResults],
    comparisons: Mapping[int, Comparison | None],
    tunings: Mapping[int, tuple[Tuned, ...] | None],
) -> Table | None:
    """None where nothing was compared.

    Args:
        comparisons, tunings: by the place of a task in `results`.
    """
    rows = []
    for index, task in enumerate(results):
        comparison, tuning = comparisons[index], tunings[index]
        if tuning:
            rows.append(_tuned(task, tuning))
        elif comparison is not None and task.is_grid:
            best = best_on_average(comparison)
            if best is not None:
                rows.append(_compared(comparison, best, f"best of {len(grid_points(comparison))}"))
        elif comparison is not None:
            rows += [_compared(comparison, method, method) for method in comparison.across]
    if not rows:
        return None
    notes = [
        f"Averages without the anchor language. Better and worse: languages whose difference is significant after "
        f"Holm's correction (p < {LEVEL}); p: t-test, paired across languages."
    ]
    if any(task.settings.command == "grid" for task in results):
        notes.append(CAUTION)
    if any(tunings.values()):
        notes.append(
            "tune: on the examples that had no part in choosing and deciding, each language with the strength in force."
        )
    return Table(
        name="overview",
        title="Overview: averages without the anchor language",
        columns=columns(*_TITLES, words=_WORDS),
        body=tuple(body for body, _ in rows),
        notes=tuple(notes),
        data=tuple(data for _, data in rows),
    ).trimmed()


def _compared(comparison: Comparison, method: str, shown_as: str) -> Row:
    task, places, across = comparison.task, comparison.task.scale.digits, comparison.across[method]
    languages = sum(method in row.differences and row.language != task.anchor for row in comparison.rows)
    p = None if task.is_grid else across.t_test
    cells = {
        "base": score(across.base, places),
        "score": score(across.score, places),
        **dict(zip(("difference", "95 % interval"), interval_cells(across.interval, places), strict=True)),
        CHANGED: changed(across),
        "p (t-test)": p_value(p),
        **{name: Cell(", ".join(getattr(across, name)) or MISSING) for name in ("better", "worse")},
    }
    data: dict[str, Value] = {"base": across.base, "score": across.score, **interval_data(across.interval)}
    data |= {"changed": across.changed, "examples": across.examples, "p": p}
    data |= {name: " ".join(getattr(across, name)) for name in ("better", "worse")}
    return _row(task, shown_as, made_with(task.parameters(method)), languages, cells, data)


def _tuned(task: TaskResults, tuning: tuple[Tuned, ...]) -> Row:
    places = task.scale.digits
    base, tuned = (float(np.mean([getattr(each, name) for each in tuning])) for name in ("base", "tuned"))
    cells = {"base": score(base, places), "score": score(tuned, places)}
    cells |= {"difference": difference(tuned - base, places)}
    data: dict[str, Value] = {"base": base, "score": tuned, "difference": tuned - base}
    return _row(task, TUNED[tuning[0].field], tried_strengths(task), len(tuning), cells, data)


def _row(
    task: TaskResults, method: str, strengths: str, languages: int, cells: dict[str, Cell], data: dict[str, Value]
) -> Row:
    command, model = task.settings.command, task.model_name
    names: dict[str, Value] = {"run": task.run, "command": command, "model": model, "task": task.task}
    names |= {"method": method, "made with": strengths, "languages": languages, "unit": task.scale.unit}
    words = {"command": command, "model": model, "task": task.task, "method": method, "made with": strengths}
    known = {name: Cell(text) for name, text in words.items()} | {"unit": Cell(task.scale.heading)}
    known |= {"run": count(task.run), "languages": count(languages)} | cells
    return tuple(known.get(title, Cell(MISSING)) for title in _TITLES), names | data
