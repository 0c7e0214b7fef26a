"""Which alpha a language is steered with: chosen on one half of its examples, and judged on the other.

Of the candidates the one with the largest mean gain over base on the even-numbered examples is chosen, and kept only
where the 95 % interval of that gain lies above zero.  The odd-numbered examples take no part in the choice.  Where
predictions come from is left to `tune.py`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .run_folder import Record
from .score_scale import ScoreScale
from .statistics import Interval, percentile_interval, resampled_means

FEWEST_EXAMPLES = 4  # two in each half


@dataclass(frozen=True)
class HeldOut:
    """The `n` examples that took no part in a choice, as in `tune.json`."""

    n: int
    base: float
    tuned: float
    gain: Interval


@dataclass(frozen=True)
class Decision:
    """What was decided for one language.

    Attributes:
        chosen: the candidate with the largest gain on the selection half; 0 where none gains anything.
        kept: whether that gain is more than chance; if not, the language stays at 0.
        reason: in a few words.
        candidates: the gain of every candidate on the selection half.
        examples, base: of the selection half.
        held_out: base, and the alpha that is in force after the decision.
    """

    chosen: float
    kept: bool
    reason: str
    candidates: Mapping[float, Interval]
    examples: int
    base: float
    held_out: HeldOut

    @property
    def alpha(self) -> float:
        """What the language is steered with from now on."""
        return self.chosen if self.kept else 0.0

    def to_dict(self) -> dict[str, Any]:
        return {
            "chosen": self.chosen,
            "kept": self.kept,
            "reason": self.reason,
            "candidates": {f"{alpha:g}": _plain(gain) for alpha, gain in self.candidates.items()},
            "selection": {"n": self.examples, "base": self.base, "gain": _plain(self.candidates[self.chosen])},
            "held_out": {**asdict(self.held_out), "gain": _plain(self.held_out.gain)},
        }


def decide(scale: ScoreScale, found: Mapping[float, Sequence[Record]]) -> Decision:
    """Choose an alpha for one language.

    Args:
        scale: of the score that decides.
        found: the predictions under each alpha, among them 0, the base; the same examples in the same order, at
            least FEWEST_EXAMPLES.

    Raises InputError: a perplexity of texts of a single token each.
    """
    selection = {alpha: records[0::2] for alpha, records in found.items()}
    held_out = {alpha: records[1::2] for alpha, records in found.items()}
    base = scale.mean(selection[0.0])  # first: it refuses texts of a single token
    candidates = _gains(scale, selection)
    chosen = max(candidates, key=lambda alpha: (candidates[alpha].mean, -abs(alpha)))
    kept = candidates[chosen].low > 0
    alpha = chosen if kept else 0.0
    return Decision(
        chosen=chosen,
        kept=kept,
        reason=_reason(chosen, kept),
        candidates=candidates,
        examples=len(selection[0.0]),
        base=base,
        held_out=HeldOut(
            n=len(held_out[0.0]),
            base=scale.mean(held_out[0.0]),
            tuned=scale.mean(held_out[alpha]),
            gain=_gains(scale, {0.0: held_out[0.0], alpha: held_out[alpha]})[alpha],
        ),
    )


def _reason(chosen: float, kept: bool) -> str:
    if kept:
        return f"{chosen:g} gains, and its interval lies above 0"
    return f"{chosen:g} gains most, but its interval holds 0: unsteered" if chosen else "no candidate gains: unsteered"


def _gains(scale: ScoreScale, found: Mapping[float, Sequence[Record]]) -> dict[float, Interval]:
    """The mean gain of every alpha over 0 with its paired bootstrap interval; higher is better."""
    base = scale.values(found[0.0])
    values = np.stack([scale.sign * (scale.values(records) - base) for records in found.values()])
    weights = scale.weights(found[0.0])
    draws = resampled_means(values, np.broadcast_to(weights, values.shape))
    means = values.sum(axis=1) / weights.sum()
    return {
        alpha: percentile_interval(float(mean), column, examples=len(weights))
        for alpha, mean, column in zip(found, means, draws.T, strict=True)
    }


def _plain(interval: Interval) -> dict[str, float | None]:
    """For JSON; None where there were too few examples for an end."""
    ends = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return {name: value if math.isfinite(value) else None for name, value in ends.items()}
