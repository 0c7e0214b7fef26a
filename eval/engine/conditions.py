"""The conditions that prompts are answered under: strengths, and the language that the model acts as for."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from clas_models.command_line import CONVERT
from clas_models.errors import InputError
from clas_models.modeling.add import Add
from clas_models.modeling.language import language_id
from clas_models.modeling.scale import Scale
from clas_models.modeling.steering import CATEGORIES

from .decoder import LowerState, Seen, SplitDecoder

# Any strengths, as `set_steering` takes them; what is not there stays as it is on the model.  Perhaps "vectors": the
# strength of the vectors of each layer, as `vector_strength`; layers that are not there have 0.  And perhaps
# "language": the code of the language that the model acts as for, where that is not the prompts' own.
Condition: TypeAlias = Mapping[str, Any]
AS_IT_IS: Sequence[Condition] = ({},)
VECTORS = "vectors"
_NOTHING = ((1.0,) * len(CATEGORIES), (0.0, None))  # what `Scale` does where it changes nothing: paper's, and fitted


@contextmanager
def in_force(decoder: SplitDecoder, condition: Condition) -> Iterator[None]:
    """The strengths for the length of a `with` block; what was in force comes back, also after an exception.

    Raises:
        InputError: strengths are given and the model is not a steered one, or vectors of a layer that has none.
        TypeError, ValueError: a strength is not allowed.
    """
    strengths = {name: value for name, value in condition.items() if name not in ("language", VECTORS)}
    told = [name for name in condition if name != "language"]
    if told and not decoder.is_steered:
        raise InputError(
            f"{', '.join(told)}: {type(decoder.model).__name__} is not steered; convert it first with {CONVERT}"
        )
    with decoder.model.temporary_steering(**strengths) if strengths else nullcontext():
        if VECTORS not in condition:
            yield
            return
        by_layer = _strengths_by_layer(decoder, condition[VECTORS])
        adds = decoder.adds
        before = {layer: add.strengths for layer, add in adds.items()}
        nothing = (0.0,) * (len(decoder.config.languages) + 1)
        for layer, add in adds.items():
            add.set_strengths(by_layer.get(layer, nothing))
        try:
            yield
        finally:
            for layer, add in adds.items():
                add.set_strengths(before[layer])


def _strengths_by_layer(decoder: SplitDecoder, vectors: Mapping[int, Any]) -> dict[int, tuple[float, ...]]:
    if missing := sorted(set(vectors) - set(decoder.adds)):
        raise InputError(f"vectors of layers {missing}: the model has some after layers {sorted(decoder.adds)}")
    config = decoder.config
    return {
        layer: config.with_strengths(vector_strength=strength).add_rule.strengths for layer, strength in vectors.items()
    }


@dataclass(frozen=True)
class Effect:
    """What the rules in force do to rows of a language: the same value, the same arithmetic.

    Attributes:
        others: what rules other than `Add` do.
        vectors: layers and strengths of the vectors that are added, those that move nothing left out.
        row: the language whose vectors these are; None without any.
        others_start: the first layer in which other rules change anything.
        start: the first layer that sees a change; a vector is added after its own.
    """

    others: Hashable
    vectors: tuple[tuple[int, float], ...]
    row: int | None
    others_start: int
    start: int

    @classmethod
    def of(cls, decoder: SplitDecoder, row: int) -> Self:
        others, starts = [], [len(decoder.layers)]
        for rule in decoder.rules:
            if not isinstance(rule, Add):
                others.append(_other_effect(rule, decoder, row))
                if not isinstance(rule, Scale) or others[-1] not in _NOTHING:
                    starts += rule.layers
        vectors = tuple((layer, add.strengths[row]) for layer, add in decoder.adds.items() if add.moves(row))
        start = min(starts)
        after = min((layer + 1 for layer, _ in vectors), default=start)
        return cls(tuple(others), vectors, row if vectors else None, start, min(start, after))


@dataclass(frozen=True)
class DistinctConditions:
    """Conditions without those that repeat another one's arithmetic.

    In the anchor language all strengths are one, and wherever alpha is 0 beta and gamma change nothing.

    Attributes:
        conditions: those that must be computed, each with its "language".
        effects: of each of these.
        index: for every condition that was asked for, where its like stands in `conditions`.
    """

    conditions: tuple[Condition, ...]
    effects: tuple[Effect, ...]
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
        places: dict[Effect, int] = {}
        distinct: list[Condition] = []
        index = []
        for condition in conditions:
            condition = {"language": language, **condition}
            row = decoder.language_id(condition["language"])
            with in_force(decoder, condition):
                effect = Effect.of(decoder, row)
            if effect not in places:
                places[effect] = len(distinct)
                distinct.append(condition)
            index.append(places[effect])
        return cls(tuple(distinct), tuple(places), tuple(index))

    def by_start(self) -> list[int]:
        """Places in `conditions`, those first whose first changed layer is the lowest."""
        return sorted(range(len(self.conditions)), key=lambda place: self.effects[place].start)


def without_vectors(decoder: SplitDecoder, condition: Condition) -> Condition:
    """The condition with all vectors at 0."""
    if not decoder.adds:
        return condition
    return {**condition, VECTORS: {}} if VECTORS in condition else {**condition, "vector_strength": 0.0}


def advanced(
    decoder: SplitDecoder, state: LowerState, distinct: DistinctConditions, place: int, seen: Seen | None = None
) -> LowerState:
    """The state after the layers in which nothing acts under a condition; a branch of it can go on with `upper`."""
    condition = distinct.conditions[place]
    with in_force(decoder, without_vectors(decoder, condition)):
        return decoder.advance(state, distinct.effects[place].start, condition["language"], seen)


def _other_effect(rule: Any, decoder: SplitDecoder, row: int) -> Hashable:
    if isinstance(rule, Scale):
        # The table of a language is its own, so what is done to two of them is the same at alpha 0 alone.
        alpha = rule.strengths.alpha[row]
        return (alpha, row if alpha else None) if rule.fitted else tuple(rule.strengths.scales()[row].tolist())
    known = decoder.config.languages
    written = [bool(mask.any()) for mask in rule.masks]
    ids = [language_id(code, known) for code in rule.languages or known]
    return row if any(writes and id_ == row for id_, writes in zip(ids, written, strict=True)) else None
