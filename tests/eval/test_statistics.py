"""Intervals and tests: values worked out by hand, SciPy's own answers, and the paper's printed tables."""

import itertools
import math
import time

import numpy as np
import pytest
from scipy import stats

from eval.statistics import (
    Interval,
    equal_variance_test,
    gain_test,
    holm,
    mcnemar,
    paired_t_test,
    percentile_interval,
    resampled_means,
    share_interval,
    sign_flip_test,
    smallest_visible,
    spread,
)

# Tables 1 and 2 of "CLAS": scores of base, and differences of Int mu and CLAS, without English.
XNLI_LLAMA = (
    [38.88, 42.28, 43.65, 40.58, 46.95, 44.53, 41.78, 43.75, 41.10, 40.68, 44.17, 36.09, 44.81, 44.63],
    [-0.76, -1.60, 2.12, 0.72, -0.36, -1.42, -0.68, 0.04, 0.32, 3.71, -0.36, 0.28, -1.96, -3.25],
    [4.71, -2.14, 1.62, 5.39, -0.72, 2.34, 5.80, 1.14, -3.06, 4.09, 0.66, 7.00, -3.73, 5.89],
)
XNLI_QWEN = (
    [60.45, 60.75, 66.22, 58.02, 65.56, 64.47, 55.56, 61.87, 40.31, 57.80, 59.18, 51.07, 62.11, 63.81],
    [0.09, -0.01, 0.11, 0.04, -0.05, -0.14, -0.05, -0.17, -0.35, -0.02, -0.08, 0.09, 0.07, 0.00],
    [0.45, 0.71, 0.77, 0.48, 0.73, 0.66, 0.51, 0.25, 0.21, 0.38, 0.72, 0.43, 0.31, 0.08],
)
XQUAD_LLAMA = (
    [23.20, 38.54, 25.18, 34.23, 29.47, 30.01, 27.32, 19.23, 23.74, 34.91, 12.84],
    [-1.95, -5.46, 1.50, 1.08, -0.09, 6.97, -0.08, -3.40, -2.11, 5.08, 0.05],
    [1.01, 6.25, 0.23, 1.84, -0.10, -0.03, -0.06, -0.46, 1.14, 1.67, -0.25],
)
XQUAD_QWEN = (
    [28.73, 34.77, 37.06, 38.53, 33.12, 34.48, 27.58, 28.51, 29.19, 31.67, 20.24],
    [0.26, -2.76, -0.06, -2.53, -2.12, -0.48, -0.58, 7.48, -2.19, -5.67, -1.24],
    [5.06, -0.96, -1.51, 2.63, -5.28, 0.48, 8.94, 0.98, -2.31, 1.36, 3.76],
)


@pytest.mark.parametrize(
    ("table", "printed"),
    [
        (XNLI_LLAMA, (2.82, 2.77, 3.19)),
        (XNLI_QWEN, (6.78, 6.84, 6.87)),
        (XQUAD_LLAMA, (7.43, 8.75, 8.83)),
        (XQUAD_QWEN, (5.16, 5.45, 4.95)),
    ],
    ids=["XNLI Llama", "XNLI Qwen", "XQuAD Llama", "XQuAD Qwen"],
)
def test_the_papers_sigma_is_the_sample_deviation_of_the_scores_without_english(table, printed):
    base, int_mean, clas = map(np.array, table)
    found = [spread(scores) for scores in (base, base + int_mean, base + clas)]
    assert found == pytest.approx(printed, abs=0.0055)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        (XNLI_LLAMA, 0.045, 0.05),  # printed: p < 0.05
        (XNLI_QWEN, 0, 0.001),  # printed: p < 0.001
        (XQUAD_LLAMA, 0.095, 0.11),  # printed: p = 0.10
        (XQUAD_QWEN, 0.325, 0.335),  # printed: p = 0.33
    ],
    ids=["XNLI Llama", "XNLI Qwen", "XQuAD Llama", "XQuAD Qwen"],
)
def test_the_papers_t_tests_come_out(table, low, high):
    base, clas = np.array(table[0]), np.array(table[2])
    assert low < paired_t_test(base, base + clas) < high
    assert equal_variance_test(base, base + clas) > 0.05  # section 4.1: the variance remains stable


def test_t_and_levene_are_scipys():
    base, other = [1.0, 2.0, 4.0, 3.0], [1.5, 2.0, 5.0, 3.0]
    assert paired_t_test(base, other) == stats.ttest_rel(other, base).pvalue
    assert equal_variance_test(base, other) == stats.levene(base, other, center="median").pvalue


@pytest.mark.parametrize(
    ("base", "other"),
    [([50.0], [60.0]), ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), ([0.1, 0.2, 0.7], [0.4, 0.5, 1.0])],
    ids=["one language", "no difference", "the same difference, but for rounding"],
)
def test_an_undefined_t_is_none(base, other):
    assert paired_t_test(base, other) is None


def test_equal_variance_of_nothing_that_varies_is_none():
    assert equal_variance_test([1.0], [2.0]) is None
    assert equal_variance_test([1.0, 1.0, 1.0], [2.0, 2.0, 2.0]) is None


def test_two_languages_are_too_few_for_equal_variance():
    # Both are as far from their median as each other, so a group has no spread to judge by.
    assert equal_variance_test([1.0, 2.0], [0.0, 9.0]) is None


def test_equal_variance_by_hand():
    # Distances from the medians: 0 0 0 and 2 0 2.  Between the groups 8/3, within 8/3 over 4 degrees of freedom.
    assert equal_variance_test([1.0, 1.0, 1.0], [0.0, 2.0, 4.0]) == pytest.approx(stats.f(1, 4).sf(4.0))


def test_spread_by_hand():
    assert spread([1.0, 3.0]) == pytest.approx(math.sqrt(2))
    assert spread([1.0]) is None


def test_the_bootstrap_is_close_to_the_binomial_that_it_estimates():
    # 20 of 100 examples gained: a resampled mean is a binomial share.
    differences = np.repeat([1.0, 0.0], [20, 80])
    found = bootstrap(differences)
    low, high = stats.binom(100, 0.2).ppf([0.025, 0.975]) / 100
    assert found.mean == 0.2
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.0101)
    assert found.low > 0


def bootstrap(differences, **options):
    """The mean of differences, one an example, with its interval."""
    draws = resampled_means(differences[None], np.ones((1, len(differences))), **options)
    return percentile_interval(float(differences.mean()), draws[:, 0], examples=len(differences))


def test_the_bootstrap_agrees_with_scipys_and_repeats_itself():
    rng = np.random.default_rng(3)
    base, other = rng.random(60), rng.random(60)
    expected = stats.bootstrap((other - base,), np.mean, n_resamples=10_000, method="percentile", rng=1)
    found = bootstrap(other - base)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval), abs=0.005)
    assert found == bootstrap(other - base)
    assert found != bootstrap(other - base, seed=1)
    swapped = bootstrap(base - other)
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))


def test_one_example_says_nothing_about_the_spread():
    assert bootstrap(np.array([1.0])) == Interval(1.0, -math.inf, math.inf)
    assert bootstrap(np.array([1.0, 1.0])) == Interval(1.0, 1.0, 1.0)


def test_means_of_several_columns_are_those_of_the_same_draws():
    rng = np.random.default_rng(5)
    first = rng.random(30)
    values = np.stack([first, -first, np.where(np.arange(30) < 29, np.nan, 7.0)])
    draws = resampled_means(values, np.ones_like(values), resamples=2000)
    assert draws.shape == (2000, 3)
    assert draws[:, 0] == pytest.approx(-draws[:, 1])
    assert set(draws[:, 2][~np.isnan(draws[:, 2])]) == {7.0}
    share = (29 / 30) ** 30  # of the draws, those that miss the third column's only example
    assert np.isnan(draws[:, 2]).mean() == pytest.approx(share, abs=0.05)


def test_blocks_of_draws_do_not_change_the_result(monkeypatch):
    values = np.random.default_rng(5).random((2, 40))
    whole = resampled_means(values, np.ones_like(values), resamples=500)
    monkeypatch.setattr("eval.statistics._CELLS", 999)
    assert resampled_means(values, np.ones_like(values), resamples=500) == pytest.approx(whole)


def test_weights_make_a_ratio_of_sums():
    # Nats over tokens: the long text counts ten times.
    draws = resampled_means(np.array([[1.0, 20.0]]), np.array([[1.0, 10.0]]), resamples=4000)[:, 0]
    assert set(draws.round(9)) == {1.0, 2.0, round(21 / 11, 9)}
    assert percentile_interval(21 / 11, draws, examples=2) == Interval(21 / 11, 1.0, 2.0)


def test_mcnemar_by_hand():
    base = [0] * 6 + [1] * 14
    other = [1] * 5 + [0] + [1] * 13 + [0]
    # 5 gained, 1 lost: (C(6,0) + C(6,1)) / 2^6, both sides.
    assert mcnemar(base, other) == pytest.approx(2 * 7 / 64)
    assert mcnemar(other, base) == mcnemar(base, other)
    assert mcnemar(base, base) == 1.0
    with pytest.raises(ValueError, match="0 or 1"):
        mcnemar([0.5], [1.0])


def test_the_sign_flip_test_is_exact_for_few_differences():
    # Of the 16 sign patterns of 1, 2, 3, 4 only two reach a sum of 10; unchanged examples do not count.
    assert sign_flip_test([0, 0, 0, 0, 5, 5], [1, 2, 3, 4, 5, 5]) == pytest.approx(2 / 16)
    assert sign_flip_test([1, 2], [1, 2]) == 1.0
    assert sign_flip_test([1, 2], [1, 3]) == 1.0
    assert sign_flip_test([1, 2], [2, 3]) == pytest.approx(2 / 4)


def test_the_sign_flip_test_of_many_examples_is_near_the_t_test():
    rng = np.random.default_rng(2)
    base = rng.random(200)
    other = base + rng.normal(0.02, 0.12, 200)
    found = sign_flip_test(base, other)
    assert found == pytest.approx(stats.ttest_rel(other, base).pvalue, abs=0.015)
    assert found == sign_flip_test(base, other)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("base", "other"), [([], []), ([1.0], [1.0, 2.0]), ([[1.0]], [[1.0]])])
def test_scores_that_are_not_pairs_are_refused(base, other):
    for compare in (mcnemar, sign_flip_test, paired_t_test, equal_variance_test):
        with pytest.raises(ValueError, match="same length"):
            compare(base, other)


def test_all_of_xnli_is_resampled_in_seconds():
    # 15 languages by two methods, 5010 examples, 10 000 draws.
    values = np.random.default_rng(0).random((30, 5010))
    start = time.process_time()
    resampled_means(values, np.ones_like(values))
    assert time.process_time() - start < 20


def test_an_interval_in_another_unit_keeps_its_order() -> None:
    assert Interval(1, -2, 3).times(10) == Interval(10, -20, 30)
    assert Interval(1, -2, 3).times(-1) == Interval(-1, -3, 2)


def test_the_smallest_visible_difference_is_half_the_interval_or_what_three_examples_could_move() -> None:
    assert smallest_visible(Interval(1, -5, 7), examples=1000, largest=100) == 6
    assert smallest_visible(Interval(0, 0, 0), examples=10, largest=100) == 30  # none of ten differs; three still may
    assert smallest_visible(Interval(0, 0, 0), examples=2, largest=100) == 100
    assert smallest_visible(Interval(0, -0.1, 0.1), examples=10) == pytest.approx(0.1)  # nats know no largest
    assert smallest_visible(Interval(5, -math.inf, math.inf), examples=1, largest=100) == math.inf


def test_the_rule_of_three_is_near_the_exact_bound() -> None:
    for examples in (30, 100, 1000):
        exact = stats.binomtest(0, examples, alternative="less").proportion_ci(0.95).high
        assert smallest_visible(Interval(0, 0, 0), examples=examples, largest=1) == pytest.approx(exact, rel=0.06)


def test_the_interval_of_a_share_holds_for_all_and_for_none() -> None:
    # Wilson's interval by hand: (p + z^2 / 2n) / (1 + z^2 / n) is its middle.
    found = share_interval(4, 10)
    assert found.mean == 0.4
    assert (found.low + found.high) / 2 == pytest.approx((0.4 + 1.96**2 / 20) / (1 + 1.96**2 / 10), abs=1e-4)
    assert share_interval(0, 10).low == 0 < share_interval(0, 10).high < 0.3
    assert share_interval(10, 10).low > 0.7


# ---- one-sided, for a gain


def enumerated(differences: list[float]) -> float:
    """By the definition: the share of all signs under which the sum is as large."""
    signs = itertools.product((-1, 1), repeat=len(differences))
    sums = [sum(sign * abs(value) for sign, value in zip(each, differences, strict=True)) for each in signs]
    return float(np.mean([total >= sum(differences) - 1e-9 for total in sums]))


@pytest.mark.parametrize(
    "differences",
    [[1, 1, 1, -1], [3, -2, 1, 1, -1, 2], [-1, -1], [0.25, 0.5, -0.1, 0.7, 0.2], [0.1, 0.2, -0.3], [1, 1, -2], [2.5]],
)
def test_a_gain_is_tested_exactly(differences: list[float]) -> None:
    assert gain_test(differences) == pytest.approx(enumerated(differences))
    assert gain_test([*differences, 0.0, 0.0]) == gain_test(differences), "what does not differ changes nothing"


def test_no_difference_is_no_gain() -> None:
    assert gain_test([0.0, 0.0]) == 1.0


def test_many_differences_are_estimated_as_they_are_enumerated() -> None:
    differences = np.random.default_rng(3).normal(0.3, 1, 60)
    exact = gain_test(np.round(differences * 1000))
    assert gain_test(differences) == pytest.approx(exact, abs=3 * (exact / 10_000) ** 0.5)
    assert gain_test(differences) == gain_test(differences), "the same seed"
    assert gain_test(np.full(60, 0.3)) == 1e-4, "never 0"
