"""The main score of one method in one language while it grows; intervals and everything else is the report's."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .run_folder import Record
from .tasks import Kind, Task

PERPLEXITY_UNIT = "nats a token"


@dataclass
class Tally:
    """A sum of scores and what it is divided by: examples, or tokens for a perplexity."""

    task: Task
    examples: int = 0
    _sum: float = 0.0
    _weight: int = 0

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            self.examples += 1
            self._sum += record.scores[self.task.metrics[0]]
            self._weight += record.tokens if self.task.kind is Kind.PERPLEXITY else 1

    @property
    def value(self) -> float:
        """0 to 100, or nats a token for a perplexity; NaN while there is nothing to divide by."""
        if not self._weight:
            return math.nan
        return self._sum / self._weight * (1 if self.task.kind is Kind.PERPLEXITY else 100)

    @property
    def goodness(self) -> float:
        """The higher the better."""
        return -self.value if self.task.kind is Kind.PERPLEXITY else self.value

    def __str__(self) -> str:
        return format_score(self.value, self.task)


def format_score(value: float, task: Task, sign: str = "") -> str:
    """With as many digits as its scale asks for; `sign` is "+" for a difference."""
    digits = 4 if task.kind is Kind.PERPLEXITY else 1
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"  # + 0.0: no negative zero


def unit(task: Task) -> str:
    """What the main score of a task is, for the head of a table."""
    return PERPLEXITY_UNIT if task.kind is Kind.PERPLEXITY else f"{task.metrics[0]}, %"
