"""The steered MLP of a layer in vLLM: the factors of its neurons, sharded with them, before `down_proj`, and the
vectors that are added after the layer.

A layer of vLLM returns the MLP's output and the residual stream apart, and the next norm adds them; so what is added to
the MLP's output is added to the stream, whole on every rank.

Sources: "Cross-Lingual Activation Steering for Multilingual Language Models", sections 2.4 and 2.5; Lim, Aji and Cohn,
the paper on the latent process of multilingual models, section 2.3.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..modeling.add import AddInLayer
from ..modeling.fitted import check_fitted
from ..modeling.masks import check_masks
from ..modeling.steering import neuron_factors
from ..modeling.vectors import check_vectors
from .languages import TokenLanguages


class SteeredMLP(nn.Module):
    """A gated MLP of vLLM with the rules `Scale` and `Add`; its layers are taken over, under the same names.

    Args:
        plain: the MLP that vLLM built, of any family with `gate_up_proj`, `act_fn` and `down_proj`.
        layer: its place; the configuration says which rules the layer has.
        config: what is in force, for the life of the engine.
        languages: the languages of a step's tokens, shared by all layers.
        dtype: of the model's activations.

    Buffers, in the dtype of the activations; None where the layer has no such rule:
        factors: `[languages + 1, neurons of this rank]`, what a neuron is multiplied by.
        added: `[languages + 1, hidden]`, what is added after the layer.
    """

    gate_up_proj: Any
    act_fn: Any
    down_proj: Any
    factors: Tensor | None
    added: Tensor | None

    def __init__(self, plain: Any, layer: int, config: Any, languages: TokenLanguages, dtype: torch.dtype) -> None:
        super().__init__()
        self.gate_up_proj, self.act_fn, self.down_proj = plain.gate_up_proj, plain.act_fn, plain.down_proj
        self.layer, self.config, self.languages = layer, config, languages
        factors = added = None
        ids = len(config.languages) + 1
        if layer in config.bridge_layers:
            factors = torch.ones(ids, self.down_proj.input_size_per_partition, dtype=dtype)
        if layer in adding_layers(config):
            added = torch.zeros(ids, config.hidden_size, dtype=dtype)
        self.register_buffer("factors", factors, persistent=False)
        self.register_buffer("added", added, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[tokens, hidden]` to the same shape."""
        gate_up, _ = self.gate_up_proj(x)
        h = self.act_fn(gate_up)
        if self.factors is not None:
            h = h * self.factors.index_select(0, self.languages.language_ids[: h.shape[0]])
        out, _ = self.down_proj(h)
        if self.added is not None:
            out = out + self.added.index_select(0, self.languages.vector_ids[: out.shape[0]])
        return out

    def fill_factors(
        self,
        shared_mask: Tensor,
        specific_mask: Tensor,
        all_shared_mask: Tensor | None = None,
        fitted_strengths: Tensor | None = None,
    ) -> None:
        """Make the table from the masks, bool `[neurons]`; in place, so that graphs stay valid.

        Args:
            all_shared_mask, fitted_strengths: where strengths are fitted; floating `[languages + 1, 4]`.

        Raises InputError: a mask has another dtype or shape, two overlap, or strengths do not fit.
        """
        assert self.factors is not None
        part = self.factors.shape[1]
        try:
            check_masks(self.layer, shared_mask, specific_mask, self.down_proj.input_size, all_shared_mask)
            if fitted_strengths is not None:
                check_fitted(self.layer, fitted_strengths, self.config)
        except ValueError as error:
            raise InputError(f"{error}; or convert the model again") from error
        shared, specific, all_shared = (
            None if mask is None else mask.cpu().narrow(0, self.down_proj.tp_rank * part, part)
            for mask in (shared_mask, specific_mask, all_shared_mask)
        )
        assert shared is not None
        assert specific is not None
        # Rounded as on a model of transformers: through float32, whatever the dtype of the activations.
        scales = self.config.scale_rule.strengths.scales(fitted_strengths).to(torch.float32).to(self.factors.dtype)
        self.factors.copy_(neuron_factors(shared, specific, scales, all_shared))

    def fill_added(self, vectors: Tensor) -> None:
        """Make the table from the vectors, floating `[languages, hidden]`, likewise.

        Raises InputError: they have another dtype or shape, are not finite, or would change the anchor.
        """
        assert self.added is not None
        try:
            check_vectors(self.layer, vectors, self.config)
        except ValueError as error:
            raise InputError(f"{error}; or convert the model again") from error
        with torch.device("cpu"):
            rule = AddInLayer(self.config.add_rule.strengths, *vectors.shape).to(self.added.dtype)
            rule.vectors.copy_(vectors)
            self.added.copy_(rule.added(self.added.dtype))


def adding_layers(config: Any) -> tuple[int, ...]:
    """After which layers vectors are added; none where they have strength 0."""
    return config.add_rule.layers if config.add_rule.acts else ()


def steer_layers(decoder: Any, config: Any, languages: TokenLanguages, dtype: torch.dtype) -> dict[int, SteeredMLP]:
    """Put a steered MLP into every layer with a rule that this rank of the pipeline runs."""
    steered = {}
    for index in sorted({*config.bridge_layers, *adding_layers(config)}):
        if decoder.start_layer <= index < decoder.end_layer:
            layer = decoder.layers[index]
            layer.mlp = steered[index] = SteeredMLP(layer.mlp, index, config, languages, dtype)
    return steered
