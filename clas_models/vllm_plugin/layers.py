"""The steered MLP of a bridge layer in vLLM: the factors of its neurons, sharded with them, and the product before
`down_proj`.

Source: "Cross-Lingual Activation Steering for Multilingual Language Models", sections 2.4 and 2.5.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..modeling.masks import check_masks
from ..modeling.steering import Strengths, neuron_factors
from .languages import TokenLanguages


class SteeredMLP(nn.Module):
    """A gated MLP of vLLM with the rule of `modeling/steering.py`; its layers are taken over, under the same names.

    Args:
        plain: the MLP that vLLM built, of any family with `gate_up_proj`, `act_fn` and `down_proj`.
        strengths: what is in force, for the life of the engine.
        languages: the languages of a step's tokens, shared by all bridge layers.
        dtype: of the model's activations.

    Buffers:
        factors: `[languages + 1, neurons of this rank]`, in the dtype of the activations: what a neuron is multiplied
            by.
    """

    gate_up_proj: Any
    act_fn: Any
    down_proj: Any
    factors: Tensor

    def __init__(self, plain: Any, strengths: Strengths, languages: TokenLanguages, dtype: torch.dtype) -> None:
        super().__init__()
        self.gate_up_proj, self.act_fn, self.down_proj = plain.gate_up_proj, plain.act_fn, plain.down_proj
        self.strengths, self.languages = strengths, languages
        factors = torch.ones(len(strengths.alpha), self.down_proj.input_size_per_partition, dtype=dtype)
        self.register_buffer("factors", factors, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[tokens, hidden]` to the same shape."""
        gate_up, _ = self.gate_up_proj(x)
        h = self.act_fn(gate_up)
        h = h * self.factors.index_select(0, self.languages.language_ids[: h.shape[0]])
        out, _ = self.down_proj(h)
        return out

    def fill_factors(self, layer: int, shared_mask: Tensor, specific_mask: Tensor) -> None:
        """Make the table from the shared and the specific mask, bool `[neurons]`; in place, so that graphs stay valid.

        Raises InputError: a mask has another dtype or shape, or the two overlap.
        """
        part = self.factors.shape[1]
        try:
            check_masks(layer, shared_mask, specific_mask, self.down_proj.input_size)
        except ValueError as error:
            raise InputError(f"{error}; or convert the model again") from error
        shared, specific = (
            mask.cpu().narrow(0, self.down_proj.tp_rank * part, part) for mask in (shared_mask, specific_mask)
        )
        # Rounded as on a model of transformers: through float32, whatever the dtype of the activations.
        scales = self.strengths.scales().to(torch.float32).to(self.factors.dtype)
        self.factors.copy_(neuron_factors(shared, specific, scales))


def steer_layers(decoder: Any, config: Any, languages: TokenLanguages, dtype: torch.dtype) -> dict[int, SteeredMLP]:
    """Put a steered MLP into every bridge layer that this rank of the pipeline runs."""
    steered, strengths = {}, config.scale_rule.strengths
    for index in config.bridge_layers:
        if decoder.start_layer <= index < decoder.end_layer:
            layer = decoder.layers[index]
            layer.mlp = steered[index] = SteeredMLP(layer.mlp, strengths, languages, dtype)
    return steered
