"""The main score of one method in one language while it grows; intervals and everything else is the report's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .run_folder import Record
from .score_scale import ScoreScale


@dataclass
class Tally:
    """A sum of scores and what it is divided by."""

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
