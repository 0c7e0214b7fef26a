"""What is said about a language, one made-up run for every kind of answer."""

import json
from dataclasses import replace

import numpy as np
import pytest

from eval.report.collect import collect
from eval.report.comparison import compare
from eval.report.findings import Call, Finding, grid_findings, plain_findings, tune_findings
from eval.report.tuning import read_tuning
from eval.run_folder import TUNE_NAME, Record

from .support import METHODS, answer, choices, grid_methods, nats, settings, write_run

MANY = 400


def gold(examples: int) -> list[int]:
    return [key % 3 for key in range(examples)]


def said(right: int, examples: int = MANY, wrong: int = 1) -> list[int]:
    """Answers of which the first `right` are right; `wrong` says which of the wrong ones."""
    return [each if key < right else (each + wrong) % 3 for key, each in enumerate(gold(examples))]


def plain(tmp_path, base, clas, *, task="xnli", parameters=None) -> Finding:
    """The finding in German, of two lists of records or of predictions of XNLI."""
    pair = [records if task != "xnli" else choices(records, gold(len(records))) for records in (base, clas)]
    methods = METHODS | {"clas": METHODS["clas"] | (parameters or {})}
    records = {(task, name, "de"): lines for name, lines in zip(("base", "clas"), pair, strict=True)}
    run = write_run(tmp_path / "run", settings({task: ["en", "de"]}, methods), records)
    (found,) = plain_findings(compare(collect([run])[0]), "clas")
    return found


def test_a_significant_gain_is_steered(tmp_path):
    found = plain(tmp_path, said(200), said(240))
    assert (found.call, found.reason, found.changed, found.outputs) == (Call.STEER, "it gains", 40, MANY)
    assert found.interval.mean == pytest.approx(10)


def test_a_loss_is_left_alone(tmp_path):
    found = plain(tmp_path, said(240), said(200))
    assert (found.call, found.reason) == (Call.LEAVE, "it loses")


def test_what_leaves_no_room_for_a_gain_is_left_alone(tmp_path):
    found = plain(tmp_path, said(200), said(200, wrong=2))  # other answers, the same score
    assert (found.call, found.reason, found.changed) == (Call.LEAVE, "no gain of 2 points or more", MANY - 200)
    assert found.visible == pytest.approx(0.75)  # 3 of 400


def test_the_same_scores_on_few_examples_tell_nothing(tmp_path):
    found = plain(tmp_path, said(20, 30), said(20, 30))
    assert (found.call, found.changed) == (Call.UNKNOWN, 0)
    assert found.reason == "too few examples to see less than {}"
    assert found.visible == pytest.approx(10)  # 3 of 30: the interval alone would promise that nothing can be there


def test_the_smallest_visible_difference_is_half_the_interval(tmp_path):
    mixed = said(60, 100)
    for key in (*range(10), *range(60, 72)):
        mixed[key] = (mixed[key] + 2) % 3 if key >= 60 else (mixed[key] + 1) % 3  # ten lost, twelve gained
    found = plain(tmp_path, said(60, 100), mixed)
    assert found.call is Call.UNKNOWN
    assert found.visible == pytest.approx((found.interval.high - found.interval.low) / 2)
    assert 7 < found.visible < 11


def test_a_single_example_shows_nothing(tmp_path):
    found = plain(tmp_path, [answer(1, "a", 0.2)], [answer(1, "b", 0.8)], task="xquad")
    assert (found.call, found.reason) == (Call.UNKNOWN, "a single example shows nothing")


@pytest.mark.parametrize("silent", ["both", "clas"])
def test_a_model_that_answers_one_class_only_tells_nothing(tmp_path, silent):
    base = [2] * 30 if silent == "both" else said(11, 30)
    assert plain(tmp_path, base, [2] * 30).reason == "answers one class only"


def test_right_answers_of_one_class_are_no_fault_of_the_model(tmp_path):
    records = {("xnli", name, "de"): choices([0] * 30, [0] * 30) for name in ("base", "clas")}
    run = write_run(tmp_path / "run", settings({"xnli": ["de"]}), records)
    (found,) = plain_findings(compare(collect([run])[0]), "clas")
    assert found.reason == "too few examples to see less than {}"


def test_scores_at_chance_tell_nothing(tmp_path):
    found = plain(tmp_path, said(130), said(135))
    assert (found.call, found.reason) == (Call.UNKNOWN, "at chance (33.3 %)")
    assert plain(tmp_path / "above", said(170), said(175)).reason != found.reason


def test_answers_at_chance_tell_nothing_though_the_right_ones_get_likelier(tmp_path):
    def judged(right: int, gold_nats: float) -> list[Record]:
        rng = np.random.default_rng(0)
        return [
            replace(each, scores={"gold_nats": gold_nats + rng.uniform(0, 0.1), **each.scores})
            for each in choices(said(right), gold(MANY))
        ]

    def found(right: int) -> Finding:
        records = {("xnli", "base", "de"): judged(right, 1.0), ("xnli", "clas", "de"): judged(right, 0.5)}
        likelihood = {"metrics": {"xnli": ["gold_nats", "accuracy"]}, "scoring": "likelihood"}
        run = write_run(tmp_path / str(right), settings({"xnli": ["en", "de"]}, other=likelihood), records)
        (told,) = plain_findings(compare(collect([run])[0]), "clas")
        return told

    at_chance, above = found(130), found(200)
    assert (at_chance.call, at_chance.reason) == (Call.UNKNOWN, "at chance (33.3 %)")
    assert (above.call, above.reason, above.changed) == (Call.STEER, "it gains", 0)
    assert above.interval.mean == pytest.approx(-0.5)


def test_a_gain_up_to_chance_is_none(tmp_path):
    found = plain(tmp_path, said(60), said(130))
    assert found.interval.low > 0
    assert (found.call, found.reason) == (Call.UNKNOWN, "at chance (33.3 %)")


def test_a_gain_from_chance_to_well_above_it_is_one(tmp_path):
    assert plain(tmp_path, [0] * MANY, said(250)).call is Call.STEER


def test_no_right_answer_at_all_tells_nothing(tmp_path):
    lines = [[answer(key, text, 0.0) for key in range(MANY)] for text in ("a", "b")]
    found = plain(tmp_path, *lines, task="xquad")
    assert (found.call, found.reason, found.changed) == (Call.UNKNOWN, "no answer is right", MANY)


@pytest.mark.parametrize("alpha", [0.0, {"de": 0.0, "default": 2.0}, {"default": 0.0}])
def test_where_alpha_is_0_the_base_model_is_left_as_it_is(tmp_path, alpha):
    found = plain(tmp_path, said(20, 30), said(20, 30), parameters={"alpha": alpha})
    assert (found.call, found.reason) == (Call.LEAVE, "its strength is 0 there, which is the base model")


def test_of_a_perplexity_the_lower_is_better(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.3, 50)
    texts = [[nats(key, 40 + shift + other, 10, 40) for key, other in enumerate(noise)] for shift in (0, -1)]
    assert plain(tmp_path / "lower", *texts, task="perplexity").call is Call.STEER
    found = plain(tmp_path / "higher", *reversed(texts), task="perplexity")
    assert (found.call, found.reason) == (Call.LEAVE, "it loses")
    assert found.interval.mean == pytest.approx(0.1)


def test_a_gain_that_many_languages_make_likely_is_none_yet(tmp_path):
    codes = ["de", *(f"x{letter}" for letter in "abcdefghijklmn")]
    records = {}
    for code in codes:
        records["xnli", "base", code] = choices(said(60, 100), gold(100))
        records["xnli", "clas", code] = choices(said(66 if code == "de" else 60, 100), gold(100))
    run = write_run(tmp_path / "run", settings({"xnli": codes}), records)
    found = plain_findings(compare(collect([run])[0]), "clas")[0]
    assert found.interval.low > 0
    assert (found.call, found.reason) == (Call.UNKNOWN, "a gain, which may be chance among 15 languages")


def test_a_language_without_predictions_is_named(tmp_path):
    records = {("xnli", name, "de"): choices(said(3, 5), gold(5)) for name in ("base", "clas")}
    run = write_run(tmp_path / "run", settings({"xnli": ["en", "de", "th"]}), records)
    found = plain_findings(compare(collect([run])[0]), "clas")
    assert [(each.language, each.reason) for each in found][1] == ("th", "no predictions yet")


def grid_of(tmp_path, counts: dict[float, int], command="grid"):
    """`counts` are right answers by alpha, with 0 for the base."""
    methods = grid_methods([alpha for alpha in counts if alpha])
    records = {}
    for name, values in methods.items():
        predictions = choices(said(counts[values.get("alpha", 0)]), gold(MANY))
        records["xnli", name, "de"] = predictions
    return compare(
        collect([write_run(tmp_path / "grid", settings({"xnli": ["en", "de"]}, methods, command=command), records)])[0]
    )


@pytest.mark.parametrize(
    ("counts", "call", "reason"),
    [
        (
            {0: 200, -2: 240, 2: 190},
            Call.UNKNOWN,
            "the best of 2 settings gains, on the examples that it was chosen on",
        ),
        ({0: 200, -2: 160, 2: 150}, Call.LEAVE, "every setting loses"),
        ({0: 200, -2: 200, 2: 150}, Call.LEAVE, "no gain of 2 points or more"),
        ({0: 130, -2: 130, 2: 130}, Call.UNKNOWN, "at chance (33.3 %)"),
    ],
)
def test_a_grid_never_says_steer(tmp_path, counts, call, reason):
    (found,) = grid_findings(grid_of(tmp_path, counts))
    assert found.call is call
    assert found.reason.startswith(reason)


def tuned(tmp_path, comparison, *, kept, gain=(0.0, 0.0, 0.0), together=False, chosen=2.0):
    """The finding after `tune` decided about alpha 2; `gain` is mean, low and high in per cent, where it reports."""

    def part(values, examples, **more):
        means = dict(zip(("mean", "low", "high"), (value / 100 for value in values), strict=True))
        return {"n": examples, "base": 0.5, "tuned": 0.5 + values[0] / 100, "gain": means, **more}

    decision = {"chosen": chosen, "kept": kept, "together": together, "reason": "", "candidates": {}}
    decision["selection"], decision["decided"] = part((6, 2, 10), 100), part((6, 2, 10), 200, p=0.01)
    decision["held_out"] = part(gain, 100)
    (comparison.task.path / TUNE_NAME).write_text(json.dumps({"task": "xnli", "languages": {"de": decision}}))
    (found,) = tune_findings(comparison, read_tuning(comparison.task))
    return found


@pytest.mark.parametrize(
    ("gain", "call", "reason"),
    [
        ((5, 1, 9), Call.STEER, "it gains on the examples that decide"),
        ((2, -2, 6), Call.STEER, "it gains on the examples that decide"),
        ((-5, -9, -1), Call.LEAVE, "a gain on the examples that decide, a loss on those that report"),
    ],
)
def test_an_alpha_that_was_kept_is_steered_unless_it_loses_where_it_had_no_part(tmp_path, gain, call, reason):
    found = tuned(tmp_path, grid_of(tmp_path, {0: 200, 2: 230}, "tune"), kept=True, gain=gain)
    assert (found.call, found.reason, found.steered) == (call, reason, "α = 2")
    assert (found.examples, found.changed, found.outputs) == (100, 30, 400)


def test_what_was_decided_for_languages_together_is_said(tmp_path):
    found = tuned(tmp_path, grid_of(tmp_path, {0: 200, 2: 230}, "tune"), kept=True, gain=(1, -3, 5), together=True)
    assert (found.call, found.reason) == (
        Call.STEER,
        "it gains together with other languages on the examples that decide",
    )


@pytest.mark.parametrize(
    ("counts", "chosen", "call", "reason"),
    [
        ({0: 200, 2: 230}, 2.0, Call.UNKNOWN, "a gain, but not surely on the examples that decide"),
        ({0: 200, 2: 198, -2: 230}, 2.0, Call.UNKNOWN, "too few examples to see less than {}"),
        ({0: 200, 2: 200}, 0.0, Call.LEAVE, "no gain of 2 points or more"),
        ({0: 200, 2: 170}, 0.0, Call.LEAVE, "every alpha loses"),
    ],
)
def test_an_alpha_that_was_not_kept_is_left_alone_only_where_nothing_can_be_hidden(
    tmp_path, counts, chosen, call, reason
):
    found = tuned(tmp_path, grid_of(tmp_path, counts, "tune"), kept=False, chosen=chosen)
    assert (found.call, found.reason, found.steered) == (call, reason, "α = 2")


def test_what_tune_found_at_chance_tells_nothing(tmp_path):
    comparison = grid_of(tmp_path, {0: 130, 2: 135}, "tune")
    found = tuned(tmp_path, comparison, kept=True, gain=(5, 1, 9))
    assert (found.call, found.reason) == (Call.UNKNOWN, "at chance (33.3 %)")
