"""The steered MLP of a bridge layer in vLLM: its masks, sharded with the neurons, and the product before `down_proj`.

Source: "Cross-Lingual Activation Steering for Multilingual Language Models", sections 2.4 and 2.5.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from vllm.model_executor.utils import set_weight_attrs

from ..errors import InputError
from ..modeling.steering import Strengths
from .languages import TokenLanguages

MASKS = ("shared_mask", "specific_mask")


class SteeredMLP(nn.Module):
    """A gated MLP of vLLM with the rule of `modeling/steering.py`; its layers are taken over, under the same names.

    Args:
        plain: the MLP that vLLM built, of any family with `gate_up_proj`, `act_fn` and `down_proj`.
        strengths: what is in force, for the life of the engine.
        languages: the languages of a step's tokens, shared by all bridge layers.
        dtype: of the model's activations.

    Parameters:
        shared_mask, specific_mask: bool `[neurons of this rank]`.

    Buffers:
        factors: `[languages + 1, neurons of this rank]`, in the dtype of the activations: what a neuron is multiplied
            by.  One table instead of masks and two numbers: a lookup and a product are all that a step adds.
    """

    gate_up_proj: Any
    act_fn: Any
    down_proj: Any
    shared_mask: Tensor
    specific_mask: Tensor
    factors: Tensor

    def __init__(self, plain: Any, strengths: Strengths, languages: TokenLanguages, dtype: torch.dtype) -> None:
        super().__init__()
        self.gate_up_proj, self.act_fn, self.down_proj = plain.gate_up_proj, plain.act_fn, plain.down_proj
        self.strengths, self.languages = strengths, languages
        neurons = self.down_proj.input_size_per_partition
        for name in MASKS:
            mask = nn.Parameter(torch.zeros(neurons, dtype=torch.bool), requires_grad=False)
            set_weight_attrs(mask, {"weight_loader": self._load_mask})
            self.register_parameter(name, mask)
        factors = torch.ones(len(strengths.alpha), neurons, dtype=dtype)
        self.register_buffer("factors", factors, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[tokens, hidden]` to the same shape."""
        gate_up, _ = self.gate_up_proj(x)
        h = self.act_fn(gate_up)
        h = h * self.factors.index_select(0, self.languages.language_ids[: h.shape[0]])
        out, _ = self.down_proj(h)
        return out

    def fill_factors(self) -> None:
        """Make the table from the masks that were loaded; in place, so that captured graphs stay valid."""
        # Rounded as in `ClasMLPMixin`: through float32, whatever the dtype of the model.
        scales = self.strengths.row_scales()[..., 0].to(self.factors.device, torch.float32)
        shared, specific = scales.to(self.factors.dtype).unbind(1)
        self.factors.copy_(torch.where(self.shared_mask, shared, torch.where(self.specific_mask, specific, 1.0)))

    def _load_mask(self, mask: nn.Parameter, loaded: Tensor) -> None:
        size, part = self.down_proj.input_size, len(mask)
        if loaded.dtype != torch.bool or loaded.shape != (size,):
            raise InputError(
                f"a mask of {loaded.dtype} and shape {list(loaded.shape)} in the checkpoint; masks are torch.bool and "
                f"[{size}]; convert the model again"
            )
        mask.data.copy_(loaded.narrow(0, self.down_proj.tp_rank * part, part))


def mask_layer(name: str) -> int | None:
    """The layer of a mask, from its name in a checkpoint; None for any other weight."""
    parts = name.split(".")
    is_mask = parts[-1] in MASKS and parts[-2:-1] == ["mlp"]
    return int(parts[-3]) if is_mask else None


def steer_layers(decoder: Any, config: Any, languages: TokenLanguages, dtype: torch.dtype) -> dict[int, SteeredMLP]:
    """Put a steered MLP into every bridge layer that this rank of the pipeline runs."""
    steered = {}
    for index in config.bridge_layers:
        if decoder.start_layer <= index < decoder.end_layer:
            layer = decoder.layers[index]
            layer.mlp = steered[index] = SteeredMLP(layer.mlp, config.strengths, languages, dtype)
    return steered
