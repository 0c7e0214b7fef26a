"""What a score is: its unit and digits, which direction is better, and what it is a mean over.

The main score of several examples is a ratio of sums, times a factor: right answers or F1 over examples, in per cent;
nats over tokens, so that a long text counts by its length; or nats a token of the right answers, over examples.  Adding
a kind of score is adding a line to `SCALES`; a task names its scores in `Task.metrics`, and so does `run.json`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from clas_models.errors import InputError

from .metrics.classification import macro_f1
from .run_folder import Record

if TYPE_CHECKING:  # it imports SciPy, which takes seconds
    from .statistics import Array


def _classes(records: Sequence[Record]) -> dict[str, float]:
    predictions, golds = zip(*((int(record.prediction), int(record.gold[0])) for record in records), strict=True)
    return {"macro_f1": 100 * macro_f1(predictions, golds)}


def _perplexity(records: Sequence[Record]) -> dict[str, float]:
    """`perplexity`, infinite where a float cannot hold it, and `bits_per_byte`, which tokenizers have in common."""
    nats = math.fsum(record.scores["nats"] for record in records)
    mean = nats / sum(record.tokens for record in records)
    perplexity = math.exp(mean) if mean < math.log(math.nextafter(math.inf, 0)) else math.inf
    return {"perplexity": perplexity, "bits_per_byte": nats / math.log(2) / sum(record.bytes for record in records)}


@dataclass(frozen=True)
class ScoreScale:
    """One kind of score; the defaults are those of one that is shown in per cent.

    Attributes:
        name: of the score in records and in `run.json`.
        shown_as: its name where it is shown without a unit.
        unit, difference: what stands beside a score, and beside a difference of two.
        step: what a difference is counted in, in a sentence.
        worth: the smallest difference that is worth knowing, as it is shown.
        factor: from the scale of the records to the one that is shown.
        digits: behind the point in tables.
        digits_in_terminal: in what the command line says.
        sign: 1 where higher is better, else -1.
        weight: what a sum of scores is divided by: the number of examples, or of their tokens.
        largest: how far a single example can move a sum of scores, as it is shown; 0 where nothing bounds it.
        is_binary: whether every example's score is 0 or 1, so that McNemar's test applies.
        note: a sentence below a table of all scores.
        more: further scores of one language's records together, by name, as they are shown.
    """

    name: str
    shown_as: str
    unit: str
    difference: str
    step: str = "points"
    worth: float = 2.0
    factor: float = 100.0
    digits: int = 2
    digits_in_terminal: int = 1
    sign: Literal[1, -1] = 1
    weight: Literal["examples", "tokens"] = "examples"
    largest: float = 100.0
    is_binary: bool = False
    note: str = "Accuracies, F1 and exact match in per cent."
    more: Callable[[Sequence[Record]], dict[str, float]] = lambda records: {}

    @property
    def higher_is_better(self) -> bool:
        return self.sign > 0

    @property
    def heading(self) -> str:
        """The unit, and which direction is better where that is not the usual one."""
        return self.unit if self.higher_is_better else f"{self.unit}, lower is better"

    def values(self, records: Iterable[Record]) -> Array:
        """One score an example, float64 `[examples]`, as the records have it; NaN where one lacks it."""
        return np.array([record.scores.get(self.name, math.nan) for record in records], dtype=np.float64)

    def weights(self, records: Iterable[Record]) -> Array:
        """What the sum of the scores is divided by, summed: float64 `[examples]`."""
        by_tokens = self.weight == "tokens"
        return np.array([record.tokens if by_tokens else 1 for record in records], dtype=np.float64)

    def mean(self, records: Sequence[Record]) -> float:
        """The score of some examples together, on the scale of the records.

        Raises InputError: there is nothing to divide by, because every text is a single token.
        """
        weight = self.weights(records).sum()
        if not weight:
            raise InputError(f"{self.name}: texts of a single token each have no score; give longer texts")
        return float(self.values(records).sum() / weight)

    def shown(self, records: Sequence[Record]) -> float:
        """As `mean`, on the scale that is shown."""
        return self.factor * self.mean(records)

    def formatted(self, value: float, sign: str = "") -> str:
        """A shown value for the command line; `sign` is "+" for a difference."""
        return f"{round(value, self.digits_in_terminal) + 0.0:{sign}.{self.digits_in_terminal}f}"  # + 0.0: no -0.0


def _per_cent(name: str, **more: Any) -> ScoreScale:
    return ScoreScale(name, name, f"{name}, %", f"difference in {name}, percentage points", **more)


NATS = ScoreScale(
    name="nats",
    shown_as="nats_per_token",
    unit="nats a token",
    difference="difference in nats a token (lower is better)",
    step="nats a token",
    worth=0.02,  # 2 per cent of a perplexity
    factor=1.0,
    digits=4,
    digits_in_terminal=4,
    sign=-1,
    weight="tokens",
    largest=0.0,
    note="Lower is better.",
    more=_perplexity,
)
GOLD_NATS = replace(
    NATS,
    name="gold_nats",
    shown_as="gold_nats",
    unit="nats a token of the right answer",
    difference="difference in nats a token of the right answer (lower is better)",
    weight="examples",  # each question counts the same, however long its answer
    note="gold_nats: nats a token of the right answer, lower is better. Accuracies in per cent.",
    more=lambda records: {},
)

SCALES: Mapping[str, ScoreScale] = {
    scale.name: scale
    for scale in (
        _per_cent("accuracy", is_binary=True, more=_classes),
        _per_cent("f1"),
        _per_cent("exact_match", is_binary=True),
        _per_cent("mlqa_f1"),
        _per_cent("mlqa_exact_match", is_binary=True),
        NATS,
        GOLD_NATS,
    )
}


def scale_of(name: object) -> ScoreScale:
    """Raises InputError: no score of that name."""
    if not isinstance(name, str) or name not in SCALES:
        raise InputError(f"unknown score {name!r}: this version knows {', '.join(SCALES)}")
    return SCALES[name]


def summaries(records: Sequence[Record], main: ScoreScale) -> dict[str, float]:
    """Every score of one method in one language, by the name that is shown, the main one first."""
    others = [scale_of(name) for name in sorted(set(records[0].scores) - {main.name})]
    return {scale.shown_as: scale.shown(records) for scale in (main, *others)} | main.more(records)


@dataclass
class Tally:
    """The main score of one method in one language while it grows: a sum, and what it is divided by."""

    scale: ScoreScale
    examples: int = 0
    _sum: float = 0.0
    _weight: float = 0.0

    def add(self, records: Sequence[Record]) -> None:
        self.examples += len(records)
        self._sum += float(self.scale.values(records).sum())
        self._weight += float(self.scale.weights(records).sum())

    @property
    def value(self) -> float:
        """As it is shown; NaN while there is nothing to divide by."""
        return self.scale.factor * (self._sum / self._weight) if self._weight else math.nan

    @property
    def goodness(self) -> float:
        """The higher the better."""
        return self.scale.sign * self.value

    def __str__(self) -> str:
        return self.scale.formatted(self.value)
