"""Every method against the unsteered base: by language, and across languages as in section 4.1 of "CLAS".

A method and the base are compared on the examples that both have.  All numbers are on the scale of the tables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..run_folder import Record
from ..score_scale import ScoreScale
from ..statistics import (
    Array,
    Interval,
    equal_variance_test,
    holm,
    mcnemar,
    paired_t_test,
    percentile_interval,
    resampled_means,
    sign_flip_test,
    spread,
)
from .collect import TaskResults

LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """One method against the base in one language.

    Attributes:
        examples: those that both have.
        base, score: of these examples.
        interval: `score - base`, with its bootstrap interval.
        gained, lost: examples with a higher and with a lower score than the base's.
        changed: examples with another prediction; None where predictions are numbers, such as nats.
        p: of McNemar's exact test for a choice, of the sign-flip test otherwise; None where it was not asked for.
        p_holm: adjusted for the number of languages; None for the anchor, which takes no part.
    """

    examples: int
    base: float
    score: float
    interval: Interval
    gained: int
    lost: int
    changed: int | None
    p: float | None = None
    p_holm: float | None = None

    @property
    def significant(self) -> bool:
        return self.p_holm is not None and self.p_holm < LEVEL


@dataclass(frozen=True)
class LanguageRow:
    """One language.

    Attributes:
        examples, base: all of the base's examples, and their score.
        differences: by method; without those that have no example in common with the base.
    """

    language: str
    examples: int
    base: float
    differences: Mapping[str, Difference]


@dataclass(frozen=True)
class Across:
    """One method against the base across languages.

    Attributes:
        mean_of_all: mean difference over all languages, which is what the paper's tables print as "Avg.".
        interval: mean difference over the languages without the anchor; examples are resampled for all of them at
            once, since the same example in two languages is not two independent ones.
        base, score: means over the languages without the anchor.
        spread: standard deviation of the scores across these languages.
        examples, changed: sums over these languages; `changed` as in `Difference`.
        t_test, equal_variance: p values; None where undefined.
        better, worse: codes of the languages with a significant difference (Holm) for and against the method.
    """

    mean_of_all: float
    interval: Interval | None
    base: float | None
    score: float | None
    spread: float | None
    examples: int
    changed: int | None
    t_test: float | None
    equal_variance: float | None
    better: tuple[str, ...]
    worse: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """A task of a run: everything in the paper's Tables 1 and 2.

    Attributes:
        methods: those that are compared with the base.
        base_mean_of_all, base_mean, base_spread: of the base's scores, with, without and without the anchor.
    """

    task: TaskResults
    methods: tuple[str, ...]
    rows: tuple[LanguageRow, ...]
    across: Mapping[str, Across]
    base_mean_of_all: float
    base_mean: float | None
    base_spread: float | None


def compare(task: TaskResults) -> Comparison | None:
    """None where the base was not run.  A grid gets no p values: what is best of many is no test."""
    if task.base is None:
        return None
    languages = tuple(code for code in task.languages if (task.base, code) in task.records)
    methods = tuple(name for name in task.methods if name != task.base)
    shared = {
        (method, code): keys
        for method in methods
        for code in languages
        if (keys := [key for key in task.records.get((method, code), ()) if key in task.records[task.base, code]])
    }
    draws = _draws(task, shared)
    cells = {pair: _difference(task, *pair, keys, draws[pair]) for pair, keys in shared.items()}
    for method in methods:
        cells |= _adjusted(task, {pair: cell for pair, cell in cells.items() if pair[0] == method})
    rows = []
    for code in languages:
        records = list(task.records[task.base, code].values())
        differences = {name: cells[name, code] for name in methods if (name, code) in cells}
        rows.append(LanguageRow(code, len(records), task.scale.shown(records), differences))
    others = [row.base for row in rows if row.language != task.anchor]
    return Comparison(
        task=task,
        methods=methods,
        rows=tuple(rows),
        across={
            name: _across(task, rows, name, draws) for name in methods if any(name in row.differences for row in rows)
        },
        base_mean_of_all=float(np.mean([row.base for row in rows])),
        base_mean=float(np.mean(others)) if others else None,
        base_spread=spread(others),
    )


def _draws(task: TaskResults, shared: Mapping[tuple[str, str], list[str]]) -> dict[tuple[str, str], Array]:
    """Resampled mean differences, `[resamples]` for each method and language, from the same draws of examples."""
    if not shared:
        return {}
    assert task.base is not None
    position = {key: index for index, key in enumerate(dict.fromkeys(key for keys in shared.values() for key in keys))}
    values = np.full((len(shared), len(position)), np.nan)
    divisors = np.ones_like(values)
    for row, ((method, code), keys) in enumerate(shared.items()):
        columns = [position[key] for key in keys]
        base, other = (_records(task, name, code, keys) for name in (task.base, method))
        values[row, columns] = task.scale.values(other) - task.scale.values(base)
        divisors[row, columns] = task.scale.weights(base)
    means = task.scale.factor * resampled_means(values, divisors)
    return {pair: means[:, row] for row, pair in enumerate(shared)}


def _records(task: TaskResults, method: str, language: str, keys: Sequence[str]) -> list[Record]:
    found = task.records[method, language]
    return [found[key] for key in keys]


def _difference(task: TaskResults, method: str, language: str, keys: list[str], draws: Array) -> Difference:
    assert task.base is not None
    base, other = (_records(task, name, language, keys) for name in (task.base, method))
    before, after = task.scale.values(base), task.scale.values(other)
    low, high = task.scale.shown(base), task.scale.shown(other)
    return Difference(
        examples=len(keys),
        base=low,
        score=high,
        interval=percentile_interval(high - low, draws, examples=len(keys)),
        gained=int((after > before).sum()),
        lost=int((after < before).sum()),
        changed=_changed(base, other),
        p=None if task.is_grid else _p_value(task.scale, before, after),
    )


def _changed(base: Sequence[Record], other: Sequence[Record]) -> int | None:
    if any(isinstance(record.prediction, float) for record in base):
        return None
    return sum(one.prediction != two.prediction for one, two in zip(base, other, strict=True))


def _p_value(scale: ScoreScale, before: Array, after: Array) -> float:
    binary = np.isin(np.concatenate([before, after]), (0, 1)).all()
    return mcnemar(before, after) if scale.is_binary and binary else sign_flip_test(before, after)


def _adjusted(task: TaskResults, cells: Mapping[tuple[str, str], Difference]) -> dict[tuple[str, str], Difference]:
    tested = [(pair, cell.p) for pair, cell in cells.items() if cell.p is not None and pair[1] != task.anchor]
    adjusted = holm([p for _, p in tested])
    return {pair: replace(cells[pair], p_holm=p) for (pair, _), p in zip(tested, adjusted, strict=True)}


def _across(
    task: TaskResults, rows: Sequence[LanguageRow], method: str, draws: Mapping[tuple[str, str], Array]
) -> Across:
    cells = {row.language: row.differences[method] for row in rows if method in row.differences}
    others = {code: cell for code, cell in cells.items() if code != task.anchor}
    base, score = ([getattr(cell, name) for cell in others.values()] for name in ("base", "score"))
    changes = [cell.changed for cell in others.values()]
    interval = None
    if others:
        mean = float(np.mean([cell.interval.mean for cell in others.values()]))
        means = np.nanmean(np.stack([draws[method, code] for code in others]), axis=0)
        interval = percentile_interval(mean, means, examples=min(cell.examples for cell in others.values()))
    significant = {code: cell.score > cell.base for code, cell in others.items() if cell.significant}
    return Across(
        mean_of_all=float(np.mean([cell.interval.mean for cell in cells.values()])),
        interval=interval,
        base=float(np.mean(base)) if others else None,
        score=float(np.mean(score)) if others else None,
        spread=spread(score),
        examples=sum(cell.examples for cell in others.values()),
        changed=None if None in changes else sum(change or 0 for change in changes),
        t_test=paired_t_test(base, score) if others else None,
        equal_variance=equal_variance_test(base, score) if others else None,
        better=tuple(code for code, higher in significant.items() if higher == task.scale.higher_is_better),
        worse=tuple(code for code, higher in significant.items() if higher != task.scale.higher_is_better),
    )
