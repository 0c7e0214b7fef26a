"""Differences between methods: the bootstrap against a plain loop over plain sets and SciPy's rho."""

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from eval.analysis.answers import paired_answers
from eval.analysis.transfer import QUANTITIES
from eval.analysis.transfer_difference import ABOVE_CHANCE, ALL, transfer_difference
from eval.statistics import resampled_counts

from .support import made_up

LANGUAGES = ("en", "de", "sw")
QUESTIONS = 25


def methods(level=1.5):
    base = made_up(LANGUAGES, QUESTIONS)
    other = made_up(LANGUAGES, QUESTIONS, level=level)
    return base, other


def plain_numbers(records, drawn):
    """Accuracy, consistency, tr+ and tr- with the anchor and over all pairs, one question at a time."""
    rows = {code: [by_key[str(key)] for key in drawn] for code, by_key in records.items()}
    right = {code: {n for n, one in enumerate(row) if one.prediction == one.gold[0]} for code, row in rows.items()}
    everything = set(range(len(drawn)))

    def positive(one, other):
        return len(right[one] & right[other]) / len(right[one])

    def negative(one, other):
        wrong = everything - right[one]
        return sum(rows[one][n].prediction == rows[other][n].prediction for n in wrong) / len(wrong)

    def consistency(one, other):
        ranks = [np.concatenate([rankdata(each.choice_scores) for each in rows[code]]) for code in (one, other)]
        return spearmanr(*ranks).statistic

    found = {(ALL, "accuracy"): np.mean([len(right[code]) / len(drawn) for code in LANGUAGES])}
    found |= {(code, "accuracy"): len(right[code]) / len(drawn) for code in LANGUAGES}
    for name, relation in (("positive", positive), ("negative", negative), ("consistency", consistency)):
        found[ALL, name] = np.mean([relation(one, two) for one in LANGUAGES for two in LANGUAGES if one != two])
    found["de", "positive from anchor"] = positive("en", "de")
    found["de", "negative to anchor"] = negative("de", "en")
    found[ALL, "consistency with anchor"] = np.mean([consistency("en", code) for code in ("de", "sw")])
    return found


def test_the_bootstrap_is_a_plain_loop_over_the_same_draws():
    base, other = methods()
    found = transfer_difference(*paired_answers(base, other), "en", resamples=25, seed=3)
    (counts,) = resampled_counts(QUESTIONS, 25, 3)
    draws = [np.repeat(np.arange(QUESTIONS), row.astype(int)) for row in counts]

    def change(drawn):
        before, after = (plain_numbers(records, drawn) for records in (base, other))
        return {label: after[label] - before[label] for label in before}

    changes = [change(drawn) for drawn in draws]
    for label, mean in change(range(QUESTIONS)).items():
        low, high = np.percentile([each[label] for each in changes], [2.5, 97.5])
        interval = found.intervals[label]
        assert (interval.mean, interval.low, interval.high) == pytest.approx((mean, low, high), abs=1e-12), label


def test_a_method_beside_itself_differs_in_nothing():
    base, _ = methods()
    found = transfer_difference(*paired_answers(base, base), "en", resamples=50)
    assert {(each.mean, each.low, each.high) for each in found.intervals.values()} == {(0.0, 0.0, 0.0)}
    assert {name for where, name in found.intervals if where == ALL} == set(QUANTITIES)


def test_the_same_seed_gives_the_same_intervals():
    pair = paired_answers(*methods())
    one, two, other = (transfer_difference(*pair, "en", resamples=50, seed=seed) for seed in (1, 1, 2))
    assert one.intervals == two.intervals != other.intervals


def test_languages_near_chance_with_either_method_are_left_out_of_the_second_mean():
    base, other = methods(level=9)
    base = {code: {key: replace(one, prediction=one.gold[0]) for key, one in by.items()} for code, by in base.items()}
    other["sw"] = {key: replace(one, prediction=(one.gold[0] + 1) % 4) for key, one in other["sw"].items()}
    found = transfer_difference(*paired_answers(base, other), "en", resamples=20)
    assert found.above_chance == ("en", "de")
    expected = np.mean([found.intervals[code, "accuracy"].mean for code in ("en", "de")])
    assert found.intervals[ABOVE_CHANCE, "accuracy"].mean == pytest.approx(expected)
    assert found.intervals[ALL, "accuracy"].mean < expected


def test_nothing_is_above_chance():
    base, other = methods(level=0)
    wrong = {
        code: {key: replace(one, prediction=(one.gold[0] + 1) % 4) for key, one in by.items()}
        for code, by in base.items()
    }
    found = transfer_difference(*paired_answers(wrong, other), "en", resamples=20)
    assert found.above_chance == ()
    assert (ABOVE_CHANCE, "accuracy") not in found.intervals


def test_a_thousand_resamples_of_a_whole_run_take_seconds():
    """Twelve languages and 200 questions take 0.3 s on one core; a loop would take minutes."""
    languages = [f"l{number}" for number in range(12)]
    pair = paired_answers(made_up(languages, 200), made_up(languages, 200, level=1.0))
    before = time.perf_counter()
    transfer_difference(*pair, "l0", resamples=1_000)
    assert time.perf_counter() - before < 10
