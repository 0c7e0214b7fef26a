"""The paper's Tables 1 and 2 with intervals and tests: every method as a difference to the base, by language.

Only wording and layout; the numbers come from `comparison.py`.
"""

from __future__ import annotations

import re

from .collect import TaskResults
from .comparison import LEVEL, Across, Comparison, Difference
from .table import MISSING, Cell, Column, Table, Value, count, difference, interval, p_sentence, p_value, score, text


def slug(*parts: object) -> str:
    """A file name's stem, of letters, digits, dots and hyphens."""
    return "-".join(re.sub(r"[^a-z0-9.]+", "-", str(part).lower()).strip("-.") or "x" for part in parts)


def heading(task: TaskResults) -> str:
    return f"{task.task}, {task.model_name}"


def differences_table(comparison: Comparison) -> Table:
    """One row a language: the base's score, then every method as a difference (Tables 1 and 2)."""
    task = comparison.task
    places = task.scale.digits
    columns = [Column("language", numeric=False), Column("examples"), Column(f"{task.base} ({task.scale.unit})")]
    for method in comparison.methods:
        columns += [Column(method), Column("95 % interval"), Column("p (Holm)")]
    body = []
    for row in comparison.rows:
        cells = [text(row.language), count(row.examples), score(row.base, places)]
        for method in comparison.methods:
            cells += _difference_cells(row.differences.get(method), places)
        body.append(tuple(cells))
    return Table(
        name=slug(task.run, task.task),
        title=f"{heading(task)}: difference to {task.base} by language",
        columns=tuple(columns),
        body=tuple(body),
        foot=_foot(comparison),
        notes=(*_test_notes(comparison), *_data_notes(task)),
        data=tuple(_data(comparison)),
        summary=_summary(comparison),
    )


def _difference_cells(cell: Difference | None, places: int) -> list[Cell]:
    if cell is None:
        return [Cell(MISSING)] * 3
    return [
        difference(cell.interval.mean, places, marked=cell.significant),
        interval(cell.interval, places),
        p_value(cell.p_holm),
    ]


def _foot(comparison: Comparison) -> tuple[tuple[Cell, ...], ...]:
    """Averages and standard deviation; the p of an average is the t-test's, that of sigma the equal-variance test's."""
    task = comparison.task
    places = task.scale.digits
    average = [text("Avg."), Cell(""), score(comparison.base_mean_of_all, places)]
    others = [text(f"Avg. (without {task.anchor})"), Cell(""), score(comparison.base_mean, places)]
    deviation = [text(f"σ (without {task.anchor})"), Cell(""), score(comparison.base_spread, places)]
    for method in comparison.methods:
        across = comparison.across.get(method)
        if across is None:
            average, others, deviation = ([*row, *[Cell(MISSING)] * 3] for row in (average, others, deviation))
            continue
        mean = across.interval.mean if across.interval else None
        marked = across.t_test is not None and across.t_test < LEVEL
        average += [difference(across.mean_of_all, places), Cell(""), Cell("")]
        others += [difference(mean, places, marked=marked), interval(across.interval, places), p_value(across.t_test)]
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
        notes.append(
            f"{method}, across the languages without {task.anchor} (rows Avg. and σ): paired t-test "
            f"{p_sentence(across.t_test)}; equal variances (Levene's test, centred at the median) "
            f"{p_sentence(across.equal_variance)}. {_significant(across)}"
        )
        anchor = next((row.differences.get(method) for row in comparison.rows if row.language == task.anchor), None)
        if anchor:
            notes.append(f"{method} changes {anchor.changed} of {anchor.examples} predictions in {task.anchor}.")
    return notes


def _significant(across: Across) -> str:
    better, worse = (", ".join(codes) or "none" for codes in (across.better, across.worse))
    return f"Significantly better: {better}; significantly worse: {worse}."


def _data_notes(task: TaskResults) -> list[str]:
    """What a reader has to know about the examples: missing ones, and prompts that did not fit."""
    notes = []
    absent = [code for code in task.settings.languages[task.task] if code not in task.languages]
    if absent:
        notes.append(f"No predictions yet: {', '.join(absent)}.")
    for (method, code), records in task.records.items():
        base = task.records.get((task.base or "", code), {})
        if method != task.base and records.keys() != base.keys():
            notes.append(
                f"{code}: {task.base} has {len(base)} examples, {method} {len(records)}; compared on the "
                f"{len(records.keys() & base.keys())} that both have."
            )
    cut = {
        code: sum(r.cut > 0 for r in records.values())
        for (name, code), records in task.records.items()
        if name == task.base
    }
    if any(cut.values()):
        listed = ", ".join(f"{code} {number}" for code, number in cut.items() if number)
        notes.append(f"Prompts whose context was shortened to fit the maximum length: {listed}.")
    return notes


def _data(comparison: Comparison) -> list[dict[str, Value]]:
    rows = []
    for row in comparison.rows:
        values: dict[str, Value] = {"language": row.language, "examples": row.examples, "base": row.base}
        for method, cell in row.differences.items():
            values |= {f"{method} {name}": value for name, value in _difference_data(cell).items()}
        rows.append(values)
    return rows


def _difference_data(cell: Difference) -> dict[str, Value]:
    return {
        "score": cell.score,
        "difference": cell.interval.mean,
        "low": cell.interval.low,
        "high": cell.interval.high,
        "p": cell.p,
        "p (Holm)": cell.p_holm,
        "examples": cell.examples,
        "gained": cell.gained,
        "lost": cell.lost,
        "changed": cell.changed,
    }


def _summary(comparison: Comparison) -> dict[str, object]:
    task = comparison.task
    methods = {
        name: {
            "average of all": across.mean_of_all,
            "average": across.interval.mean if across.interval else None,
            "low": across.interval.low if across.interval else None,
            "high": across.interval.high if across.interval else None,
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
