"""What is told of a decision: its numbers, its words, and its form in `tune.json`."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clas_models.errors import InputError
from eval.decision import Decisions, decide
from eval.decision_rule import Parts
from eval.run_folder import Record
from eval.score_scale import NATS, scale_of
from eval.statistics import percentile_interval, resampled_means

ACCURACY = scale_of("accuracy")


def right(scores: str) -> list[Record]:
    """An example for each digit, 1 where it is answered right."""
    return [Record(str(key), 0, (0,), {"accuracy": float(score)}) for key, score in enumerate(scores)]


def by_part(choose: str, decide: str, report: str, rounds: int = 10) -> str:
    """One digit for each part, `rounds` times over the four turns; longer strings are read round by round."""
    texts = [part if len(part) > 1 else part * rounds for part in (choose, decide, report)]
    return "".join(a + b + c + b for a, b, c in zip(*texts, strict=True))


def texts(*nats: float, tokens: int = 10) -> list[Record]:
    return [Record(str(key), value, (), {"nats": value}, tokens=tokens) for key, value in enumerate(nats)]


def decided(found: dict[float, list[Record]], scale=ACCURACY) -> Decisions:
    """For German alone."""
    return decide(scale, {"de": {None: found}}, Parts.of(range(len(found[0.0]))))


def test_a_clear_gain_is_kept_and_reported_where_it_had_no_part() -> None:
    base = right(by_part("0", "0", "0101010101"))
    better = right(by_part("1111111110", "1", "0111010101"))
    worse = right(by_part("0", "1", "1"))
    found = decided({0.0: base, -2.0: better, 4.0: worse})
    decision = found.languages["de"]
    assert (decision.chosen, decision.kept, decision.alpha, decision.together) == (-2.0, True, -2.0, False)
    assert (decision.selection.n, decision.selection.base, decision.selection.gain.mean) == (10, 0.0, 0.9)
    assert (decision.decided.n, decision.decided.tuned, decision.p) == (20, 1.0, 2.0**-20)
    held_out = decision.held_out
    assert (held_out.n, held_out.base, held_out.tuned) == (10, 0.5, 0.6)
    assert held_out.gain.mean == pytest.approx(0.1)
    assert decision.reason == "gain +100.0 on 20 examples, p = 9.5e-07 after Holm: kept"
    assert found.examples == (10, 20, 10)


def test_intervals_are_those_of_the_paired_bootstrap() -> None:
    base, other = right(by_part("01101", "0", "0", 5)), right(by_part("11101", "0", "0", 5))
    gains = np.array([[1.0, 0.0, 0.0, 0.0, 0.0]])
    draws = resampled_means(gains, np.ones_like(gains))[:, 0]
    found = decided({0.0: base, 2.0: other}).languages["de"].candidates
    assert found[2.0] == percentile_interval(0.2, draws, examples=5)


def test_a_gain_that_may_be_chance_is_not_kept() -> None:
    base = right(by_part("0", "0", "1"))
    lucky = right(by_part("1", "1000000000", "0"))
    decision = decided({0.0: base, 2.0: lucky}).languages["de"]
    assert (decision.chosen, decision.kept, decision.alpha) == (2.0, False, 0.0)
    assert decision.reason == "gain +10.0 on 20 examples, p = 0.25 after Holm: not kept"
    # what is in force is base, so there is no gain and no loss
    assert (decision.held_out.tuned, decision.held_out.gain.mean, decision.held_out.gain.low) == (1.0, 0.0, 0.0)


def test_nothing_gains_then_nothing_is_chosen() -> None:
    base = right("1" * 8)
    decision = decided({0.0: base, -4.0: base, 4.0: right("0" * 8)}).languages["de"]
    assert (decision.chosen, decision.kept, decision.p) == (0.0, False, 1.0)
    assert decision.reason == "no candidate gains on the examples that choose: unsteered"


def test_of_equal_gains_the_weakest_steering_is_chosen() -> None:
    base, better = right("0" * 12), right("1" * 12)
    assert decided({0.0: base, -8.0: better, 2.0: better, 4.0: better}).languages["de"].chosen == 2.0


def test_together_languages_have_the_setting_that_is_best_for_all() -> None:
    """Every language gains on one example of its own; one of them another setting more, where it is chosen."""
    base, found = right("0" * 44), {}
    for row in range(11):
        scores = ["0"] * 44
        scores[4 * row : 4 * row + 2] = "11"
        found[f"l{row}"] = {None: {0.0: base, 2.0: right("".join(scores)), 4.0: base}}
    scores = ["0"] * 44
    scores[0:12:4] = "111"
    found["l3"][None][4.0] = right("".join(scores))
    told = decide(ACCURACY, found, Parts.of(range(44)))
    assert (told.common, len(told.together), told.common_p) == (2.0, 11, pytest.approx(2.0**-10))
    assert {each.alpha for each in told.languages.values()} == {2.0}
    assert told.languages["l3"].together
    expected = "11 languages together gain +4.5, p = 0.00098; here +4.5 on 22 examples"
    assert told.languages["l3"].reason == expected


def test_vectors_have_one_layer_for_all_languages() -> None:
    base, better = right("0" * 40), right("1" * 40)
    some = right(by_part("1111100000", "1", "1"))
    found = {
        "de": {1: {0.0: base, 2.0: some}, 4: {0.0: base, 2.0: better}},
        "zh": {1: {0.0: base, 2.0: some}, 4: {0.0: base, 2.0: base}},
        "hi": {1: {0.0: base, 2.0: some}, 4: {0.0: base, 2.0: base}},
    }
    told = decide(ACCURACY, found, Parts.of(range(40)))
    assert told.layer == 1
    assert {each.alpha for each in told.languages.values()} == {2.0}


def test_a_perplexity_gains_when_it_falls() -> None:
    base = texts(*[30.0] * 40)
    better, worse = texts(*[20.0] * 40), texts(*[40.0] * 40)
    decision = decided({0.0: base, 2.0: better, 4.0: worse}, NATS).languages["de"]
    assert (decision.chosen, decision.kept) == (2.0, True)
    assert (decision.held_out.base, decision.held_out.tuned) == (pytest.approx(3.0), pytest.approx(2.0))
    assert decision.held_out.gain.mean == pytest.approx(1.0)
    assert decision.candidates[4.0].high < 0


def test_a_long_text_counts_by_its_length() -> None:
    base = [record for _ in range(2) for record in [*texts(*[10.0] * 4), *texts(*[90.0] * 4, tokens=90)]]
    other = [record for _ in range(2) for record in [*texts(*[10.0] * 4), *texts(*[0.0] * 4, tokens=90)]]
    decision = decided({0.0: base, 2.0: other}, NATS).languages["de"]
    assert decision.candidates[2.0].mean == pytest.approx(0.9)
    assert decision.selection.base == pytest.approx(1.0)


def test_texts_of_a_single_token_are_refused() -> None:
    with pytest.raises(InputError, match="single token"):
        decided({0.0: texts(0.0, 0.0, 0.0, 0.0, tokens=0), 1.0: texts(0.0, 0.0, 0.0, 0.0, tokens=0)}, NATS)


def test_a_decision_is_written_in_the_form_that_the_report_reads() -> None:
    found = decided({0.0: right("0" * 24), -2.0: right("1" * 24)})
    gain = {"mean": 1.0, "low": 1.0, "high": 1.0}
    none = {"mean": 0.0, "low": 0.0, "high": 0.0}
    part = {"n": 6, "base": 0.0, "tuned": 1.0, "gain": gain}
    p = 2.0**-12
    assert found.to_dict() == {
        "layer": None,
        "parts": {"units": 24, "choose": 6, "decide": 12, "report": 6},
        "pooled": {"strength": -2.0, "languages": [], "gain": 0.0, "p": 1.0},
        "languages": {
            "de": {
                "chosen": -2.0,
                "kept": True,
                "together": False,
                "reason": "gain +100.0 on 12 examples, p = 0.00024 after Holm: kept",
                "candidates": {"0": none, "-2": gain},
                "selection": part,
                "decided": {**part, "n": 12, "p": p},
                "held_out": part,
            }
        },
    }


def test_an_unbounded_interval_is_null_in_the_file() -> None:
    told = decided({0.0: right("0000"), -2.0: right("1111")}).to_dict()
    assert told["languages"]["de"]["selection"]["gain"] == {"mean": 1.0, "low": None, "high": None}
    assert json.loads(json.dumps(told, allow_nan=False)) == told
