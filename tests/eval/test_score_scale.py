"""Scores: one mean for every kind, on the scale that is shown."""

from __future__ import annotations

import math

import pytest
from report.support import answer, choice, choices, nats

from clas_models.errors import InputError
from eval.run_folder import Record
from eval.score_scale import GOLD_NATS, NATS, SCALES, Tally, scale_of, summaries
from eval.tasks import TASKS


def test_every_score_of_a_task_has_a_scale() -> None:
    assert {name for task in TASKS.values() for name in task.metrics} | {GOLD_NATS.name} == set(SCALES)
    with pytest.raises(InputError, match="unknown score 'bleu': this version knows accuracy, f1"):
        scale_of("bleu")


@pytest.mark.parametrize(
    ("name", "records", "shown", "said", "goodness"),
    [
        ("accuracy", choices([0, 0, 1], [0, 1, 1]), 200 / 3, "66.7", 200 / 3),
        ("f1", [answer(0, "a", 1.0), answer(1, "b", 0.25)], 62.5, "62.5", 62.5),
        # 10 bits in 4 tokens: a long text counts by its length
        ("nats", [nats(0, math.log(2), 1), nats(1, 3 * math.log(8), 3)], 2.5 * math.log(2), "1.7329", None),
    ],
)
def test_a_score_of_many_is_one_of_each_added_up(
    name: str, records: list[Record], shown: float, said: str, goodness: float | None
) -> None:
    scale = scale_of(name)
    assert scale.shown(records) == pytest.approx(shown) == pytest.approx(scale.factor * scale.mean(records))
    tally = Tally(scale)
    assert math.isnan(tally.value)
    for record in records:
        tally.add([record])
    assert tally.value == pytest.approx(shown)
    assert str(tally) == said
    assert tally.goodness == pytest.approx(-shown if goodness is None else goodness)


def test_a_difference_has_a_sign_and_no_negative_zero() -> None:
    assert [scale_of("f1").formatted(value, "+") for value in (0.24, -0.04, -0.06)] == ["+0.2", "+0.0", "-0.1"]


def test_texts_of_a_single_token_have_no_score() -> None:
    with pytest.raises(InputError, match="single token"):
        NATS.mean([nats(0, 0.0, 0)])


def test_all_scores_of_a_language_the_main_one_first() -> None:
    # F1 of class 0: 2/3; of class 1: 2 * 2 / (2 * 2 + 1) = 4/5.
    found = summaries(choices([0, 0, 1, 1], [0, 1, 1, 1]), scale_of("accuracy"))
    assert found == {"accuracy": 75.0, "macro_f1": pytest.approx(100 * (2 / 3 + 4 / 5) / 2)}
    found = summaries([answer(0, "a", 1.0), answer(1, "b", 0.5)], scale_of("f1"))
    assert list(found.items()) == [("f1", 75.0), ("exact_match", 50.0), ("mlqa_f1", 75.0)]
    found = summaries([nats(0, math.log(2), 1, 2), nats(1, 3 * math.log(8), 3, 3)], NATS)
    expected = {"nats_per_token": 2.5 * math.log(2), "perplexity": 2**2.5, "bits_per_byte": 2.0}
    assert found == pytest.approx(expected)


def test_a_perplexity_that_no_float_holds() -> None:
    assert summaries([nats(0, 7100.0, 10, 10)], NATS)["perplexity"] == math.inf
    assert summaries([nats(0, 7090.0, 10, 10)], NATS)["perplexity"] < math.inf


def test_a_score_that_an_example_lacks_is_no_number() -> None:
    records = [choice(0, 1, 1), Record("1", 1, (1,), {"accuracy": 1.0, "f1": 0.5})]
    assert math.isnan(scale_of("f1").shown(records))


def test_it_is_said_where_lower_is_better() -> None:
    assert NATS.heading == "nats a token, lower is better"
    assert scale_of("accuracy").heading == "accuracy, %"


def test_one_example_moves_a_sum_of_shares_by_all_of_it_and_nats_by_any_amount() -> None:
    assert (scale_of("f1").largest, NATS.largest, GOLD_NATS.largest) == (100, 0, 0)


def test_every_right_answer_counts_the_same_however_long() -> None:
    records = [Record(str(key), 0, (0,), {"gold_nats": value, "accuracy": 1.0}, tokens=tokens)
               for key, (value, tokens) in enumerate([(1.0, 5), (4.0, 500)])]  # fmt: skip
    assert summaries(records, GOLD_NATS) == {"gold_nats": 2.5, "accuracy": 100.0}
    assert GOLD_NATS.heading == "nats a token of the right answer, lower is better"
