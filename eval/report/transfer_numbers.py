"""The numbers of each method that the report's tables on consistency and transfer show, and how they are written."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..analysis.answers import Answers, Records, are_choices, paired_answers, parallel_answers
from ..analysis.transfer import RELATIONS, Measures, measure, near_chance
from ..analysis.transfer_difference import TransferDifference, transfer_difference
from ..tasks import TASKS
from .collect import TaskResults
from .table import Cell, score

_SHARES = 3  # digits of all quantities but accuracy
RECEIVED = (
    "→ tr+ and → tr− are what a language receives, the means from all other languages to it; cons. is its mean with "
    "all others."
)


@dataclass(frozen=True)
class MethodTransfer:
    """One method of a task.

    Attributes:
        near: what is said of the languages that are not surely better than guessing.
    """

    name: str
    answers: Answers
    measures: Measures
    near: Mapping[str, str]

    @property
    def above(self) -> tuple[str, ...]:
        return tuple(code for code in self.answers.languages if code not in self.near)


def has_choices(task: TaskResults) -> bool:
    """Whether the task's answers are choices, which is what all of this is about."""
    return are_choices(record for records in task.records.values() for record in records.values())


def method_transfers(task: TaskResults) -> list[MethodTransfer]:
    """Every method that has answered a question in all its languages."""
    found = ((name, parallel_answers(_records_of(task, name), _chance(task))) for name in task.methods)
    return [MethodTransfer(name, each, measure(each), near_chance(each)) for name, each in found if each]


def differences(task: TaskResults) -> dict[str, TransferDifference]:
    """Every method against the base, where both have answered the same questions in two languages or more."""
    if task.base is None:
        return {}
    base, chance = _records_of(task, task.base), _chance(task)
    others = (method for method in task.methods if method != task.base)
    pairs = {method: paired_answers(base, _records_of(task, method), chance) for method in others}
    return {
        method: transfer_difference(*pair, task.anchor)
        for method, pair in pairs.items()
        if pair and len(pair[0].languages) > 1
    }


def _chance(task: TaskResults) -> float | None:
    return TASKS[task.task].chance if task.task in TASKS else None


def _records_of(task: TaskResults, method: str) -> dict[str, Records]:
    return {code: task.records[method, code] for code in task.languages if (method, code) in task.records}


def title_of(name: str, anchor: str = "") -> str:
    """A quantity as a table names it."""
    if name == "accuracy":
        return "accuracy, %"
    relation, *rest = name.split()
    symbol = {"consistency": "cons.", "positive": "tr+", "negative": "tr−"}[relation]
    return " ".join([symbol, *(anchor if word == "anchor" else word for word in rest)])


def received(name: str, anchor: str) -> str:
    """The same in a table by language."""
    return f"→ {title_of(name)}" if name in RELATIONS[1:] else title_of(name, anchor)


def factor_of(name: str) -> float:
    """To what is shown: accuracies are in per cent."""
    return 100.0 if name == "accuracy" else 1.0


def digits_of(name: str) -> int:
    return 2 if name == "accuracy" else _SHARES


def shown(name: str, value: float) -> Cell:
    return score(factor_of(name) * float(value), digits_of(name))
