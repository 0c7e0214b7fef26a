"""The arithmetic of CLAS: which strength a language has, and by what it multiplies a neuron.

Plain tensors and numbers; no model code.  The masks come from profiling, the strengths from the configuration, and
the ids of the languages from `language.py`.

Source: "Cross-Lingual Activation Steering for Multilingual Language Models", sections 2.4 and 2.5.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.utils import logging

logger = logging.get_logger(__name__)


def by_language_id(
    value: float | Mapping[str, float], languages: Sequence[str], anchor_language: str
) -> tuple[float, ...]:
    """A strength for the ids 0 .. len(languages): 0 for the anchor; the last is that of languages not profiled.

    Args:
        value: one number for all, or by language with the key "default"; checked by the configuration.
    """
    named = value if isinstance(value, Mapping) else {"default": value}
    by_id = [0.0 if code == anchor_language else float(named.get(code, named["default"])) for code in languages]
    return (*by_id, float(named["default"]))


@dataclass(frozen=True)
class Strengths:
    """What is in force for every language id: `alpha[i]` for id `i`, and the shared `beta` and `gamma`.

    The last id stands for every language that was not profiled; the anchor's alpha is exactly 0.
    """

    alpha: tuple[float, ...]
    beta: float
    gamma: float

    def scales(self) -> Tensor:
        """float64 `[ids, 2]`: the factor of a shared neuron, 1 + alpha beta, and of a specific one, 1 - alpha gamma."""
        alpha = torch.tensor(self.alpha, dtype=torch.float64, device="cpu")
        return torch.stack((1 + alpha * self.beta, 1 - alpha * self.gamma), dim=1)


def negative_factors(strengths: Strengths, languages: Sequence[str]) -> str:
    """What to warn of: the languages in which a factor is below 0, so that neurons change their sign; "" if none."""
    codes = (*languages, "default")
    told = [
        f"{code} (alpha {alpha:g}): {factor:g} for {which} neurons"
        for code, alpha, factors in zip(codes, strengths.alpha, strengths.scales().tolist(), strict=True)
        for which, factor in zip(("shared", "specific"), factors, strict=True)
        if factor < 0
    ]
    return f"strengths turn the sign of neurons, with factors below 0: {'; '.join(told)}" if told else ""


def warn_of_negative_factors(strengths: Strengths, languages: Sequence[str]) -> None:
    """Says it once for the same strengths."""
    if negative := negative_factors(strengths, languages):
        logger.warning_once(negative)


def neuron_factors(shared_mask: Tensor, specific_mask: Tensor, scales: Tensor) -> Tensor:
    """The factor of every neuron: CLAS, section 2.4, with the three steps multiplied out.

        h1 = h * (1 + beta * M_shared);  h2 = h1 * (1 - gamma * M_specific);  h_final = (1 - alpha) * h + alpha * h2

    The masks never overlap, so h_final is h times 1 + alpha beta where a neuron is shared, 1 - alpha gamma where it is
    specific, and 1 elsewhere.  With alpha = 0 (the anchor, section 2.5) all factors are exactly 1, which keeps every
    bit.

    Args:
        shared_mask, specific_mask: bool `[neurons]`, disjoint.
        scales: floating `[…, 2]`, rows of `Strengths.scales`, in the dtype that the factors shall have.

    Returns:
        `[…, neurons]` in the dtype of `scales`.
    """
    shared, specific = scales[..., None].unbind(-2)
    return torch.where(shared_mask, shared, torch.where(specific_mask, specific, 1.0))
