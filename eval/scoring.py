"""The values of `--scoring`: which tasks each is for, and what it makes of a task.

A scoring is a function from a task to the one that a run computes in its place, with another kind, other scores, or
texts that are read after a prompt.  Adding one is adding such a function to the table.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from clas_models.errors import InputError

from .score_scale import GOLD_NATS
from .tasks.task import Answer, Example, Kind, Task

LETTER, CONTINUATION, LIKELIHOOD, HEAD = "letter", "continuation", "likelihood", "head"


@dataclass(frozen=True)
class _Scoring:
    """One value of `--scoring`.

    Attributes:
        scored: a task that it fits, as a run computes it.
        fits: whether it is for a task.
        what: what it is for, in a message about tasks that it does not fit, whose names take the place of {}.
    """

    scored: Callable[[Task], Task]
    fits: Callable[[Task], bool] = lambda task: True
    what: str = ""


def _by_texts(task: Task) -> Task:
    return replace(task, continuations=_choice_texts(task.choice_fields))


def _choice_texts(names: Sequence[str]) -> Callable[[Example], dict[str, str]]:
    return lambda example: {f"the choice {name.upper()}": example.fields[name] for name in names}


def _by_likelihood(task: Task) -> Task:
    if task.kind is Kind.CHOICE:
        return replace(task, metrics=(GOLD_NATS.name, *task.metrics), score_choices=_nats_of_choice)
    return replace(
        task,
        kind=Kind.LIKELIHOOD,
        metrics=(GOLD_NATS.name,),
        score=_nats_of_text,
        continuations=lambda example: {"the right answer": str(example.gold[0])},
        max_new_tokens=0,
    )


def _nats_of_choice(log_p: Sequence[float], example: Example) -> dict[str, float]:
    """`gold_nats`: -log p of the right choice among the choices."""
    return {GOLD_NATS.name: -log_p[int(example.gold[0])]}


def _nats_of_text(answer: Answer, example: Example, language: str) -> dict[str, float]:
    """`gold_nats`: the answer itself."""
    return {GOLD_NATS.name: float(answer)}


def _by_head(task: Task) -> Task:
    """A prompt that is too long loses what several examples share: a text that was trained on must not be refused."""
    return replace(task, by_head=True, cut=task.cut or task.shared)


_SCORINGS: Mapping[str, _Scoring] = {
    LETTER: _Scoring(lambda task: task),
    CONTINUATION: _Scoring(
        _by_texts, lambda task: bool(task.choice_fields), "choices that are texts, which {} has not"
    ),
    LIKELIHOOD: _Scoring(
        _by_likelihood,
        lambda task: task.kind is not Kind.PERPLEXITY,
        "tasks with a right answer, which {} has not, being a likelihood already",
    ),
    HEAD: _Scoring(_by_head, lambda task: bool(task.labels), "choices that are classes, which {} has not"),
}


def check_scoring(name: str, tasks: Sequence[Task]) -> None:
    """Raises InputError: no scoring of that name, or one that is not for all of these tasks."""
    if name not in _SCORINGS:
        raise InputError(f"scoring {name!r}: choose one of {', '.join(_SCORINGS)}")
    scoring = _SCORINGS[name]
    if unfit := [task.name for task in tasks if not scoring.fits(task)]:
        what = scoring.what.format(", ".join(unfit))
        raise InputError(f"scoring {name!r} is for {what}: leave it out, or that task")


def as_scored(task: Task, scoring: str) -> Task:
    """The task that a run computes in place of `task`, one that `check_scoring` lets pass."""
    return _SCORINGS[scoring].scored(task)
