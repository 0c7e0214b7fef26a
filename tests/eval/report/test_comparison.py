"""Numbers of a comparison, against values worked out by hand and against SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

from eval.report.collect import collect
from eval.report.comparison import compare
from eval.statistics import Interval, mcnemar, percentile_interval, resampled_means, sign_flip_test

from .support import METHODS, choices, nats, settings, write_run, xnli_records, xquad_records

LANGUAGES = ["en", "de", "th", "sw"]
GAINS = {"base": 0.0, "clas": 0.1}


def compared(tmp_path, records, languages=LANGUAGES, task="xnli", **changes):
    run = write_run(tmp_path / "run", settings({task: languages}, **changes), records)
    return compare(collect([run])[0])


def test_every_language_is_compared_example_by_example(tmp_path):
    records = xnli_records(LANGUAGES, GAINS, 80)
    comparison = compared(tmp_path, records)
    for row in comparison.rows:
        before, after = (
            np.array([record.scores["accuracy"] for record in records["xnli", name, row.language]]) for name in GAINS
        )
        cell = row.differences["clas"]
        assert row.base == pytest.approx(100 * before.mean())
        assert cell.score == pytest.approx(100 * after.mean())
        # The same draws of the same examples as for this language alone.
        gains = after - before
        draws = resampled_means(gains[None], np.ones((1, len(gains))))[:, 0]
        alone = percentile_interval(float(gains.mean()), draws, examples=len(gains)).times(100)
        found = cell.interval
        assert (found.mean, found.low, found.high) == pytest.approx((alone.mean, alone.low, alone.high))
        assert cell.p == mcnemar(before, after)
        assert (cell.gained, cell.lost) == ((after > before).sum(), (after < before).sum())


def test_generated_answers_are_compared_by_a_permutation_test(tmp_path):
    records = xquad_records(["en", "de"], GAINS, 40)
    comparison = compared(tmp_path, records, ["en", "de"], "xquad")
    before, after = ([record.scores["f1"] for record in records["xquad", name, "de"]] for name in GAINS)
    cell = comparison.rows[1].differences["clas"]
    assert cell.p == cell.p_holm == sign_flip_test(before, after)
    assert cell.interval.mean == pytest.approx(100 * (np.mean(after) - np.mean(before)))


def test_the_anchor_takes_no_part_across_languages(tmp_path):
    comparison = compared(tmp_path, xnli_records(LANGUAGES, GAINS, 80))
    others = [row for row in comparison.rows if row.language != "en"]
    base, score = ([getattr(row.differences["clas"], name) for row in others] for name in ("base", "score"))
    across = comparison.across["clas"]
    assert across.t_test == pytest.approx(stats.ttest_rel(score, base).pvalue)
    assert across.equal_variance == pytest.approx(stats.levene(base, score).pvalue)
    assert across.interval.mean == pytest.approx(np.mean(score) - np.mean(base))
    assert across.spread == pytest.approx(np.std(score, ddof=1))
    assert comparison.base_spread == pytest.approx(np.std(base, ddof=1))
    # The paper's Avg. is over all languages, English and its difference of 0 included.
    assert across.mean_of_all == pytest.approx((np.sum(score) - np.sum(base)) / len(LANGUAGES))
    assert comparison.rows[0].differences["clas"].p_holm is None


def test_p_values_are_adjusted_for_the_languages_without_the_anchor(tmp_path):
    comparison = compared(tmp_path, xnli_records(LANGUAGES, GAINS, 80))
    cells = [row.differences["clas"] for row in comparison.rows if row.language != "en"]
    smallest = min(cells, key=lambda cell: cell.p)
    assert smallest.p_holm == pytest.approx(min(1, 3 * smallest.p))
    assert all(cell.p_holm >= cell.p for cell in cells)


def test_significant_languages_are_told_apart_by_direction(tmp_path):
    right, wrong, gold = [0] * 40, [1] * 40, [0] * 40
    records = {("xnli", "base", code): choices(right if code == "de" else wrong, gold) for code in LANGUAGES}
    records |= {("xnli", "clas", code): choices(wrong if code == "de" else right, gold) for code in LANGUAGES}
    across = compared(tmp_path, records).across["clas"]
    assert (across.better, across.worse) == (("th", "sw"), ("de",))


def test_the_same_example_in_two_languages_is_one_draw(tmp_path):
    # th moves against de on every example, so their average never moves at all.
    gold = [0] * 20
    up, down = [0] * 10 + [1] * 10, [1] * 10 + [0] * 10
    records = {("xnli", name, "en"): choices(gold, gold) for name in GAINS}
    records |= {("xnli", "base", "de"): choices(up, gold), ("xnli", "clas", "de"): choices(down, gold)}
    records |= {("xnli", "base", "th"): choices(down, gold), ("xnli", "clas", "th"): choices(up, gold)}
    comparison = compared(tmp_path, records, ["en", "de", "th"])
    assert comparison.across["clas"].interval == Interval(0.0, 0.0, 0.0)
    assert comparison.rows[1].differences["clas"].interval.high > 10


def test_only_shared_examples_are_compared(tmp_path):
    records = {
        ("xnli", "base", "de"): choices([0, 0, 1, 1], [0, 0, 0, 0]),
        ("xnli", "clas", "de"): choices([1, 0], [0, 0]),
    }
    row = compared(tmp_path, records, ["de"]).rows[0]
    cell = row.differences["clas"]
    assert (row.examples, row.base) == (4, 50.0)
    assert (cell.examples, cell.base, cell.score, cell.changed) == (2, 100.0, 50.0, 1)


def test_one_example_has_no_interval_and_one_language_no_t(tmp_path):
    records = {("xnli", name, "de"): choices([0 if name == "clas" else 1], [0]) for name in GAINS}
    comparison = compared(tmp_path, records, ["de"])
    across = comparison.across["clas"]
    assert comparison.rows[0].differences["clas"].interval == Interval(100.0, -math.inf, math.inf)
    assert (across.t_test, across.equal_variance, across.spread) == (None, None, None)


def test_only_the_anchor(tmp_path):
    comparison = compared(tmp_path, xnli_records(["en"], GAINS, 10), ["en"])
    assert (comparison.base_mean, comparison.base_spread) == (None, None)
    assert comparison.across["clas"].interval is None
    assert comparison.across["clas"].mean_of_all == 0.0


def test_without_a_base_there_is_no_comparison(tmp_path):
    methods = {"clas": METHODS["clas"]}
    assert compared(tmp_path, {("xnli", "clas", "de"): choices([0], [0])}, ["de"], methods=methods) is None


def test_long_texts_count_by_their_tokens_in_a_perplexity(tmp_path):
    records = {
        ("ppl", "base", "de"): [nats(0, 10.0, 5, 40), nats(1, 45.0, 15, 60)],
        ("ppl", "clas", "de"): [nats(0, 9.0, 5, 40), nats(1, 42.0, 15, 60)],
    }
    comparison = compared(tmp_path, records, ["de"], "ppl")
    cell = comparison.rows[0].differences["clas"]
    assert (cell.base, cell.score) == (55 / 20, 51 / 20)
    assert cell.interval.mean == pytest.approx(-4 / 20)
    assert (cell.interval.low, cell.interval.high) == pytest.approx((-1 / 5, -3 / 15))


def test_lower_is_better_in_a_perplexity(tmp_path):
    records = {("ppl", name, "de"): [nats(key, 5.0 - (name == "clas"), 2, 9) for key in range(12)] for name in GAINS}
    across = compared(tmp_path, records, ["de"], "ppl").across["clas"]
    assert (across.better, across.worse) == (("de",), ())


def test_a_grid_has_intervals_but_no_p_values(tmp_path):
    comparison = compared(tmp_path, xnli_records(["en", "de"], GAINS, 20), ["en", "de"], command="grid")
    cell = comparison.rows[1].differences["clas"]
    assert (cell.p, cell.p_holm) == (None, None)
    assert cell.interval.low < cell.interval.high
