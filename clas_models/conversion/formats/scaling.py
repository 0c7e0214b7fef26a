"""What steering does in one language, as numbers: a factor for each neuron of each bridge layer, and what is added.

With the language fixed, CLAS is a diagonal scaling of the input of `down_proj`, and a vector that acts on all tokens is
a constant behind a layer.  What becomes of them is the business of the forms.

Source: "Cross-Lingual Activation Steering for Multilingual Language Models", sections 2.4 and 2.5.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from ...modeling.language import language_id
from ...modeling.positions import ALL
from ...modeling.steering import neuron_factors
from ...profiling.bridge_layers import format_layers
from ..chosen_masks import Masks
from ..source import Source


@dataclass(frozen=True, eq=False)
class Scaling:
    """One language.

    Attributes:
        alpha, vector_strength: in force for it.
        factors: by layer float32 `[neurons]`, by which the input of its `down_proj` is multiplied.
        added: by layer float32 `[hidden]`, what is added behind it, where that is not 0.
    """

    language: str
    alpha: float
    factors: Mapping[int, Tensor]
    vector_strength: float
    added: Mapping[int, Tensor]

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return not self.added and all(bool((factor == 1).all()) for factor in self.factors.values())


def steering_config(source: Source, **strengths: Any) -> Any:
    """The configuration of a steered source, with other strengths where one is given that is not None.

    Raises InputError: the source is not steered, or has nothing that steers, or a strength is not allowed.
    """
    if not source.is_steered:
        raise InputError(
            f"{source.name}: a plain checkpoint, --format needs a steered one; convert it first, without --format"
        )
    try:
        config: Any = source.config.with_strengths(**strengths)
    except (TypeError, ValueError) as error:
        raise InputError(f"{source.name}: {error}") from error
    if not config.bridge_layers and not config.vector_layers:
        raise InputError(
            f"{source.name}: has no bridge layers and no vectors, so there is nothing to keep; convert it with some"
        )
    return config


def refuse_vectors(source: Source, config: Any) -> None:
    """Raises InputError where vectors act, for a form that scales neurons alone."""
    if config.add_rule.acts:
        raise InputError(
            f"{source.name}: adds vectors after layers {format_layers(config.vector_layers)}, which no scaling of "
            "neurons expresses; give --vector-strength 0 for the neurons alone, or use --format control-vector, or the "
            "steered checkpoint itself"
        )


def refuse_some_tokens(source: Source, config: Any) -> None:
    """Raises InputError where vectors act on some tokens, for a form that knows no prompts."""
    if config.add_rule.acts and config.vector_positions != ALL:
        raise InputError(
            f"{source.name}: its vectors act on some tokens ({config.vector_positions}), and this form adds them to "
            "all, because it cannot know where a prompt ends; give --vector-positions all, or use the checkpoint itself"
        )


def profiled_languages(config: Any) -> tuple[str, ...]:
    """The languages that a configuration names and steers."""
    return tuple(code for code in config.languages if code != config.anchor_language)


def scaling(
    config: Any,
    masks: Masks,
    language: str,
    vectors: Mapping[int, Tensor] | None = None,
    fitted: Mapping[int, tuple[Tensor, Tensor]] | None = None,
) -> Scaling:
    """What is done in a language, by its code, with a configuration as `steering_config` gives it.

    It is computed in float64 and rounded once, as on a steered model; see `neuron_factors`.

    Args:
        vectors: of the source by layer, floating `[languages, hidden]`.
        fitted: where strengths are, by layer the third mask, bool `[neurons]`, and floating `[languages + 1, 4]`.

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
    strengths, vector_strength = config.scale_rule.strengths, config.add_rule.strengths[index]
    factors = {}
    for layer, pair in masks.items():
        all_shared, table = (fitted or {}).get(layer, (None, None))
        factors[layer] = neuron_factors(*pair, strengths.scales(table)[index], all_shared).to(torch.float32)
    products = {layer: vector_strength * table[index].double() for layer, table in (vectors or {}).items()}
    added = {layer: product.to(torch.float32) for layer, product in products.items() if bool(product.any())}
    return Scaling(code, strengths.alpha[index], factors, vector_strength, added)
