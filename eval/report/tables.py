"""The paper's Tables 1 and 2 with intervals and tests: every method as a difference to the base, by language.

And two tables beside: all metrics of every method, and an overview of all plain runs.  Only wording and layout; the
numbers come from `comparison.py` and `score_scale.py`.
"""

import math
import re
from collections.abc import Sequence
from itertools import chain

import numpy as np

from ..score_scale import summaries
from .collect import TaskResults
from .comparison import LEVEL, Comparison, Difference, LanguageRow
from .table import (
    MISSING,
    Cell,
    Table,
    Value,
    columns,
    count,
    difference,
    interval_cells,
    interval_data,
    p_sentence,
    p_value,
    score,
)  # fmt: skip


def slug(*parts: object) -> str:
    """A file name's stem, of letters, digits, dots and hyphens."""
    return "-".join(re.sub(r"[^a-z0-9.]+", "-", str(part).lower()).strip("-.") or "x" for part in parts)


def heading(task: TaskResults) -> str:
    return f"{task.task}, {task.model_name}"


def differences_table(comparison: Comparison) -> Table:
    """One row for each language: the base's score, then every method as a difference (Tables 1 and 2)."""
    task, places, methods = comparison.task, comparison.task.scale.digits, comparison.methods
    titles = chain.from_iterable((method, "95 % interval", "p (Holm)") for method in methods)
    body = []
    for row in comparison.rows:
        cells = [cell for method in methods for cell in _difference_cells(row.differences.get(method), places)]
        body.append((Cell(row.language), count(row.examples), score(row.base, places), *cells))
    return Table(
        name=slug(task.run, task.task),
        title=f"{heading(task)}: difference to {task.base} by language",
        columns=columns("language", "examples", f"{task.base} ({task.scale.unit})", *titles),
        body=tuple(body),
        foot=_foot(comparison),
        notes=(*_test_notes(comparison), *_data_notes(task)),
        data=tuple(map(_data, comparison.rows)),
        summary=_summary(comparison),
    )


def _difference_cells(cell: Difference | None, places: int) -> list[Cell]:
    if cell is None:
        return [Cell(MISSING)] * 3
    return [*interval_cells(cell.interval, places, marked=cell.significant), p_value(cell.p_holm)]


def _foot(comparison: Comparison) -> tuple[tuple[Cell, ...], ...]:
    """Averages and standard deviation; the p of an average is the t-test's, that of sigma the equal-variance test's."""
    task, places = comparison.task, comparison.task.scale.digits
    average = [Cell("Avg."), Cell(""), score(comparison.base_mean_of_all, places)]
    others = [Cell(f"Avg. (without {task.anchor})"), Cell(""), score(comparison.base_mean, places)]
    deviation = [Cell(f"σ (without {task.anchor})"), Cell(""), score(comparison.base_spread, places)]
    for method in comparison.methods:
        across = comparison.across.get(method)
        if across is None:
            average, others, deviation = ([*row, *[Cell(MISSING)] * 3] for row in (average, others, deviation))
            continue
        marked = across.t_test is not None and across.t_test < LEVEL
        average += [difference(across.mean_of_all, places), Cell(""), Cell("")]
        others += [*interval_cells(across.interval, places, marked=marked), p_value(across.t_test)]
        deviation += [score(across.spread, places), Cell(""), p_value(across.equal_variance)]
    return tuple(average), tuple(others), tuple(deviation)


def _test_notes(comparison: Comparison) -> list[str]:
    task = comparison.task
    test = "McNemar's exact test" if task.scale.is_binary else "a paired permutation test"
    better = "" if task.scale.higher_is_better else " Lower is better."
    notes = [
        f"Differences are to {task.base}, with the paired bootstrap's 95 % interval over examples.{better} p: {test}, "
        f"adjusted (Holm) for {len(task.others)} languages without {task.anchor}; * is p < {LEVEL}."
    ]
    for method, across in comparison.across.items():
        better, worse = (", ".join(codes) or "none" for codes in (across.better, across.worse))
        notes.append(
            f"{method}, across the languages without {task.anchor} (rows Avg. and σ): paired t-test "
            f"{p_sentence(across.t_test)}; equal variances (Levene's test, centred at the median) "
            f"{p_sentence(across.equal_variance)}. Significantly better: {better}; significantly worse: {worse}."
        )
        anchor = next((row.differences.get(method) for row in comparison.rows if row.language == task.anchor), None)
        if anchor:
            notes.append(f"{method} changes {anchor.changed} of {anchor.examples} predictions in {task.anchor}.")
    return notes


def _data_notes(task: TaskResults) -> list[str]:
    """What a reader has to know about the examples: missing ones, and prompts that did not fit."""
    notes = []
    absent = [code for code in task.settings.languages[task.task] if code not in task.languages]
    if absent:
        notes.append(f"No predictions yet: {', '.join(absent)}.")
    cut = []
    for (method, code), records in task.records.items():
        base = task.records.get((task.base or "", code), {})
        if method != task.base and records.keys() != base.keys():
            notes.append(
                f"{code}: {task.base} has {len(base)} examples, {method} {len(records)}; compared on the "
                f"{len(records.keys() & base.keys())} that both have."
            )
        if method == task.base and (number := sum(record.cut > 0 for record in records.values())):
            cut.append(f"{code} {number}")
    if cut:
        notes.append(f"Prompts whose context was shortened to fit the maximum length: {', '.join(cut)}.")
    return notes


def _data(row: LanguageRow) -> dict[str, Value]:
    values: dict[str, Value] = {"language": row.language, "examples": row.examples, "base": row.base}
    for method, cell in row.differences.items():
        found = {"score": cell.score, **interval_data(cell.interval), "p": cell.p, "p (Holm)": cell.p_holm}
        found |= {name: getattr(cell, name) for name in ("examples", "gained", "lost", "changed")}
        values |= {f"{method} {name}": value for name, value in found.items()}
    return values


def _summary(comparison: Comparison) -> dict[str, object]:
    task = comparison.task
    methods = {
        name: {
            "average of all": across.mean_of_all,
            **interval_data(across.interval, "average"),
            "sigma": across.spread,
            "paired t-test p": across.t_test,
            "equal variance p": across.equal_variance,
            "better": across.better,
            "worse": across.worse,
        }
        for name, across in comparison.across.items()
    }
    return {
        "model": task.settings.model,
        "task": task.task,
        "score": task.scale.unit,
        "anchor": task.anchor,
        "base average of all": comparison.base_mean_of_all,
        "base average": comparison.base_mean,
        "base sigma": comparison.base_spread,
        "methods": methods,
    }


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
