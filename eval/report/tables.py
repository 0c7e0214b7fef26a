"""The paper's Tables 1 and 2 with intervals and tests: every method as a difference to the base, by language.

And two tables beside: all metrics of every method, and how often each class was answered.  Only wording and layout; the
numbers come from `comparison.py` and `score_scale.py`.
"""

import math
from collections import Counter
from itertools import chain

import numpy as np

from ..score_scale import scale_of, summaries
from .collect import TaskResults
from .comparison import LEVEL, Comparison, Difference, LanguageRow
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
    p_sentence,
    p_value,
    score,
)  # fmt: skip
from .words import heading, slug

_COLUMNS = 5  # of each method
RIGHT = "right answers"


def differences_table(comparison: Comparison) -> Table:
    """One row for each language: the base's score, then every method's and the difference (Tables 1 and 2)."""
    task, places, methods = comparison.task, comparison.task.scale.digits, comparison.methods
    titles = chain.from_iterable(
        (method, f"{method} − {task.base}", "95 % interval", "p (Holm)", CHANGED) for method in methods
    )
    body = []
    for row in comparison.rows:
        cells = [cell for method in methods for cell in _difference_cells(row.differences.get(method), places)]
        body.append((Cell(row.language), count(row.examples), score(row.base, places), *cells))
    return Table(
        name=slug(task.run, task.task),
        title=f"{heading(task)}: difference to {task.base} by language",
        columns=columns("language", "examples", f"{task.base} ({task.scale.heading})", *titles),
        body=tuple(body),
        foot=_foot(comparison),
        notes=(*_test_notes(comparison), *_data_notes(task)),
        data=tuple(map(_data, comparison.rows)),
        summary=_summary(comparison),
    ).trimmed()


def _difference_cells(cell: Difference | None, places: int) -> list[Cell]:
    if cell is None:
        return [Cell(MISSING)] * _COLUMNS
    shown = interval_cells(cell.interval, places, marked=cell.significant)
    return [score(cell.score, places), *shown, p_value(cell.p_holm), changed(cell)]


def _foot(comparison: Comparison) -> tuple[tuple[Cell, ...], ...]:
    """Averages and the scores' standard deviation; the p of an average is the t-test's, that of the deviation the
    equal-variance test's.
    """
    task, places = comparison.task, comparison.task.scale.digits
    average = [Cell("Avg."), Cell(""), score(comparison.base_mean_of_all, places)]
    others = [Cell(f"Avg. (without {task.anchor})"), Cell(""), score(comparison.base_mean, places)]
    deviation = [Cell(f"σ of the scores (without {task.anchor})"), Cell(""), score(comparison.base_spread, places)]
    for method in comparison.methods:
        across = comparison.across.get(method)
        if across is None:
            average, others, deviation = ([*row, *[Cell(MISSING)] * _COLUMNS] for row in (average, others, deviation))
            continue
        empty = Cell("")
        marked = across.t_test is not None and across.t_test < LEVEL
        average += [empty, difference(across.mean_of_all, places), empty, empty, empty]
        shown = interval_cells(across.interval, places, marked=marked)
        others += [score(across.score, places), *shown, _defined(across.t_test), changed(across)]
        deviation += [score(across.spread, places), empty, empty, _defined(across.equal_variance), empty]
    return tuple(average), *((tuple(others), tuple(deviation)) if task.others else ())


def _defined(p: float | None) -> Cell:
    return Cell("") if p is None else p_value(p)


def _test_notes(comparison: Comparison) -> list[str]:
    task = comparison.task
    test = "McNemar's exact test" if task.scale.is_binary else "a paired permutation test"
    notes = [
        f"Differences are to {task.base}, with the paired bootstrap's 95 % interval over examples. p: {test}, "
        f"adjusted (Holm) for {len(task.others)} languages without {task.anchor}; * is p < {LEVEL}."
    ]
    for method, across in comparison.across.items():
        better, worse = (", ".join(codes) or "none" for codes in (across.better, across.worse))
        tests = {
            "paired t-test": across.t_test,
            "equal variances (Levene's test, centred at the median)": across.equal_variance,
        }
        defined = [f"{name} {p_sentence(p)}" for name, p in tests.items() if p is not None]
        told = [*defined, f"significantly better: {better}; significantly worse: {worse}"]
        notes.append(f"{method}, across the languages without {task.anchor} (rows Avg. and σ): {'; '.join(told)}.")
        anchor = next((row.differences.get(method) for row in comparison.rows if row.language == task.anchor), None)
        if anchor and anchor.changed is not None:
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
            "average score": across.score,
            "sigma of the scores": across.spread,
            "examples": across.examples,
            "changed": across.changed,
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
        "base sigma of the scores": comparison.base_spread,
        "methods": methods,
    }


def metrics_table(task: TaskResults) -> Table:
    """Every metric of every method in every language, each on all examples that it has."""
    pairs = [(code, method) for code in task.languages for method in task.methods if (method, code) in task.records]
    found = {(code, method): summaries(list(task.records[method, code].values()), task.scale) for code, method in pairs}
    names = list(dict.fromkeys(name for values in found.values() for name in values))
    scores = {name for code, method in pairs for name in next(iter(task.records[method, code].values())).scores}
    lower = not any(scale_of(name).higher_is_better for name in scores)
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
        title=f"{heading(task)}: all metrics{' (lower is better)' if lower else ''}",
        columns=columns("language", "method", "examples", *names, "prompts cut", words=("language", "method")),
        body=tuple(body),
        foot=() if task.is_grid else tuple(foot),
        notes=(task.scale.note,),
        data=tuple(data),
        long=task.is_grid,
    )


def answers_table(task: TaskResults) -> Table | None:
    """How often each class was answered, and how often it was right; None for a task that is no choice."""
    counts: dict[tuple[str, str], Counter[int]] = {}
    for code in task.languages:
        for method in task.methods:
            records = task.records.get((method, code), {}).values()
            if not all(isinstance(record.prediction, int) for record in records):
                return None
            if records:
                counts[code, method] = Counter(int(record.prediction) for record in records)
                counts[code, RIGHT] = Counter(int(record.gold[0]) for record in records)
        if (code, RIGHT) in counts:
            counts[code, RIGHT] = counts.pop((code, RIGHT))  # behind the methods
    classes = sorted({answer for found in counts.values() for answer in found})
    return Table(
        name=slug(task.run, task.task, "answers"),
        title=f"{heading(task)}: how often each class was answered",
        columns=columns(
            "language", "method", *(f"answer {answer}" for answer in classes), words=("language", "method")
        ),
        body=tuple(
            (Cell(code), Cell(method), *(count(found[answer]) for answer in classes))
            for (code, method), found in counts.items()
        ),
        data=tuple(
            {"language": code, "method": method} | {f"answer {answer}": found[answer] for answer in classes}
            for (code, method), found in counts.items()
        ),
        long=task.is_grid,
    )
