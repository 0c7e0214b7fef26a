"""Whether steering that was decided on the likelihood of right answers harms the score that users care about.

A language stays unsteered where its score gets significantly worse on the examples that decide, and so do those that
were decided together where their scores together do.  Nothing is ever steered that the likelihood has not decided for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from .decision import Decisions, Found, plain
from .decision_rule import DECIDE, LEVEL, REPORT, Parts
from .jobs import Job
from .run_folder import Record, RunFolder
from .score_scale import ScoreScale
from .statistics import Array, Interval, gain_test, percentile_interval, resampled_means


@dataclass(frozen=True)
class Scored:
    """The score of one language, or the mean over several, on the examples that only report; shown units.

    Attributes:
        base, steered: as shown, under strengths of 0 and of 1.
        gain: positive where it is for the better.
        p_worse: that the score on the examples that decide is no worse than the base's, one-sided.
    """

    n: int
    base: float
    steered: float
    gain: Interval
    p_worse: float

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "gain": plain(self.gain)}


@dataclass(frozen=True)
class Guarded:
    """What the score says of a decision.

    Attributes:
        scores: by language.
        together: the mean over languages.
        kept: the languages that are steered after all.
        reasons: by language, in words.
    """

    scale: ScoreScale
    scores: Mapping[str, Scored]
    together: Scored
    kept: tuple[str, ...]
    reasons: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.scale.name,
            "languages": {code: each.to_dict() for code, each in self.scores.items()},
            "together": self.together.to_dict(),
            "kept": list(self.kept),
            "reasons": dict(self.reasons),
        }


Paired: TypeAlias = dict[str, dict[int | None, dict[float, Sequence[Record]]]]
"""By language the records of the base, under strength 0, and of what is steered, under 1; in the form of `Found`."""


def paired_records(folder: RunFolder, job: Job, base: str, steered: str) -> Paired:
    """Of two methods of a run, in the order of the examples."""
    found: Paired = {}
    for language, examples in job.examples.items():
        by_strength: dict[float, Sequence[Record]] = {}
        for strength, method in ((0.0, base), (1.0, steered)):
            known = {record.key: record for record in folder.records(job.task.name, method, language)}
            by_strength[strength] = [known[example.key] for example in examples]
        found[language] = {None: by_strength}
    return found


def guard(scale: ScoreScale, decisions: Decisions, found: Found, parts: Parts) -> Guarded:
    """Look at the score where the likelihood has decided.

    Args:
        scale: of the score.
        found: as for `decide`, of the examples of `parts`, with strengths 0 and 1.
        parts: of the examples that were not fitted on.
    """
    languages = list(decisions.languages)
    pairs = [next(iter(found[code].values())) for code in languages]
    base = np.stack([scale.values(each[0.0]) for each in pairs])
    gains = scale.sign * (np.stack([scale.values(each[1.0]) for each in pairs]) - base)
    weights = np.stack([scale.weights(each[0.0]) for each in pairs])
    scores = {
        code: _scored(scale, parts, base[[row]], gains[[row]], weights[[row]]) for row, code in enumerate(languages)
    }
    together = _scored(scale, parts, base, gains, weights)
    # Not those that the likelihood has left unsteered: what strengths would do there, nobody will see.
    pooled = [row for row, each in enumerate(decisions.languages.values()) if each.together and each.kept]
    harmed = bool(pooled) and _p_worse(parts, gains[pooled], weights[pooled]) <= LEVEL
    kept, reasons = [], {}
    for row, code in enumerate(languages):
        decision = decisions.languages[code]
        reasons[code] = f"likelihood: {decision.reason}"
        if not decision.kept:
            continue
        if scores[code].p_worse <= LEVEL:
            reasons[code] += f"; but the {scale.name} gets worse, p = {scores[code].p_worse:.2g}: unsteered"
        elif harmed and row in pooled:
            reasons[code] += f"; but the {scale.name} of the languages together gets worse: unsteered"
        else:
            kept.append(code)
    return Guarded(scale, scores, together, tuple(kept), reasons)


def _scored(scale: ScoreScale, parts: Parts, base: Array, gains: Array, weights: Array) -> Scored:
    """Of languages, `[languages, examples]` each; every language counts the same."""
    places = parts.of_part(REPORT)
    sums, counts = parts.sums(gains, REPORT), parts.sums(weights, REPORT)
    mean = float((sums.sum(axis=1) / counts.sum(axis=1)).mean())
    draws = resampled_means(sums, counts).mean(axis=1)
    gain = percentile_interval(mean, draws, examples=sums.shape[1]).times(scale.factor)
    before = scale.factor * float((base[:, places].sum(axis=1) / weights[:, places].sum(axis=1)).mean())
    after = before + scale.sign * gain.mean
    return Scored(len(places), before, after, gain, _p_worse(parts, gains, weights))


def _p_worse(parts: Parts, gains: Array, weights: Array) -> float:
    totals = weights[:, parts.of_part(DECIDE)].sum(axis=1)
    sums = parts.sums(gains, DECIDE) * (totals.max() / totals)[:, None]
    return gain_test(-sums.sum(axis=0))
