"""What steering does in one language, as numbers: a factor for each neuron of each bridge layer.

With the language fixed, CLAS is a diagonal scaling of the input of `down_proj`.  Reads masks and strengths of a
checkpoint on disk; what becomes of the factors is the business of the forms.

Source: "Cross-Lingual Activation Steering for Multilingual Language Models", sections 2.4 and 2.5.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from ...modeling.language import language_id
from ...modeling.steering import neuron_factors
from ...profiling.bridge_layers import format_layers
from ..chosen_masks import Masks
from ..source import Source


@dataclass(frozen=True, eq=False)
class Scaling:
    """One language: `factors[layer]`, float32 `[neurons]`, multiplies the input of that layer's `down_proj`."""

    language: str
    alpha: float
    factors: Mapping[int, Tensor]

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return all(bool((factor == 1).all()) for factor in self.factors.values())


def steering_config(source: Source, **strengths: Any) -> Any:
    """The configuration of a steered source, with other strengths where one is given that is not None.

    Raises InputError: the source is not steered, or steers in a way that factors cannot express, or a strength is not
    allowed.
    """
    if not source.is_steered:
        raise InputError(
            f"{source.name}: a plain checkpoint, --format needs a steered one; convert it first, without --format"
        )
    try:
        config: Any = source.config.with_strengths(**strengths)
    except (TypeError, ValueError) as error:
        raise InputError(f"{source.name}: {error}") from error
    if config.add_rule.acts:
        raise InputError(
            f"{source.name}: adds vectors after layers {format_layers(config.vector_layers)}, which no scaling of "
            "neurons expresses; use the steered checkpoint itself, or save it again after "
            "set_steering(vector_strength=0)"
        )
    if not config.bridge_layers:
        raise InputError(f"{source.name}: has no bridge layers, so there is nothing to scale; convert it with some")
    return config


def profiled_languages(config: Any) -> tuple[str, ...]:
    """The languages that a configuration names and steers."""
    return tuple(code for code in config.languages if code != config.anchor_language)


def scaling(config: Any, masks: Masks, language: str) -> Scaling:
    """The factors of a language, by its code, with a configuration as `steering_config` gives it; see `neuron_factors`.

    They are computed in float64 and rounded once, as on a steered model.

    Raises InputError: it is no language, one that was not profiled, or the anchor language.
    """
    try:
        index = language_id(language, config.languages)
    except ValueError as error:
        raise InputError(str(error)) from error
    if index == len(config.languages):
        raise InputError(
            f"language {language!r}: the checkpoint was profiled for {', '.join(config.languages)} and not for it, so "
            "there is nothing to keep for good; name one of these, or convert the model again with it among --languages"
        )
    code = config.languages[index]
    if code == config.anchor_language:
        raise InputError(
            f"language {code!r}: {config.anchor_language} is the anchor language, which is never steered; use the "
            f"plain base model for it, or name another one, such as {', '.join(profiled_languages(config)[:3])}"
        )
    strengths = config.scale_rule.strengths
    scales = strengths.scales()[index]
    factors = {layer: neuron_factors(*pair, scales).to(torch.float32) for layer, pair in masks.items()}
    return Scaling(code, strengths.alpha[index], factors)
