"""Two tables beside the main one: all metrics of every method, and an overview of all plain runs.

Only wording and layout; the numbers come from `comparison.py` and `score_scale.py`.
"""

import math
from collections.abc import Sequence

import numpy as np

from ..score_scale import summaries
from .collect import TaskResults
from .comparison import LEVEL, Comparison
from .table import MISSING, Cell, Table, Value, columns, count, interval_cells, interval_data, p_value, score
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
        body.append((Cell(code), Cell(method), count(len(records)), *numbers, count(cut)))
        data.append({"language": code, "method": method, "examples": len(records), **values, "prompts cut": cut})
    foot = []
    for method in task.methods:
        if rows := [found[code, name] for code, name in pairs if name == method and code != task.anchor]:
            means = [float(np.mean([row.get(name, math.nan) for row in rows])) for name in names]
            shown = [score(mean, task.scale.digits) for mean in means]
            foot.append((Cell(f"Avg. (without {task.anchor})"), Cell(method), Cell(""), *shown, Cell("")))
    return Table(
        name=slug(task.run, task.task, "metrics"),
        title=f"{heading(task)}: all metrics",
        columns=columns("language", "method", "examples", *names, "prompts cut", words=("language", "method")),
        body=tuple(body),
        foot=() if task.is_grid else tuple(foot),
        notes=(task.scale.note,),
        data=tuple(data),
        long=task.is_grid,
    )


def overview_table(comparisons: Sequence[Comparison]) -> Table:
    """One row for every method of every plain run: does it help, where, and does it harm?"""
    body = []
    data: list[dict[str, Value]] = []
    for comparison in comparisons:
        task, places = comparison.task, comparison.task.scale.digits
        for method, across in comparison.across.items():
            names = {"model": task.model_name, "task": task.task, "method": method}
            languages = sum(method in row.differences and row.language != task.anchor for row in comparison.rows)
            body.append(
                (
                    *(count(task.run), *map(Cell, names.values()), count(languages), Cell(task.scale.unit)),
                    *(score(across.base, places), *interval_cells(across.interval, places), p_value(across.t_test)),
                    *(Cell(", ".join(codes) or MISSING) for codes in (across.better, across.worse)),
                )
            )
            data.append(
                {"run": task.run, **names, "languages": languages, "score": task.scale.unit, "base": across.base}
                | interval_data(across.interval)
                | {"p": across.t_test, "better": " ".join(across.better), "worse": " ".join(across.worse)}
            )
    titles = ("run", "model", "task", "method", "languages", "score", "base", "difference", "95 % interval")
    return Table(
        name="overview",
        title="Overview: averages without the anchor language",
        columns=columns(
            *titles, "p (t-test)", "better", "worse", words=("model", "task", "method", "score", "better", "worse")
        ),
        body=tuple(body),
        notes=(
            "Better and worse: languages whose difference is significant after Holm's correction (p < "
            f"{LEVEL}). The t-test is paired across languages.",
        ),
        data=tuple(data),
    )
