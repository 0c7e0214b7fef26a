"""Is a difference between two methods more than chance?  Intervals and tests, over examples and across languages.

Over examples: paired bootstrap, sign-flip permutation, McNemar.  Across languages, as in section 4.1 of "CLAS": paired
t-test, a test of equal variances, standard deviation.  What is compared with what is decided by `report`; nothing here
knows a file or a task.

An undefined result is None: a t-test of one language, or of differences that are all the same.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array: TypeAlias = NDArray[np.float64]

RESAMPLES = 10_000
CONFIDENCE = 0.95
_CELLS = 4_000_000  # counts held at once: 32 MB
_ROUNDING = 1e-9  # differences of scores in 0 .. 100 that agree to this are the same


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % confidence interval, in the unit of what was compared."""

    mean: float
    low: float
    high: float

    def times(self, factor: float) -> "Interval":
        """In another unit, or turned round where `factor` is negative."""
        low, high = sorted((self.low * factor, self.high * factor))
        return Interval(self.mean * factor, low, high)


def resampled_means(values: Array, weights: Array, *, resamples: int = RESAMPLES, seed: int = 0) -> Array:
    """Weighted means of many columns over the same resampled examples, float64 `[resamples, columns]`.

    Examples are drawn once for all columns, so that means of columns can be averaged: parallel examples of several
    languages are not independent.

    Args:
        values: what is summed, `[columns, examples]`; NaN where a column lacks the example.
        weights: what the sum is divided by, summed the same way: ones for a plain mean, tokens for nats a token.

    Returns:
        NaN where a draw holds no example of a column.
    """
    present = ~np.isnan(values)
    numerators = np.where(present, values, 0.0).T
    denominators = np.where(present, weights, 0.0).T
    parts = []
    for counts in resampled_counts(values.shape[1], resamples, seed):
        sums = counts @ denominators
        parts.append(np.divide(counts @ numerators, sums, out=np.full(sums.shape, np.nan), where=sums > 0))
    return np.concatenate(parts)


def resampled_counts(examples: int, resamples: int, seed: int) -> Iterator[Array]:
    """How often each example is drawn, `[rows, examples]`, in blocks that fit the memory."""
    generator = np.random.default_rng(seed)
    block = max(1, _CELLS // examples)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = generator.integers(examples, size=(rows, examples))
        drawn += np.arange(rows)[:, None] * examples
        yield np.bincount(drawn.ravel(), minlength=rows * examples).reshape(rows, examples).astype(np.float64)


def percentile_interval(mean: float, draws: Array, *, examples: int) -> Interval:
    """The middle 95 % of resampled means, `[resamples]`; unbounded for a single example."""
    if examples < 2:
        return Interval(mean, -math.inf, math.inf)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.nanpercentile(draws, [tail, 100 - tail])
    return Interval(mean, float(low), float(high))


def smallest_visible(interval: Interval, *, examples: int, largest: float = 0.0) -> float:
    """The smallest true difference that these examples could have shown: half the width of its interval.

    Where few examples differ, the bootstrap's interval is too narrow, down to a point where none does: then it is the
    rule of three, by which up to 3 of n examples may differ though none of n did.

    Args:
        interval: of the difference.
        examples: that it was measured on.
        largest: how far a single example can move the sum; 0 where nothing bounds it.
    """
    return max((interval.high - interval.low) / 2, largest * min(1.0, 3 / examples))


def share_interval(right: int, examples: int) -> Interval:
    """The share of right answers with Wilson's interval, which holds for few examples and for shares of 0 and 1."""
    found = stats.binomtest(right, examples).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(right / examples, float(found.low), float(found.high))


def mcnemar(base: ArrayLike, other: ArrayLike) -> float:
    """p of McNemar's exact test, two-sided: are wrong-to-right and right-to-wrong equally likely?

    Args:
        base, other: 0 or 1 an example, `[examples]`.

    Raises ValueError: other values, or not one of each for every example.
    """
    differences = _differences(base, other)
    if not np.isin(np.concatenate([np.asarray(base), np.asarray(other)]), (0, 1)).all():
        raise ValueError("McNemar's test takes scores that are 0 or 1")
    gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def sign_flip_test(base: ArrayLike, other: ArrayLike, *, resamples: int = RESAMPLES - 1, seed: int = 0) -> float:
    """p of the paired permutation test, two-sided: is the sum as far from 0 when the methods are swapped at random?

    Exact where there are no more than `resamples` ways to swap, else estimated; it is never below
    1 / (`resamples` + 1).

    Args:
        base, other: a score for each example, `[examples]`.
    """
    differences = _differences(base, other)
    changed = differences[differences != 0]  # swapping equal scores changes nothing
    if changed.size < 2:
        return 1.0  # a single difference is as far from 0 with either sign
    result = stats.permutation_test(
        (changed,),
        lambda values, axis: values.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, _CELLS // changed.size),
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def gain_test(differences: ArrayLike, *, resamples: int = RESAMPLES - 1, seed: int = 0) -> float:
    """p of the paired permutation test, one-sided: is the sum as large when signs are drawn at random?

    Exact for whole numbers, such as differences in right answers, and where there are no more than `resamples` ways to
    draw signs; else estimated, and never below 1 / (`resamples` + 1).  What is 0 changes nothing.

    Args:
        differences: one for each example, or for each group of examples that are not independent, `[units]`.
    """
    given = np.asarray(differences, dtype=np.float64)
    changed = given[given != 0]
    if not changed.size:
        return 1.0
    if (changed == np.round(changed)).all() and np.abs(changed).sum() <= _CELLS:
        return _whole_gain_test(changed.astype(np.int64))
    sizes = np.abs(changed)
    reached = changed[changed > 0].sum() * (1 - _ROUNDING)
    if 2**changed.size <= resamples:
        signs = (np.arange(2**changed.size)[:, None] >> np.arange(changed.size)) & 1
        return float((signs @ sizes >= reached).mean())
    generator, block = np.random.default_rng(seed), max(1, _CELLS // changed.size)
    larger = 0
    for start in range(0, resamples, block):
        signs = generator.integers(2, size=(min(block, resamples - start), changed.size), dtype=np.int8)
        larger += int((signs @ sizes >= reached).sum())
    return (1 + larger) / (1 + resamples)


def _whole_gain_test(changed: NDArray[np.int64]) -> float:
    """From the distribution of the sum of those that are positive, size by size a stretched binomial one."""
    distribution = np.ones(1)
    for size, count in zip(*np.unique(np.abs(changed), return_counts=True), strict=True):
        stretched = np.zeros(size * count + 1)
        stretched[::size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        distribution = np.convolve(distribution, stretched)
    return float(min(1.0, distribution[changed[changed > 0].sum() :].sum()))


def paired_t_test(base: ArrayLike, other: ArrayLike) -> float | None:
    """p of the two-sided paired t-test across languages (Tables 1 and 2); leave the anchor out, as the paper does.

    Args:
        base, other: a score for each language, `[languages]`.
    """
    differences = _differences(base, other)
    if differences.size < 2 or np.ptp(differences) <= _ROUNDING:
        return None
    return _defined(stats.ttest_rel(np.asarray(other), np.asarray(base)).pvalue)


def equal_variance_test(base: ArrayLike, other: ArrayLike) -> float | None:
    """p of Levene's test centred at the median (Brown and Forsythe): is the spread across languages the same?

    The paper says only that the variance "remains stable (p > 0.05)" (section 4.1).  This form does not assume that
    scores are normal.

    Args:
        base, other: a score for each language, `[languages]`.
    """
    _differences(base, other)
    # What is compared are distances from the median: where these do not vary, as with two languages, F has no meaning.
    distances = [np.abs(scores - np.median(scores)) for scores in (np.asarray(base), np.asarray(other))]
    if max(map(np.ptp, distances)) <= _ROUNDING:
        return None
    return _defined(stats.levene(np.asarray(base), np.asarray(other), center="median").pvalue)


def spread(scores: Sequence[float]) -> float | None:
    """The row sigma of Tables 1 and 2: the sample standard deviation (n - 1) of the languages without the anchor.

    Both tables tell: of the four readings, with and without English, with n and n - 1, this one gives all twelve
    printed values, those of Int mu and CLAS taken from the scores and not from the differences.
    """
    return float(np.std(np.asarray(scores, dtype=np.float64), ddof=1)) if len(scores) > 1 else None


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for their number (Holm, 1979): the chance of any false finding stays below the level."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate((len(values) - np.arange(len(values))) * values[order]).clip(max=1)
    return list(adjusted.tolist())


def _differences(base: ArrayLike, other: ArrayLike) -> Array:
    first, second = np.asarray(base, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or not first.size:
        raise ValueError(f"expected two non-empty lists of the same length, got shapes {first.shape}, {second.shape}")
    return second - first


def _defined(p_value: float) -> float | None:
    return float(p_value) if math.isfinite(p_value) else None
