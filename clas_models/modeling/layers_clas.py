"""The layers that every steered family shares: the gated MLP and the decoder layer, each with slots for rules.

What travels to them is the language of each row, int64 `[batch]`, and on which tokens vectors act, bool `[batch,
tokens]`:  explicit keywords, no hooks, no module state, no globals.  Under tensor parallelism every rank holds whole
tables, so that they are counted, changed and saved as ever, and reads the part for the neurons that it computes.

A family's decoder layer has one of the topologies below: how attention, MLP and norms follow each other.  There is one
forward for each topology; `family_check.py` refuses a family that has another one.
"""

from typing import Any, ClassVar

from torch import Tensor, nn
from transformers.cache_utils import Cache

from .add import AddInLayer
from .offloading import device_of, moved
from .scale import ScaleInLayer
from .write import WriteInLayer


class ClasMLPMixin(nn.Module):
    """Before a family's gated MLP with separate projections: the rules `Write` and `Scale` at their sites.

    Args:
        layer_idx: the layer's place in the model; without one it is a bridge layer.

    Slots, None where the layer has no such rule:
        scale: in front of `down_proj`.
        write: behind `act_fn`.
    """

    def __init__(self, config: Any, layer_idx: int | None = None) -> None:
        super().__init__(config)
        self.scale: ScaleInLayer | None = None
        self.write: WriteInLayer | None = None
        if layer_idx is None or layer_idx in config.bridge_layers:
            self.scale = config.scale_rule.in_layer(layer_idx or 0, config.languages)

    def forward(self, x: Tensor, language_ids: Tensor | None = None) -> Tensor:
        """`[batch, tokens, hidden]` to the same shape; `language_ids` is int64 `[batch]`, needed by a rule."""
        activated = self.act_fn(self.gate_proj(x))
        if self.write is None and self.scale is None:
            return self.down_proj(activated * self.up_proj(x))
        part = None
        if activated.shape[-1] != self.config.intermediate_size:
            part = neurons_of_rank(self.down_proj, activated.shape[-1], self.config.intermediate_size)
        if self.write is not None:
            activated = self.write(activated, language_ids, part)
        h = activated * self.up_proj(x)
        if self.scale is not None:
            h = self.scale(h, language_ids, part)
        return self.down_proj(h)


def neurons_of_rank(down_proj: nn.Module, count: int, total: int) -> slice:
    """Which of `total` neurons are the `count` that this rank computes under tensor parallelism.

    Ranks hold equal runs of neurons in their order, the last one what is left (transformers' styles "colwise" and
    "rowwise").

    Raises RuntimeError: `down_proj` was split in another way, so that no mask fits.
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
    """Before a family's decoder layer: an MLP with rules, and the rule `Add` at the layer's end.

    Slots, None where the layer has no such rule:
        add: behind the layer.
    """

    topology: ClassVar[str]
    mlp_class: type[ClasMLPMixin]

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.mlp = self.mlp_class(config, layer_idx)
        self.add: AddInLayer | None = None
        if layer_idx in config.vector_layers:
            self.add = config.add_rule.in_layer(layer_idx, config.languages)


class PreNormLayerMixin(ClasDecoderLayerMixin):
    """Attention, then the MLP, each behind a norm of its own and added to the residual stream, as in Llama."""

    topology = "pre-norm"

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = False,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        language_ids: Tensor | None = None,
        positions: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """As in the base class.

        Args:
            language_ids: int64 `[batch]`, for the rules.
            positions: bool `[batch, tokens]`, the tokens that vectors act on; None are all.
        """
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
        hidden_states = hidden_states + self.mlp(self.post_attention_layernorm(hidden_states), language_ids)
        if self.add is not None:
            hidden_states = self.add(hidden_states, language_ids, positions)
        return hidden_states


def put_write(layer: ClasDecoderLayerMixin, write: nn.Module | None) -> None:
    """Fill or empty the slot `write` of a layer; a rule goes to the device on which the layer computes."""
    layer.mlp.write = None if write is None else _placed(layer, write)


def put_scale(layer: ClasDecoderLayerMixin, scale: nn.Module | None) -> None:
    """Fill the slot `scale` of a layer, likewise, which makes it a bridge layer; or empty it."""
    layer.mlp.scale = None if scale is None else _placed(layer, scale)


def put_add(layer: ClasDecoderLayerMixin, add: nn.Module | None) -> None:
    """Fill or empty the slot `add` of a layer, likewise."""
    layer.add = None if add is None else _placed(layer, add)


def _placed(layer: ClasDecoderLayerMixin, rule: nn.Module) -> Any:
    down_proj = layer.mlp.down_proj
    return moved(rule, device_of(down_proj, down_proj.weight)).train(layer.training)
