"""How consistency and transfer differ between two methods, with the paired bootstrap's intervals over questions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..statistics import Array, Interval, percentile_interval, resampled_counts
from .answers import Answers
from .transfer import QUANTITIES, Measures, by_language, measure, near_chance, overall

RESAMPLES = 1_000  # each is about all pairs of languages
_CELLS = 500_000  # pairs of languages held at once, for each of three relations: 4 MB
ALL, ABOVE_CHANCE = "all", "above chance"


@dataclass(frozen=True)
class TransferDifference:
    """Attributes:
    first, other: of the questions and languages that both methods have.
    questions: how many these are.
    above_chance: the languages that are better than guessing with both methods.
    intervals: of `other - first`, 0 to 1, by where (a language, ALL of them, or ABOVE_CHANCE) and which of QUANTITIES;
        without what is undefined.
    """

    first: Measures
    other: Measures
    questions: int
    above_chance: tuple[str, ...]
    intervals: Mapping[tuple[str, str], Interval]


def transfer_difference(
    first: Answers, other: Answers, anchor: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> TransferDifference:
    """Of two methods' answers to the same questions in the same languages.

    Questions are drawn once for all languages and both methods: the same question in two languages is not two
    independent ones.
    """
    near = near_chance(first) | near_chance(other)
    above = tuple(code for code in first.languages if code not in near)
    points = measure(first), measure(other)
    change = (_numbers(points[1], anchor, above) - _numbers(points[0], anchor, above))[0]
    rows = max(1, _CELLS // len(first.languages) ** 2)
    blocks = (
        counts[start : start + rows]
        for counts in resampled_counts(len(first.keys), resamples, seed)
        for start in range(0, len(counts), rows)
    )
    drawn = ([_numbers(measure(each, block), anchor, above) for each in (first, other)] for block in blocks)
    draws = np.concatenate([after - before for before, after in drawn])
    intervals = {
        label: percentile_interval(float(change[column]), draws[:, column], examples=len(first.keys))
        for column, label in enumerate(_labels(first.languages))
        if not np.isnan(change[column])
    }
    return TransferDifference(*points, len(first.keys), above, intervals)


def _numbers(measures: Measures, anchor: str, above: tuple[str, ...]) -> Array:
    """All quantities in the order of `_labels`, `[W, quantities]`."""
    some = [overall(measures, anchor), overall(measures.of(above), anchor)]
    each = by_language(measures, anchor)
    return np.column_stack(
        [*(found[name] for found in some for name in QUANTITIES), *(each[name] for name in QUANTITIES)]
    )


def _labels(languages: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    yield from ((where, name) for where in (ALL, ABOVE_CHANCE) for name in QUANTITIES)
    yield from ((code, name) for name in QUANTITIES for code in languages)
