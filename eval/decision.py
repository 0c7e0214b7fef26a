"""What was decided for each language, in numbers and in words; the rule itself is in `decision_rule.py`.

Records become gains here, and the numbers of the rule a `Decision` for each language, as `tune.json` has them.  Where
predictions come from is left to `tune.py`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from .decision_rule import CHOOSE, DECIDE, LEVEL, REPORT, Parts, Ruling, mean_gains, rule
from .run_folder import Record
from .score_scale import ScoreScale
from .statistics import Array, Interval, percentile_interval, resampled_means

Found: TypeAlias = Mapping[str, Mapping[int | None, Mapping[float, Sequence[Record]]]]
"""By language, layer (None for alpha) and strength the predictions, the base's under 0 at every layer."""


@dataclass(frozen=True)
class Measured:
    """The `n` examples of one part under one strength; a gain is positive where it is for the better."""

    n: int
    base: float
    tuned: float
    gain: Interval

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "gain": plain(self.gain)}


@dataclass(frozen=True)
class Decision:
    """What was decided for one language.

    Attributes:
        chosen: the strength that was decided about: the language's own best on the part that chooses, 0 where none
            gains; or, where it is steered together with others, theirs.
        kept: whether it is in force; if not, the language stays at 0.
        together: whether it was decided about languages together.
        p: of the gain on the part that decides, adjusted for all tests; at most LEVEL where kept.
        reason: in a few words.
        candidates: the gain of every strength on the part that chooses.
        selection, decided: of that part and of the one that decides, under `chosen`.
        held_out: of the part that only reports, under the strength that is in force.
        reported_gain: of that part under `chosen`, in force or not.
    """

    chosen: float
    kept: bool
    together: bool
    p: float
    reason: str
    candidates: Mapping[float, Interval]
    selection: Measured
    decided: Measured
    held_out: Measured
    reported_gain: Interval

    @property
    def alpha(self) -> float:
        """What the language is steered with from now on."""
        return self.chosen if self.kept else 0.0

    def to_dict(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in ("chosen", "kept", "together", "reason")},
            "candidates": {f"{alpha:g}": plain(gain) for alpha, gain in self.candidates.items()},
            "selection": self.selection.to_dict(),
            "decided": {**self.decided.to_dict(), "p": self.p},
            "held_out": self.held_out.to_dict(),
        }


@dataclass(frozen=True)
class Decisions:
    """About all languages.

    Attributes:
        layer: after which vectors act, one for all languages; None for alpha.
        common: the strength that gains most in all languages together on the part that chooses; 0 where none gains.
        together: the languages that were tested under it together; none where all others were found alone.
        common_gain, common_p: their mean gain on the part that decides, and its adjusted p.
        units: passages or examples that share none; `examples` of each part.
    """

    languages: Mapping[str, Decision]
    layer: int | None
    common: float
    together: tuple[str, ...]
    common_gain: float
    common_p: float
    units: int
    examples: tuple[int, int, int]

    def to_dict(self) -> dict[str, Any]:
        pooled = {"strength": self.common, "languages": list(self.together)}
        return {
            "layer": self.layer,
            "parts": {"units": self.units, **dict(zip(("choose", "decide", "report"), self.examples, strict=True))},
            "pooled": {**pooled, "gain": self.common_gain, "p": self.common_p},
            "languages": {code: each.to_dict() for code, each in self.languages.items()},
        }


def decide(scale: ScoreScale, found: Found, parts: Parts) -> Decisions:
    """Choose a strength for each language, and for vectors one layer for all.

    Args:
        scale: of the score that decides.
        found: the same examples in the same order everywhere.
        parts: of these examples, at least `FEWEST_UNITS` units.

    Raises InputError: a perplexity of texts of a single token each.
    """
    strengths = next(iter(found.values()))
    settings = [(layer, value) for layer, tried in strengths.items() for value in tried if value]
    settings.sort(key=lambda setting: abs(setting[1]))
    base = [next(iter(tried.values()))[0.0] for tried in found.values()]
    for records in base:
        for part in (CHOOSE, DECIDE, REPORT):
            scale.mean([records[place] for place in parts.of_part(part)])  # it refuses texts of a single token
    scores = np.stack([[scale.values(tried[layer][value]) for layer, value in settings] for tried in found.values()])
    gains = scale.sign * (scores - np.stack([scale.values(records) for records in base])[:, None])
    weights = np.stack([scale.weights(records) for records in base])
    best = int(mean_gains(gains, weights, parts, CHOOSE).mean(axis=0).argmax())
    layer = settings[best][0]
    choices = [number for number, setting in enumerate(settings) if setting[0] == layer]
    ruling = rule(gains, weights, choices, parts)
    told = _Told(scale, parts, ruling, {number: settings[number][1] for number in choices}, gains, weights)
    return Decisions(
        languages={code: told.decision(row, base[row]) for row, code in enumerate(found)},
        layer=layer,
        common=told.strength(ruling.common),
        together=tuple(code for row, code in enumerate(found) if row in ruling.together),
        common_gain=told.common_gain,
        common_p=ruling.common_p,
        units=parts.units,
        examples=(len(parts.of_part(CHOOSE)), len(parts.of_part(DECIDE)), len(parts.of_part(REPORT))),
    )


@dataclass(frozen=True)
class _Told:
    """A ruling in numbers and words; `gains` and `weights` as for `rule`."""

    scale: ScoreScale
    parts: Parts
    ruling: Ruling
    strengths: Mapping[int, float]
    gains: Array
    weights: Array

    def strength(self, setting: int | None) -> float:
        return 0.0 if setting is None else self.strengths[setting]

    @property
    def common_gain(self) -> float:
        """0 where languages were not tested together."""
        rows, setting = list(self.ruling.together), self.ruling.common
        if not rows:
            return 0.0
        return float(mean_gains(self.gains[rows], self.weights[rows], self.parts, DECIDE)[:, setting].mean())

    def decision(self, row: int, base: Sequence[Record]) -> Decision:
        ruling = self.ruling
        in_force, own = ruling.in_force[row], ruling.chosen[row]
        together = row in ruling.together and (in_force is not None or row in ruling.worse)
        setting = ruling.common if together else own
        candidates = self._gains(row, (None, *self.strengths), CHOOSE)
        decided = self._measured(base, DECIDE, self._gains(row, [setting], DECIDE)[setting])
        return Decision(
            chosen=self.strength(setting),
            kept=in_force is not None,
            together=together,
            p=ruling.common_p if together else ruling.p[row],
            reason=self._reason(row, decided, together, setting is None),
            candidates={self.strength(each): gain for each, gain in candidates.items()},
            selection=self._measured(base, CHOOSE, candidates[setting]),
            decided=decided,
            held_out=self._measured(base, REPORT, self._gains(row, [in_force], REPORT)[in_force]),
            reported_gain=self._gains(row, [setting], REPORT)[setting],
        )

    def _measured(self, base: Sequence[Record], part: int, gain: Interval) -> Measured:
        records = [base[place] for place in self.parts.of_part(part)]
        mean = self.scale.mean(records)
        return Measured(len(records), mean, mean + self.scale.sign * gain.mean, gain)

    def _gains(self, row: int, settings: Sequence[int | None], part: int) -> dict[int | None, Interval]:
        """With their paired bootstrap intervals, over units."""
        values = [np.zeros_like(self.weights[row]) if each is None else self.gains[row, each] for each in settings]
        *sums, weights = self.parts.sums(np.stack([*values, self.weights[row]]), part)
        draws = resampled_means(np.stack(sums), np.stack([weights] * len(sums))).T
        means = [float(column.sum() / weights.sum()) for column in sums]
        return {
            each: percentile_interval(mean, column, examples=len(weights))
            for each, mean, column in zip(settings, means, draws, strict=True)
        }

    def _reason(self, row: int, decided: Measured, together: bool, nothing: bool) -> str:
        if nothing:
            return "no candidate gains on the examples that choose: unsteered"
        change = self._signed(decided.gain.mean)
        here = f"{change} on {decided.n} examples"
        if together:
            all_told = f"{len(self.ruling.together)} languages together gain {self._signed(self.common_gain)}"
            told = f"{all_told}, p = {self.ruling.common_p:.2g}; "
            return told + (
                f"significantly worse here, {here}: unsteered" if row in self.ruling.worse else f"here {here}"
            )
        p = self.ruling.p[row]
        kept = "kept" if p <= LEVEL else "not kept"
        return f"{'loss' if decided.gain.mean < 0 else 'gain'} {here}, p = {p:.2g} after Holm: {kept}"

    def _signed(self, gain: float) -> str:
        return self.scale.formatted(self.scale.factor * gain, sign="+")


def plain(interval: Interval) -> dict[str, float | None]:
    """For JSON; None where there were too few examples for an end."""
    ends = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return {name: value if math.isfinite(value) else None for name, value in ends.items()}
