"""The conditions that prompts are answered under: strengths, and the language that the model acts as for."""

from collections.abc import Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from clas_models.command_line import CONVERT
from clas_models.errors import InputError
from clas_models.modeling.add import Add
from clas_models.modeling.language import language_id
from clas_models.modeling.scale import Scale

from .decoder import SplitDecoder

# Any strengths, as `set_steering` takes them; what is not there stays as it is on the model.  And perhaps "language":
# the code of the language that the model acts as for, where that is not the prompts' own.
Condition: TypeAlias = Mapping[str, Any]
AS_IT_IS: Sequence[Condition] = ({},)


def in_force(decoder: SplitDecoder, condition: Condition) -> AbstractContextManager[None]:
    """The strengths for the length of a `with` block; what was in force comes back, also after an exception.

    Raises:
        InputError: strengths are given, and the model is not a steered one.
        TypeError, ValueError: a strength is not allowed.
    """
    strengths = {name: value for name, value in condition.items() if name != "language"}
    if not strengths:
        return nullcontext()
    if not decoder.is_steered:
        raise InputError(
            f"{', '.join(strengths)}: {type(decoder.model).__name__} is not steered; convert it first with {CONVERT}"
        )
    return decoder.model.temporary_steering(**strengths)


@dataclass(frozen=True)
class DistinctConditions:
    """Conditions without those that repeat another one's arithmetic.

    In the anchor language all strengths are one, and wherever alpha is 0 beta and gamma change nothing.

    Attributes:
        conditions: those that must be computed, each with its "language".
        index: for every condition that was asked for, where its like stands in `conditions`.
    """

    conditions: tuple[Condition, ...]
    index: tuple[int, ...]

    @classmethod
    def of(cls, decoder: SplitDecoder, language: str, conditions: Sequence[Condition]) -> Self:
        """Compares what the rules in force do to a row under each condition.

        Args:
            language: of the prompts.

        Raises:
            InputError: there are none, or strengths are given and the model is not a steered one.
            TypeError, ValueError: a strength is not allowed, or a language is not a language code.
        """
        if not conditions:
            raise InputError("conditions: there are none; give at least one, {} for what is in force on the model")
        places: dict[Hashable, int] = {}
        distinct: list[Condition] = []
        index = []
        for condition in conditions:
            condition = {"language": language, **condition}
            row = decoder.language_id(condition["language"])
            with in_force(decoder, condition):
                effects = tuple(_effect(rule, decoder, row) for rule in decoder.rules)
            if effects not in places:
                places[effects] = len(distinct)
                distinct.append(condition)
            index.append(places[effects])
        return cls(tuple(distinct), tuple(index))


def _effect(rule: Any, decoder: SplitDecoder, row: int) -> Hashable:
    """What a rule does to rows of a language id: the same value, the same arithmetic."""
    if isinstance(rule, Scale):
        return tuple(rule.strengths.scales()[row].tolist())
    if isinstance(rule, Add):
        return (row, rule.strengths[row]) if rule.strengths[row] else None
    known = decoder.config.languages
    written = [bool(mask.any()) for mask in rule.masks]
    ids = [language_id(code, known) for code in rule.languages or known]
    return row if any(writes and id_ == row for id_, writes in zip(ids, written, strict=True)) else None
