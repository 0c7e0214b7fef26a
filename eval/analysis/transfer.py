"""Consistency and transfer between languages: equations 1 to 6 of "Language-Specific Latent Process".

With F_l the questions that are answered rightly in language l, and k_l the ranks of all choices of all questions, each
within its question:

    consistency(l, m) = Spearman's rho of k_l and k_m                                                  (1)
    tr+(l, m) = |F_l and F_m| / |F_l|                                                                  (2)
    tr-(l, m) = |questions with the same wrong answer in l and m| / |questions answered wrongly in l|  (3)

Equations 4 to 6 are their means over all ordered pairs of different languages.  What is undefined is NaN and left out
of means: tr+ from a language without a right answer, tr- from one without a wrong answer, consistency with one where
all choices are always equally likely.

Everything is computed for several weightings of the questions at once, so that a bootstrap is the same arithmetic as
the number itself: a weight is how often a question is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..statistics import Array, share_interval
from .answers import Answers

RELATIONS = ("consistency", "positive", "negative")
WITH_ANCHOR = (
    "consistency with anchor",
    "positive from anchor",
    "positive to anchor",
    "negative from anchor",
    "negative to anchor",
)
QUANTITIES = ("accuracy", *RELATIONS, *WITH_ANCHOR)
_CELLS = 2_000_000  # ranks held at once: 16 MB


@dataclass(frozen=True)
class Measures:
    """All numbers for each of W weightings.

    Attributes:
        accuracy: 0 to 1, `[W, languages]`.
        consistency, positive, negative: of pairs, from the language of the row to that of the column,
            `[W, languages, languages]`; NaN where undefined, and for a language with itself.
    """

    languages: tuple[str, ...]
    accuracy: Array
    consistency: Array
    positive: Array
    negative: Array

    def pairs(self, relation: str) -> Array:
        """One of RELATIONS."""
        found: Array = getattr(self, relation)
        return found

    def of(self, languages: Sequence[str]) -> "Measures":
        """Of some of the languages."""
        kept = [self.languages.index(code) for code in languages]
        pairs = (self.pairs(relation)[:, kept][:, :, kept] for relation in RELATIONS)
        return Measures(tuple(languages), self.accuracy[:, kept], *pairs)

    def undefined(self, relation: str) -> int:
        """How many ordered pairs of different languages have no such number, in the first weighting."""
        return int(np.isnan(self.pairs(relation)[0]).sum()) - len(self.languages)


def measure(answers: Answers, weights: Array | None = None) -> Measures:
    """Accuracy, consistency and transfer; `weights` are `[W, questions]`, whole numbers; by default 1 for each."""
    weights = np.ones((1, len(answers.keys))) if weights is None else weights
    right, taken = answers.right, answers.predictions
    both_right = right[:, None] & right
    same_wrong = (taken[:, None] == taken) & ~right
    return Measures(
        languages=answers.languages,
        accuracy=weights @ right.T / weights.sum(axis=1, keepdims=True),
        consistency=_consistency(answers, weights),
        positive=_share(both_right, right, weights),
        negative=_share(same_wrong, ~right, weights),
    )


def overall(measures: Measures, anchor: str) -> dict[str, Array]:
    """QUANTITIES, `[W]` each: means over languages, over ordered pairs (equations 4 to 6), and over the languages but
    the anchor of what each has in common with it.
    """
    found = {"accuracy": _mean(measures.accuracy, axis=1)}
    found |= {relation: _mean(measures.pairs(relation), axis=(1, 2)) for relation in RELATIONS}
    return found | {name: _mean(values, axis=1) for name, values in _with_anchor(measures, anchor).items()}


def by_language(measures: Measures, anchor: str) -> dict[str, Array]:
    """QUANTITIES of each language, `[W, languages]`: its accuracy, its mean consistency with all others, what it
    receives from them on average (the arrow before tr+ in the paper's Table 2), and what it has in common with the
    anchor.
    """
    found = {"accuracy": measures.accuracy}
    found |= {relation: _mean(measures.pairs(relation), axis=1) for relation in RELATIONS}
    return found | _with_anchor(measures, anchor)


def _with_anchor(measures: Measures, anchor: str) -> dict[str, Array]:
    if anchor not in measures.languages:
        return dict.fromkeys(WITH_ANCHOR, np.full(measures.accuracy.shape, np.nan))
    place = measures.languages.index(anchor)
    directed = [
        pairs for each in (measures.positive, measures.negative) for pairs in (each[:, place], each[..., place])
    ]
    return dict(zip(WITH_ANCHOR, (measures.consistency[:, place], *directed), strict=True))


def _mean(values: Array, axis: int | tuple[int, ...]) -> Array:
    """Of what is defined; NaN of nothing."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=axis)
    total = np.where(defined, values, 0.0).sum(axis=axis)
    mean: Array = np.divide(total, count, out=np.full(np.shape(count), np.nan), where=count > 0)
    return mean


def near_chance(answers: Answers) -> dict[str, str]:
    """`at chance` or `below chance` by language, for those that are not surely better than guessing: Wilson's 95 %
    interval of their accuracy holds that of guessing, or lies below it.
    """
    found = {}
    if answers.chance is not None:
        for code, right in zip(answers.languages, answers.right.sum(axis=1).tolist(), strict=True):
            interval = share_interval(right, len(answers.keys))
            if interval.low <= answers.chance:
                found[code] = f"{'below' if interval.high < answers.chance else 'at'} chance"
    return found


def _share(both: NDArray[np.bool_], one: NDArray[np.bool_], weights: Array) -> Array:
    """Of the questions in `one`, `[languages, questions]`, those in `both`, `[languages, languages, questions]`."""
    totals = (weights @ one.T)[..., None]
    found = np.tensordot(weights, both.astype(np.float64), axes=(1, 2))
    return _without_diagonal(np.divide(found, totals, out=np.full(found.shape, np.nan), where=totals > 0))


def _without_diagonal(pairs: Array) -> Array:
    return np.where(np.eye(pairs.shape[-1], dtype=bool), np.nan, pairs)


def _consistency(answers: Answers, weights: Array) -> Array:
    """Spearman's rho: the correlation of the ranks that the ranks within questions have among all of them.

    Within a question a rank is a multiple of 1/2 and one of few, so ranking a resample anew is counting.
    """
    if answers.ranks is None:
        return np.full((len(weights), len(answers.languages), len(answers.languages)), np.nan)
    absent = np.isnan(answers.ranks)
    codes = np.where(absent, 0, 2 * answers.ranks).astype(np.int64)  # 0 is no choice
    held = np.stack([(codes == code).sum(axis=-1) for code in range(1, codes.max() + 1)], axis=-1)
    block = max(1, _CELLS // codes.size)
    parts = [_correlations(codes, held, weights[start : start + block]) for start in range(0, len(weights), block)]
    return _without_diagonal(np.concatenate(parts))


def _correlations(codes: NDArray[np.int64], held: NDArray[np.int64], weights: Array) -> Array:
    """For each weighting the correlations of the languages' mid-ranks, `[W, languages, languages]`.

    Args:
        codes: twice the rank of each choice, 0 for none, `[languages, questions, choices]`.
        held: how often a question has each code from 1, `[languages, questions, codes]`.
    """
    counts = np.tensordot(weights, held.astype(np.float64), axes=(1, 1))
    below = np.cumsum(counts, axis=-1) - counts
    centre = counts.sum(axis=-1, keepdims=True) / 2
    middles = np.concatenate([np.zeros_like(centre), below + counts / 2 - centre], axis=-1)  # of the mean rank 0
    flat = codes.reshape(len(codes), -1)
    placed = middles[:, np.arange(len(flat))[:, None], flat]
    weighted = placed * np.repeat(weights, codes.shape[-1], axis=1)[:, None]
    products = weighted @ placed.transpose(0, 2, 1)
    variances = np.diagonal(products, axis1=1, axis2=2)
    scale = np.sqrt(variances[:, :, None] * variances[:, None])
    return np.divide(products, scale, out=np.full(products.shape, np.nan), where=scale > 0).clip(-1, 1)
