"""Records -> parallel answers: only what can be compared is, and what was left out is counted."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import rankdata

from eval.analysis.answers import are_choices, paired_answers, parallel_answers
from eval.run_folder import Record

from .support import by_hand, made_up


def test_ranks_are_scipys_within_each_question():
    records = made_up(("en", "de"), 30, (3, 5))
    answers = parallel_answers(records)
    for row, code in enumerate(answers.languages):
        for column, key in enumerate(answers.keys):
            ranks = answers.ranks[row, column]
            assert ranks[~np.isnan(ranks)].tolist() == rankdata(records[code][key].choice_scores).tolist()


def test_only_questions_that_all_languages_have_count():
    records = by_hand()
    del records["de"]["1"]
    answers = parallel_answers(records)
    assert answers.keys == ("0", "2", "3")
    assert (answers.missing, answers.unlike) == (1, 0)
    assert answers.right.tolist() == [[True, True, False], [True, False, False], [True, False, False]]


@pytest.mark.parametrize("change", [{"gold": (2,)}, {"choice_scores": (1.0, 2.0)}], ids=["gold", "choices"])
def test_a_question_that_is_another_one_in_some_language_is_left_out(change):
    records = by_hand()
    records["de"]["1"] = replace(records["de"]["1"], **change)
    answers = parallel_answers(records)
    assert answers.keys == ("0", "2", "3")
    assert (answers.missing, answers.unlike) == (0, 1)


def test_languages_without_a_question_in_common_have_no_answers():
    records = by_hand(("en", "de"))
    records["de"] = {f"other {key}": record for key, record in records["de"].items()}
    assert parallel_answers(records) is None
    assert parallel_answers({}) is None


@pytest.mark.parametrize("scores", [(), (math.nan, 1.0, 2.0)], ids=["older run", "no number"])
def test_without_a_probability_for_each_choice_there_are_no_ranks(scores):
    records = by_hand()
    records["de"]["1"] = replace(records["de"]["1"], choice_scores=scores)
    answers = parallel_answers(records, chance=0.25)
    assert answers.ranks is None
    assert answers.chance == 0.25
    assert answers.right.tolist() == parallel_answers(by_hand()).right.tolist()


def test_a_choice_that_is_impossible_is_the_least_likely():
    records = by_hand(("en",))
    records["en"]["0"] = replace(records["en"]["0"], choice_scores=(0.0, -math.inf, -math.inf))
    assert parallel_answers(records).ranks[0, 0].tolist() == [3, 1.5, 1.5]


def test_chance_is_the_mean_over_questions_of_guessing():
    assert parallel_answers(by_hand()).chance == pytest.approx(1 / 3)
    assert parallel_answers(made_up(("en",), 10, (2, 4))).chance == pytest.approx((1 / 2 + 1 / 4) / 2)


def test_two_methods_are_paired_on_what_both_have_in_one_order():
    first, other = made_up(("en", "de", "sw"), 6), made_up(("en", "de"), 6, seed=1)
    other = {code: dict(reversed(by_key.items())) for code, by_key in other.items()}
    other = {
        code: {key: replace(one, gold=first[code][key].gold) for key, one in by.items()} for code, by in other.items()
    }
    del other["de"]["3"]
    one, two = paired_answers(first, other)
    assert one.languages == two.languages == ("en", "de")
    assert one.keys == two.keys == ("0", "1", "2", "4", "5")
    assert two.predictions[0].tolist() == [other["en"][key].prediction for key in one.keys]
    assert one.gold.tolist() == two.gold.tolist()
    assert paired_answers(first, {"th": first["en"]}) is None


def test_texts_and_nats_are_no_choices():
    assert are_choices(record for by_key in by_hand().values() for record in by_key.values())
    assert not are_choices([Record("0", "a text", ("gold",), {})])
    assert not are_choices([Record("0", 3.5, (), {})])
    assert not are_choices([Record("0", 3, (), {})])
