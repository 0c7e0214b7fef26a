"""Two tables beside the main one: all metrics of every method, and an overview of all plain runs.

Only wording and layout; the numbers come from `comparison.py` and `score_scale.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..score_scale import summaries
from .collect import TaskResults
from .comparison import LEVEL, Comparison
from .table import MISSING, Cell, Column, Table, Value, count, difference, interval, p_value, score, text
from .tables import heading, slug


def metrics_table(task: TaskResults) -> Table:
    """Every metric of every method in every language, each on all examples that it has."""
    pairs = [(code, method) for code in task.languages for method in task.methods if (method, code) in task.records]
    found = {(code, method): summaries(list(task.records[method, code].values()), task.scale) for code, method in pairs}
    names = list(dict.fromkeys(name for values in found.values() for name in values))
    data: list[dict[str, Value]] = []
    body = []
    for (code, method), values in found.items():
        records = task.records[method, code].values()
        cut = sum(record.cut > 0 for record in records)
        numbers = [score(values.get(name), task.scale.digits) for name in names]
        body.append((text(code), text(method), count(len(records)), *numbers, count(cut)))
        data.append({"language": code, "method": method, "examples": len(records), **values, "prompts cut": cut})
    foot = tuple(
        (text(f"Avg. (without {task.anchor})"), text(method), Cell(""), *means, Cell(""))
        for method in task.methods
        if (
            means := _means(
                [found[pair] for pair in pairs if pair[1] == method and pair[0] != task.anchor], names, task
            )
        )
    )
    return Table(
        name=slug(task.run, task.task, "metrics"),
        title=f"{heading(task)}: all metrics",
        columns=(
            Column("language", numeric=False),
            Column("method", numeric=False),
            Column("examples"),
            *(Column(name) for name in names),
            Column("prompts cut"),
        ),
        body=tuple(body),
        foot=() if task.is_grid else foot,
        notes=(task.scale.note,),
        data=tuple(data),
        long=task.is_grid,
    )


def _means(values: Sequence[dict[str, float]], names: Sequence[str], task: TaskResults) -> list[Cell]:
    if not values:
        return []
    places = task.scale.digits
    return [score(float(np.mean([row.get(name, math.nan) for row in values])), places) for name in names]


def overview_table(comparisons: Sequence[Comparison]) -> Table:
    """One row for every method of every plain run: does it help, where, and does it harm?"""
    body = []
    data: list[dict[str, Value]] = []
    for comparison in comparisons:
        task, places = comparison.task, comparison.task.scale.digits
        for method, across in comparison.across.items():
            shown = across.interval
            names = {"model": task.model_name, "task": task.task, "method": method}
            languages = sum(method in row.differences and row.language != task.anchor for row in comparison.rows)
            body.append(
                (
                    *(count(task.run), *map(text, names.values()), count(languages), text(task.scale.unit)),
                    *(score(across.base, places), difference(shown.mean if shown else None, places)),
                    *(interval(shown, places), p_value(across.t_test)),
                    *(text(", ".join(codes) or MISSING) for codes in (across.better, across.worse)),
                )
            )
            data.append(
                {"run": task.run, **names, "languages": languages, "score": task.scale.unit, "base": across.base}
                | {
                    "difference": shown.mean if shown else None,
                    "low": shown.low if shown else None,
                    "high": shown.high if shown else None,
                }
                | {"p": across.t_test, "better": " ".join(across.better), "worse": " ".join(across.worse)}
            )
    words = ("model", "task", "method", "score", "better", "worse")
    titles = ("run", "model", "task", "method", "languages", "score", "base", "difference", "95 % interval")
    return Table(
        name="overview",
        title="Overview: averages without the anchor language",
        columns=tuple(
            Column(title, numeric=title not in words) for title in (*titles, "p (t-test)", "better", "worse")
        ),
        body=tuple(body),
        notes=(
            "Better and worse: languages whose difference is significant after Holm's correction (p < "
            f"{LEVEL}). The t-test is paired across languages.",
        ),
        data=tuple(data),
    )
