"""The arithmetic of CLAS: which strength a language has, and by what it multiplies a neuron.

Plain tensors and numbers; no model code.  The categories of neurons come from profiling, the strengths from the
configuration or from a table that was fitted, and the ids of the languages from `language.py`.

A neuron of category c in layer l is multiplied by 1 + alpha * s[language, l, c].  In the paper s is beta for
partial-shared neurons and -gamma for language-specific ones, in every language and bridge layer, and 0 for the others.

Source: "Cross-Lingual Activation Steering for Multilingual Language Models", sections 2.4 and 2.5.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.utils import logging

logger = logging.get_logger(__name__)

# The columns of a table of strengths, in the order of `Category`.
_TOLD = ("dead", "specific", "shared", "all-shared")
CATEGORIES = ("dead", "language-specific", "partial-shared", "all-shared")


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

    def scales(self, fitted: Tensor | None = None) -> Tensor:
        """The factor of a neuron by language id and category, float64 `[ids, 4]` on the CPU.

        Args:
            fitted: s of one layer, floating `[ids, 4]`; None is the paper's, of beta and gamma.
        """
        alpha = torch.tensor(self.alpha, dtype=torch.float64, device="cpu")
        if fitted is None:
            strengths = torch.tensor([[0.0, -self.gamma, self.beta, 0.0]], dtype=torch.float64, device="cpu")
        else:
            strengths = fitted.to("cpu", torch.float64)
        return 1 + alpha[:, None] * strengths


def negative_factors(strengths: Strengths, languages: Sequence[str], fitted: Tensor | None = None) -> str:
    """What to warn of: the languages in which a factor is below 0, so that neurons change their sign; "" if none.

    `fitted` as for `Strengths.scales`.
    """
    codes = (*languages, "default")
    told = [
        f"{code} (alpha {alpha:g}): {factor:g} for {which} neurons"
        for code, alpha, factors in zip(codes, strengths.alpha, strengths.scales(fitted).tolist(), strict=True)
        for which, factor in zip(_TOLD, factors, strict=True)
        if factor < 0
    ]
    return f"strengths turn the sign of neurons, with factors below 0: {'; '.join(told)}" if told else ""


def warn_of_negative_factors(strengths: Strengths, languages: Sequence[str], fitted: Tensor | None = None) -> None:
    """Says it once for the same strengths."""
    if negative := negative_factors(strengths, languages, fitted):
        logger.warning_once(negative)


def neuron_factors(
    shared_mask: Tensor, specific_mask: Tensor, scales: Tensor, all_shared_mask: Tensor | None = None
) -> Tensor:
    """The factor of every neuron: CLAS, section 2.4, with the three steps multiplied out.

        h1 = h * (1 + beta * M_shared);  h2 = h1 * (1 - gamma * M_specific);  h_final = (1 - alpha) * h + alpha * h2

    The masks never overlap, so h_final is h times 1 + alpha beta where a neuron is shared, 1 - alpha gamma where it is
    specific, and 1 elsewhere.  With alpha = 0 (the anchor, section 2.5) all factors are exactly 1, which keeps every
    bit.

    Args:
        shared_mask, specific_mask, all_shared_mask: bool `[neurons]`, disjoint: the neurons of three categories; all
            others have the factor of dead ones, which is 1 in the paper's rule, as is that of all-shared ones.
        scales: floating `[…, 4]`, rows of `Strengths.scales`, in the dtype that the factors shall have.

    Returns:
        `[…, neurons]` in the dtype of `scales`.
    """
    dead, specific, shared, all_shared = scales[..., None].unbind(-2)
    others = dead if all_shared_mask is None else torch.where(all_shared_mask, all_shared, dead)
    return torch.where(shared_mask, shared, torch.where(specific_mask, specific, others))
