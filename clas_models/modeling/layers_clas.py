"""The layers that every steered family shares: the MLP with its rules, and the decoder layer around it.

What travels to the MLP is one tensor, `language_ids` `[batch]`, an explicit keyword: no hooks, no module state, no
globals.  Under tensor parallelism every rank holds whole tables, so that they are counted, changed and saved as ever,
and reads the part for the neurons that it computes.

Source: "Cross-Lingual Activation Steering for Multilingual Language Models", sections 2.4 and 2.5.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache

from .overwrite import Overwrite
from .steering import Strengths, steer


class ClasMLPMixin(nn.Module):
    """Before a family's gated MLP: two masks, and the steering rule in front of `down_proj`.

    Args:
        layer_idx: the layer's place in the model; without one it is a bridge layer.

    Buffers:
        shared_mask, specific_mask: bool `[intermediate_size]`, saved with the weights of a bridge layer; neurons of
            the categories partial-shared and language-specific.
        row_scales: `[languages + 1, 2, 1, 1]`, made from the strengths, not saved; float32, or float64 in a float64
            model.
    """

    shared_mask: Tensor
    specific_mask: Tensor
    row_scales: Tensor

    def __init__(self, config: Any, layer_idx: int | None = None) -> None:
        super().__init__(config)
        self.strengths: Strengths = config.strengths
        self.is_bridge = layer_idx is None or layer_idx in config.bridge_layers
        for name in ("shared_mask", "specific_mask"):
            mask = torch.zeros(config.intermediate_size, dtype=torch.bool)
            self.register_buffer(name, mask, persistent=self.is_bridge)
        self.register_buffer("row_scales", self._row_scales(self.shared_mask.device), persistent=False)
        self.overwrite: Overwrite | None = None
        if layer_idx in config.overwrite_layers:
            self.overwrite = Overwrite(len(config.languages) + 1, config.intermediate_size, config.overwrite)

    def forward(self, x: Tensor, language_ids: Tensor) -> Tensor:
        """`[batch, tokens, hidden]` to the same shape; `language_ids` is int64 `[batch]`."""
        activated = self.act_fn(self.gate_proj(x))
        shared, specific = self.shared_mask, self.specific_mask
        neurons = None
        if activated.shape[-1] != len(shared):
            neurons = neurons_of_rank(self.down_proj, activated.shape[-1], len(shared))
            shared, specific = shared[neurons], specific[neurons]
        if self.overwrite is not None:
            activated = self.overwrite(activated, language_ids, neurons)
        h = activated * self.up_proj(x)
        if self.is_bridge:
            h = steer(h, shared, specific, self.row_scales, language_ids)
        return self.down_proj(h)

    def set_strengths(self, strengths: Strengths) -> None:
        """Put other strengths in force.  In place: a compiled graph stays valid."""
        self.strengths = strengths
        self.row_scales.copy_(strengths.row_scales())

    def _row_scales(self, device: torch.device) -> Tensor:
        dtype = torch.float64 if self.down_proj.weight.dtype == torch.float64 else torch.float32
        return self.strengths.row_scales().to(device=device, dtype=dtype)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        # Module.to(dtype) would round the strengths to a half-precision format for good, so they are made anew.
        super()._apply(fn, recurse)
        self.row_scales = self._row_scales(self.row_scales.device)
        return self


def neurons_of_rank(down_proj: nn.Module, count: int, total: int) -> slice:
    """Which of `total` neurons are the `count` that this rank computes under tensor parallelism.

    Ranks hold equal runs of neurons in their order, the last one what is left (transformers' styles "colwise" and
    "rowwise").

    Raises:
        RuntimeError: `down_proj` was split in another way, so that no mask fits.
    """
    mesh = getattr(down_proj.weight, "device_mesh", None)  # of a DTensor
    if mesh is None:
        mesh = getattr(down_proj, "_hf_device_mesh", None)  # transformers up to 5.17 keeps plain tensors
    if mesh is not None:
        each = -(-total // mesh.size())
        start = mesh.get_local_rank() * each
        if min(each, total - start) == count:
            return slice(start, start + count)
    raise RuntimeError(f'this process computes {count} of {total} neurons, and nothing says which; use tp_plan="auto"')


class ClasDecoderLayerMixin(nn.Module):
    """Before a family's decoder layer: a layer that hands the rows' languages to its MLP."""

    mlp_class: type[ClasMLPMixin]

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.mlp = self.mlp_class(config, layer_idx)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = False,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        language_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """As in the base class, with `language_ids`, int64 `[batch]`, for the MLP."""
        attended, _ = self.self_attn(
            hidden_states=self.input_layernorm(hidden_states),
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            position_embeddings=position_embeddings,
            **kwargs,
        )
        hidden_states = hidden_states + attended
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states), language_ids)
