"""The settings of a grid: which strengths are in force, and which of them give the same results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

from clas_models.errors import InputError
from clas_models.modeling.language import language_id

from .decoder import SplitDecoder

# Any of alpha (a number, or language -> number with the key "default"), beta and gamma, as `set_steering` takes them;
# what is not there stays as it is on the model.
Setting: TypeAlias = Mapping[str, Any]


def in_force(decoder: SplitDecoder, setting: Setting) -> AbstractContextManager[None]:
    """The setting for the length of a `with` block; what was in force comes back, also after an exception.

    Raises:
        InputError: strengths are given, and the model is not a steered one.
        TypeError, ValueError: a strength is not allowed.
    """
    if not setting:
        return nullcontext()
    if not hasattr(decoder.model, "temporary_steering"):
        raise InputError(
            f"{', '.join(setting)}: {type(decoder.model).__name__} is not steered; convert it first with convert.py"
        )
    return decoder.model.temporary_steering(**setting)


@dataclass(frozen=True)
class DistinctSettings:
    """Settings without those that repeat another one's arithmetic.

    In the anchor language all settings are one, and wherever alpha is 0 beta and gamma change nothing.

    Attributes:
        settings: those that must be computed.
        index: for every setting that was asked for, where its like stands in `settings`.
    """

    settings: tuple[Setting, ...]
    index: tuple[int, ...]

    @classmethod
    def of(cls, decoder: SplitDecoder, language: str, settings: Sequence[Setting]) -> DistinctSettings:
        """Compares the factors that the model's own layers hold under each setting.

        Raises:
            InputError: there are none, or strengths are given and the model is not a steered one.
            TypeError, ValueError: a strength is not allowed, or `language` is not a language code.
        """
        if not settings:
            raise InputError("settings: there are none; give at least one, {} for what is in force on the model")
        places: dict[tuple[float, ...], int] = {}
        distinct: list[Setting] = []
        index = []
        for setting in settings:
            before = getattr(decoder.config, "overwrite", None)
            with in_force(decoder, setting):
                if getattr(decoder.config, "overwrite", None) != before:
                    raise InputError("settings: overwrite reaches below the upper layers; switch it for all of them")
                factors = _factors(decoder, language)
            if factors not in places:
                places[factors] = len(distinct)
                distinct.append(setting)
            index.append(places[factors])
        return cls(tuple(distinct), tuple(index))


def _factors(decoder: SplitDecoder, language: str) -> tuple[float, ...]:
    if not decoder.bridge_layers:
        return ()
    code = language_id(language, decoder.config.languages)
    return tuple(decoder.layers[decoder.bridge_layers[0]].mlp.row_scales[code].flatten().tolist())
