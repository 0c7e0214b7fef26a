"""Consistency and transfer: three languages and four questions worked out by hand, SciPy's own rho, plain sets."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from eval.analysis.answers import parallel_answers
from eval.analysis.transfer import RELATIONS, by_language, measure, near_chance, overall

from .support import by_hand, made_up

NAN = float("nan")
# From the language of the row to that of the column: en is right in 0, 1, 2; de in 0, 1; sw in 0.
POSITIVE = [[NAN, 2 / 3, 1 / 3], [1, NAN, 1 / 2], [1, 1, NAN]]
NEGATIVE = [[NAN, 1, 0], [1 / 2, NAN, 1 / 2], [0, 1 / 3, NAN]]
CONSISTENCY = [[NAN, 2 / 8, -1 / 8], [2 / 8, NAN, 2 / 8], [-1 / 8, 2 / 8, NAN]]


@pytest.fixture
def measures():
    return measure(parallel_answers(by_hand()))


def test_every_pair_is_what_the_equations_say(measures):
    assert measures.accuracy[0].tolist() == [3 / 4, 2 / 4, 1 / 4]
    for relation, expected in (("positive", POSITIVE), ("negative", NEGATIVE), ("consistency", CONSISTENCY)):
        np.testing.assert_allclose(measures.pairs(relation)[0], expected, rtol=0, atol=1e-15)


def test_the_means_over_pairs_and_with_the_anchor(measures):
    assert {name: value[0] for name, value in overall(measures, "en").items()} == pytest.approx(
        {
            "accuracy": 1 / 2,
            "consistency": 3 / 24,
            "positive": (2 / 3 + 1 / 3 + 1 + 1 / 2 + 1 + 1) / 6,
            "negative": (1 + 0 + 1 / 2 + 1 / 2 + 0 + 1 / 3) / 6,
            "consistency with anchor": 1 / 16,
            "positive from anchor": 1 / 2,
            "positive to anchor": 1,
            "negative from anchor": 1 / 2,
            "negative to anchor": 1 / 4,
        }
    )


def test_each_language_receives_from_all_others_and_from_the_anchor(measures):
    found = {name: values[0].tolist() for name, values in by_language(measures, "en").items()}
    assert found["positive"] == pytest.approx([1, (2 / 3 + 1) / 2, (1 / 3 + 1 / 2) / 2])
    assert found["negative"] == pytest.approx([1 / 4, (1 + 1 / 3) / 2, 1 / 4])
    assert found["consistency"] == pytest.approx([1 / 16, 1 / 4, 1 / 16])
    assert found["positive from anchor"] == pytest.approx([NAN, 2 / 3, 1 / 3], nan_ok=True)
    assert found["positive to anchor"] == pytest.approx([NAN, 1, 1], nan_ok=True)
    assert found["negative from anchor"] == pytest.approx([NAN, 1, 0], nan_ok=True)
    assert found["negative to anchor"] == pytest.approx([NAN, 1 / 2, 0], nan_ok=True)


@pytest.mark.parametrize("choices", [(4,), (2, 3, 5)], ids=["four choices", "different numbers of choices"])
def test_consistency_is_scipys_rho_of_all_ranks_with_ties(choices):
    records = made_up(("en", "de", "sw"), 40, choices)
    found = measure(parallel_answers(records)).consistency[0]
    ranks = [np.concatenate([rankdata(one.choice_scores) for one in by_key.values()]) for by_key in records.values()]
    for row in range(3):
        for column in set(range(3)) - {row}:
            assert found[row, column] == pytest.approx(spearmanr(ranks[row], ranks[column]).statistic, abs=1e-14)


def test_a_weight_is_how_often_a_question_is_there():
    records = made_up(("en", "de", "sw"), 8)
    weights = np.array([[2, 0, 1, 3, 0, 1, 1, 0], [0, 5, 1, 0, 0, 0, 1, 1]], dtype=float)
    found = measure(parallel_answers(records), weights)
    for number, row in enumerate(weights.astype(int).tolist()):
        repeated = {
            code: {
                f"{key} {copy}": one for key, times in enumerate(row) for copy in range(times) for one in [by[str(key)]]
            }
            for code, by in records.items()
        }
        alone = measure(parallel_answers(repeated))
        assert found.accuracy[number] == pytest.approx(alone.accuracy[0])
        for relation in RELATIONS:
            assert found.pairs(relation)[number] == pytest.approx(alone.pairs(relation)[0], nan_ok=True)


def test_what_is_undefined_is_left_out_of_means_and_counted():
    records = by_hand()
    for key, one in records["sw"].items():
        records["sw"][key] = replace(one, prediction=(one.gold[0] + 1) % 3, choice_scores=(0.0, 0.0, 0.0))
    for key, one in records["en"].items():
        records["en"][key] = replace(one, prediction=one.gold[0])
    measures = measure(parallel_answers(records))
    assert np.isnan(measures.positive[0, 2, :2]).all()  # nothing right in sw
    assert np.isnan(measures.negative[0, 0, 1:]).all()  # nothing wrong in en
    assert np.isnan(measures.consistency[0, 2, :2]).all()  # no order in sw
    assert [measures.undefined(relation) for relation in RELATIONS] == [4, 2, 2]
    found = overall(measures, "en")
    assert found["positive"][0] == pytest.approx((1 / 2 + 0 + 1 + 0) / 4)
    assert found["consistency"][0] == pytest.approx(2 / 8)
    assert found["negative from anchor"][0] != found["negative from anchor"][0]


def test_without_ranks_there_is_transfer_and_no_consistency():
    records = by_hand()
    records["de"]["0"] = replace(records["de"]["0"], choice_scores=())
    measures = measure(parallel_answers(records))
    assert np.isnan(measures.consistency).all()
    np.testing.assert_allclose(measures.positive[0], POSITIVE)


def test_without_the_anchor_nothing_is_said_about_it():
    found = overall(measure(parallel_answers(by_hand(("de", "sw")))), "en")
    assert found["positive"][0] == pytest.approx(3 / 4)
    assert [name for name, value in found.items() if np.isnan(value[0])] == [n for n in found if "anchor" in n]


def test_a_single_language_has_an_accuracy_and_no_pairs():
    found = overall(measure(parallel_answers(by_hand(("en",)))), "en")
    assert found["accuracy"][0] == 3 / 4
    assert all(np.isnan(value[0]) for name, value in found.items() if name != "accuracy")


def test_some_languages_are_as_if_the_others_were_not_there():
    some = measure(parallel_answers(by_hand())).of(("en", "sw"))
    alone = measure(parallel_answers(by_hand(("en", "sw"))))
    assert overall(some, "en") == {
        name: pytest.approx(value, nan_ok=True) for name, value in overall(alone, "en").items()
    }


def test_near_chance_is_an_interval_that_holds_it_or_lies_below():
    records = made_up(("en", "de", "sw"), 200, level=9)
    for code, share in (("de", 0.27), ("sw", 0.05)):
        for number, (key, one) in enumerate(records[code].items()):
            right = number < share * 200
            records[code][key] = replace(one, prediction=one.gold[0] if right else (one.gold[0] + 1) % 4)
    assert near_chance(parallel_answers(records)) == {"de": "at chance", "sw": "below chance"}
    bare = {code: {key: replace(one, choice_scores=()) for key, one in by.items()} for code, by in records.items()}
    assert near_chance(parallel_answers(bare)) == {}
