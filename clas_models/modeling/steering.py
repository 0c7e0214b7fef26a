"""The arithmetic of CLAS: which strength a language has, and what it does to a neuron.

Plain tensors and numbers; no model code.  The masks come from profiling, the strengths from the configuration, and
the ids of the languages from `language.py`.

Source: "Cross-Lingual Activation Steering for Multilingual Language Models", sections 2.4 and 2.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Strengths:
    """What is in force for every language id: `alpha[i]` for id `i`, and the shared `beta` and `gamma`.

    The last id stands for every language that was not profiled; the anchor's alpha is exactly 0.
    """

    alpha: tuple[float, ...]
    beta: float
    gamma: float

    @classmethod
    def of(
        cls,
        languages: list[str],
        anchor_language: str,
        alpha: float | Mapping[str, float],
        beta: float,
        gamma: float,
    ) -> Strengths:
        """Strengths for the ids 0 .. len(languages), from values that the configuration has already checked."""
        named = alpha if isinstance(alpha, Mapping) else {"default": alpha}
        by_id = [0.0 if code == anchor_language else float(named.get(code, named["default"])) for code in languages]
        return cls((*by_id, float(named["default"])), float(beta), float(gamma))

    def row_scales(self) -> Tensor:
        """float64 `[ids, 2, 1, 1]`: the factor of a shared neuron, 1 + alpha beta, and of a specific one,
        1 - alpha gamma; the last two axes are those of tokens and neurons.
        """
        alpha = torch.tensor(self.alpha, dtype=torch.float64, device="cpu")
        return torch.stack((1 + alpha * self.beta, 1 - alpha * self.gamma), dim=1)[..., None, None]


def steer(h: Tensor, shared_mask: Tensor, specific_mask: Tensor, row_scales: Tensor, language_ids: Tensor) -> Tensor:
    """Rescale the input of `down_proj` by CLAS, section 2.4, with the three steps multiplied out.

    The masks never overlap, so h_final = (1 - alpha) h + alpha h_2 is one product with a factor for each neuron:
    1 + alpha beta where it is shared, 1 - alpha gamma where it is specific, and 1 elsewhere.  A row whose alpha is 0
    is multiplied by exactly 1 and keeps its bits (section 2.5), without a branch.

    Args:
        h: `[batch, tokens, neurons]`, any floating dtype.
        shared_mask, specific_mask: bool `[neurons]`, disjoint.
        row_scales: floating `[ids, 2, 1, 1]`, see `Strengths.row_scales`.
        language_ids: int64 `[batch]`, values in `0 .. ids - 1`.

    Returns:
        `[batch, tokens, neurons]` in the dtype of `h`.

    Raises:
        IndexError: an id is out of range (on an accelerator, the device's own assertion).
    """
    shared, specific = row_scales.index_select(0, language_ids).to(h.dtype).unbind(1)
    return h * torch.where(shared_mask, shared, torch.where(specific_mask, specific, 1.0))
