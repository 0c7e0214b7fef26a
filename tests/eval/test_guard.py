"""The guard: what the score says of languages that the likelihood has decided about, and how often nothing is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from eval import decision, guard
from eval.decision import Decision, Decisions, decide
from eval.decision_rule import CHOOSE, LEVEL, REPORT, Parts
from eval.run_folder import Record
from eval.score_scale import scale_of
from eval.statistics import Array

ACCURACY, NATS = scale_of("accuracy"), scale_of("gold_nats")
EXAMPLES = 40
TURN = (0, 0, 1, 2)


def records(name: str, values: Sequence[float] | Array) -> list[Record]:
    return [Record(str(key), 0, (0,), {name: float(value)}) for key, value in enumerate(values)]


def changes(name: str, base: float, gains: Mapping[str, Sequence[float] | Array]) -> guard.Paired:
    """By language a gain of every example; that of a likelihood is a fall."""
    sign = scale_of(name).sign
    return {
        code: {None: {0.0: records(name, np.full(len(own), base)), 1.0: records(name, base + sign * np.asarray(own))}}
        for code, own in gains.items()
    }


def decisions(**kept_together: tuple[bool, bool]) -> Decisions:
    """By language whether it is kept, and whether it was decided together with others."""
    gains = {code: np.ones(EXAMPLES) for code in kept_together}
    found = decide(NATS, changes("gold_nats", 3.0, gains), Parts.of(range(EXAMPLES), TURN))

    def as_wanted(each: Decision, kept: bool, together: bool) -> Decision:
        return replace(each, kept=kept, together=together)

    return replace(
        found, languages={code: as_wanted(found.languages[code], *how) for code, how in kept_together.items()}
    )


def guarded(found: Decisions, gains: Mapping[str, Mapping[int, float]]) -> guard.Guarded:
    """Of scores that change on the examples that decide, which come first here, and on those that report."""
    parts = Parts(np.arange(20), np.repeat([1, 2], 10))
    changed = {code: [own.get(place, 0.0) for place in range(20)] for code, own in gains.items()}
    return guard.guard(ACCURACY, found, changes("accuracy", 0.0, changed), parts)


def test_a_language_whose_score_gets_worse_stays_unsteered() -> None:
    worse, better = dict.fromkeys(range(5), -1.0), dict.fromkeys(range(5), 1.0)
    found = guarded(
        decisions(de=(True, False), zh=(True, False), hi=(False, False)), {"de": worse, "zh": better, "hi": better}
    )
    assert found.kept == ("zh",), "nothing is steered that the likelihood has not decided for"
    assert found.scores["de"].p_worse == 2.0**-5
    assert "but the accuracy gets worse, p = 0.031: unsteered" in found.reasons["de"]
    assert "but" not in found.reasons["hi"]


def test_four_of_four_that_get_worse_may_be_chance() -> None:
    found = guarded(decisions(de=(True, False)), {"de": dict.fromkeys(range(4), -1.0)})
    assert found.scores["de"].p_worse == 2.0**-4 > LEVEL
    assert found.kept == ("de",)


def test_languages_that_were_decided_together_stand_and_fall_together() -> None:
    both = {"de": dict.fromkeys(range(3), -1.0), "zh": dict.fromkeys(range(3, 6), -1.0)}
    found = guarded(decisions(de=(True, True), zh=(True, True)), both)
    assert found.kept == (), "p of each is 1/8, of the six examples together 1/64"
    assert all("of the languages together gets worse" in reason for reason in found.reasons.values())
    alone = guarded(decisions(de=(True, False), zh=(True, False)), both)
    assert alone.kept == ("de", "zh"), "what was found alone answers for itself"
    mixed = guarded(decisions(de=(True, True), zh=(True, False)), both)
    assert mixed.kept == ("de", "zh")


def test_what_stays_unsteered_anyway_speaks_for_nobody() -> None:
    """Its score under strengths that nobody will see must neither condemn the others nor excuse them."""
    gains = {"de": dict.fromkeys(range(3), -1.0), "zh": dict.fromkeys(range(3, 9), -1.0)}
    assert guarded(decisions(de=(True, True), zh=(False, True)), gains).kept == ("de",)
    gains = {"de": {}, "hi": {}, "zh": dict.fromkeys(range(9), 1.0)}
    gains["de"], gains["hi"] = dict.fromkeys(range(3), -1.0), dict.fromkeys(range(3, 6), -1.0)
    assert guarded(decisions(de=(True, True), hi=(True, True), zh=(False, True)), gains).kept == ()


def test_what_is_told_is_of_the_examples_that_only_report() -> None:
    found = guarded(decisions(de=(True, False), zh=(True, False)), {"de": {0: -1.0, 10: 1.0}, "zh": {11: 1.0, 12: 1.0}})
    scored = found.scores["de"]
    assert (scored.n, scored.base, scored.steered, scored.gain.mean) == (10, 0.0, 10.0, 10.0)
    assert scored.p_worse == 0.5
    assert found.together.gain.mean == pytest.approx(15.0)
    assert found.to_dict()["kept"] == ["de", "zh"]


@pytest.fixture
def without_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told, and decide nothing."""

    def one(values: Array, weights: Array) -> Array:
        return (values.sum(axis=1) / weights.sum(axis=1))[None]

    for module in (decision, guard):
        monkeypatch.setattr(module, "resampled_means", one)


@pytest.mark.usefixtures("without_intervals")
@pytest.mark.parametrize("languages", [1, 4])
@pytest.mark.parametrize("correlated", [0.0, 0.8])
def test_strengths_without_an_effect_are_seldom_in_force(languages: int, correlated: float) -> None:
    """In 5 % of fits at most, however well they are fitted to their own examples, and however alike languages are."""
    generator, fits, steered = np.random.default_rng(0), 400, 0
    parts = Parts.of(range(EXAMPLES), TURN)
    outside = np.flatnonzero(parts.part != CHOOSE)
    codes = [f"l{number}" for number in range(languages)]
    for _ in range(fits):
        shared = generator.random(EXAMPLES) < correlated
        common, own = (generator.choice([-1, 1], (rows, EXAMPLES)) for rows in (1, languages))
        gains = np.where(shared, common, own) * generator.integers(0, 4, (languages, EXAMPLES))
        gains[:, parts.part == CHOOSE] = 3  # what was fitted on gains for certain
        found = decide(NATS, changes("gold_nats", 9.0, dict(zip(codes, gains, strict=True))), parts)
        score = generator.integers(-1, 2, (languages, EXAMPLES))[:, outside]
        scores = changes("accuracy", 0.0, dict(zip(codes, score, strict=True)))
        kept = guard.guard(ACCURACY, found, scores, Parts(parts.unit[outside], parts.part[outside])).kept
        assert set(kept) <= {code for code, each in found.languages.items() if each.kept}
        steered += bool(kept)
    assert steered <= stats.binom.ppf(0.999, fits, LEVEL), f"{steered} of {fits} fits"
    assert steered, "a test that never finds anything says nothing"


@pytest.mark.usefixtures("without_intervals")
def test_the_examples_that_report_decide_nothing() -> None:
    generator, parts = np.random.default_rng(1), Parts.of(range(EXAMPLES), TURN)
    gains = {code: generator.integers(-1, 4, EXAMPLES).astype(float) for code in ("de", "zh")}
    told = []
    for reported in (-5.0, 5.0):
        changed = {code: np.where(parts.part == REPORT, reported, own) for code, own in gains.items()}
        found = decide(NATS, changes("gold_nats", 9.0, changed), parts)
        kept = guard.guard(ACCURACY, found, changes("accuracy", 9.0, changed), parts).kept
        told.append(([each.p for each in found.languages.values()], found.common_p, kept))
    assert told[0] == told[1]
