"""Scores of choices, as the tasks of that kind share them."""

from __future__ import annotations

from collections.abc import Sequence

from ..metrics.classification import accuracy, macro_f1
from .task import Answer, Example


def score_choice(answer: Answer, example: Example, language: str) -> dict[str, float]:
    """`accuracy`: 1 for the right index, else 0."""
    return {"accuracy": float(answer == example.gold[0])}


def summarize_accuracy(answers: Sequence[Answer], examples: Sequence[Example], language: str) -> dict[str, float]:
    """`accuracy`, 0 to 100."""
    return {"accuracy": 100 * accuracy(*_indices(answers, examples))}


def summarize_classes(answers: Sequence[Answer], examples: Sequence[Example], language: str) -> dict[str, float]:
    """`accuracy`, and `macro_f1` over the classes that are predicted or right at least once; both 0 to 100."""
    predicted, gold = _indices(answers, examples)
    return {"accuracy": 100 * accuracy(predicted, gold), "macro_f1": 100 * macro_f1(predicted, gold)}


def _indices(answers: Sequence[Answer], examples: Sequence[Example]) -> tuple[list[int], list[int]]:
    return [int(answer) for answer in answers], [int(example.gold[0]) for example in examples]
