"""Multiple choice in general: a question on a passage, four answers, and the letter of the right one.

A task of this kind brings a name and a loader; `belebele.py` is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .task import Answer, Example, ExampleSource, Kind, Task

LETTERS = ("A", "B", "C", "D")
ANSWER_FIELDS = ("a", "b", "c", "d")


def score_choice(answer: Answer, example: Example, language: str) -> dict[str, float]:
    """`accuracy`: 1 for the right index, else 0."""
    return {"accuracy": float(answer == example.gold[0])}


def multiple_choice_task(
    name: str, load: Callable[[Sequence[str] | None, ExampleSource], dict[str, list[Example]]]
) -> Task:
    """The task of a multiple-choice benchmark.

    Args:
        name: as users write it.
        load: as `Task.load`; the examples have the fields `passage`, `question` and `ANSWER_FIELDS`, and an index into
            `LETTERS` as the right answer.
    """
    return Task(
        name=name,
        kind=Kind.CHOICE,
        template="multiple_choice",
        choices=LETTERS,
        cut="passage",
        max_new_tokens=0,
        metrics=("accuracy",),
        load=load,
        score=score_choice,
    )
