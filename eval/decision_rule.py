"""Which setting each language is steered with, from gains alone: the parts of the examples, the choice, and the tests.

Examples fall into three parts, of which each is used for one thing: CHOOSE a setting, DECIDE whether it is in force,
REPORT what it is worth.  On the second part, at 5 % for everything together:

1. Half of it, 2.5 %, for languages alone: each one's own setting, a one-sided sign-flip test, Holm over languages.
2. The other half for the languages that are left over, together: the sum of their gains under the one setting that is
   best for all languages.  A small gain that most languages share is seen here, and in no language alone.

Why that holds whatever is true of whichever languages: let N be those without a gain.  A language of N passes step 1 in
2.5 % at most (Holm).  If none does, those that are left over are N itself, where step 2 is one test of a set that does
not depend on the examples, which passes in 2.5 %; or they are N and others, and then some of them do gain.  So step 2
answers for the languages together, not for each of them: one without a gain can be steered along with others that have
one.  What gains much alone is found in step 1 and carries nobody along.

Where predictions come from is the business of `tune.py`, what is told of a decision that of `decision.py`.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .statistics import Array, gain_test, holm

LEVEL = 0.05
CHOOSE, DECIDE, REPORT = range(3)
TURN = (CHOOSE, DECIDE, REPORT, DECIDE)  # tests need more examples than a choice does
FEWEST_UNITS = len(TURN)


@dataclass(frozen=True)
class Parts:
    """Of examples that are the same in every language.

    Attributes:
        unit: of each example, the number of what it shares with others, such as its passage; int64 `[examples]`.
        part: of each example, CHOOSE, DECIDE or REPORT; int64 `[examples]`.
    """

    unit: NDArray[np.int64]
    part: NDArray[np.int64]

    @classmethod
    def of(cls, shared: Iterable[Hashable], turn: Sequence[int] = TURN) -> "Parts":
        """Units by turns, in the order of their first examples: one chooses, one decides, one reports, one decides.

        What shares a passage stays together, or a setting would be tested on the passages that it was chosen on.
        Passages by turns, because neighbours have a subject in common: so every part has all subjects.

        Args:
            shared: what each example has in common with others; examples of their own are all different.
            turn: which part each unit of a turn is in.
        """
        number: dict[Hashable, int] = {}
        unit = np.array([number.setdefault(each, len(number)) for each in shared], dtype=np.int64)
        return cls(unit, np.array(turn)[unit % len(turn)])

    @property
    def units(self) -> int:
        return len(np.unique(self.unit))

    def of_part(self, part: int) -> NDArray[np.int64]:
        """The places of its examples."""
        return np.flatnonzero(self.part == part)

    def sums(self, values: Array, part: int) -> Array:
        """By unit of one part; `[..., examples]` to `[..., units of the part]`."""
        places = self.of_part(part)
        order = places[np.argsort(self.unit[places], kind="stable")]
        _, starts = np.unique(self.unit[order], return_index=True)
        summed: Array = np.add.reduceat(values[..., order], starts, axis=-1)
        return summed


@dataclass(frozen=True)
class Ruling:
    """What is in force, by number of language; settings by number, None is unsteered.

    Attributes:
        chosen: each language's own on the first part.
        p: of its gain on the second part, adjusted for all tests: below LEVEL it is in force.
        common: the setting that is best for all languages together on the first part.
        together: the languages that were tested under it together; none where it gained nothing on the first part.
        common_p: of their gain, adjusted as well.
        worse: of these, the ones in which it loses significantly, without any adjustment; they stay unsteered.
        in_force: after all that.
    """

    chosen: tuple[int | None, ...]
    p: tuple[float, ...]
    common: int | None
    together: tuple[int, ...]
    common_p: float
    worse: tuple[int, ...]
    in_force: tuple[int | None, ...]


def rule(gains: Array, weights: Array, choices: Sequence[int], parts: Parts) -> Ruling:
    """Choose on the first part, decide on the second.

    Args:
        gains: the score under each setting less the base's, turned so that higher is better,
            `[languages, settings, examples]`.
        weights: what a sum of gains is divided by, summed, `[languages, examples]`.
        choices: the settings that may be in force, the weakest first, as equal gains are not worth more.
    """
    means = mean_gains(gains, weights, parts, CHOOSE)[:, choices]
    best = means.argmax(axis=1)
    chosen = [choices[place] if means[row, place] > 0 else None for row, place in enumerate(best.tolist())]
    alone = [
        1.0 if each is None else gain_test(parts.sums(gains[row, each], DECIDE)) for row, each in enumerate(chosen)
    ]
    tests = 1 if len(gains) == 1 else 2  # one language alone needs no second test
    p = [min(1.0, tests * each) for each in holm(alone)]
    in_force = [each if value <= LEVEL else None for each, value in zip(chosen, p, strict=True)]
    pooled = means.mean(axis=0)
    common = choices[int(pooled.argmax())] if pooled.max() > 0 else None
    together = [row for row, each in enumerate(in_force) if each is None] if common is not None and tests > 1 else []
    common_p, worse = 1.0, []
    if together:
        # Each language counts the same; where all weights are equal, sums stay whole numbers and the test exact.
        totals = weights[together][:, parts.of_part(DECIDE)].sum(axis=1)
        sums = parts.sums(gains[together, common], DECIDE) * (totals.max() / totals)[:, None]
        common_p = min(1.0, tests * gain_test(sums.sum(axis=0)))
    if common_p <= LEVEL:
        worse = [row for row, values in zip(together, sums, strict=True) if gain_test(-values) <= LEVEL]
        in_force = [common if row in together and row not in worse else each for row, each in enumerate(in_force)]
    return Ruling(tuple(chosen), tuple(p), common, tuple(together), common_p, tuple(worse), tuple(in_force))


def mean_gains(gains: Array, weights: Array, parts: Parts, part: int) -> Array:
    """Of one part, `[languages, settings]`."""
    places = parts.of_part(part)
    return gains[:, :, places].sum(axis=2) / weights[:, places].sum(axis=1)[:, None]
