"""The vectors of a model as a whole: told, checked, and replaced by others.

What a vector does after a layer is the business of `add.py`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from .add import AddInLayer
from .layers_clas import put_add
from .offloading import in_memory

_FIELDS = ("vector_layers", "vector_strength", "vector_positions")


class ClasVectorsMixin:
    """What every model of a steered family can do with its vectors."""

    @property
    def vectors(self) -> dict[int, Tensor]:
        """What is added after each layer in each language: copies, floating `[languages, hidden]` on the CPU."""
        adds = self._in_layers(AddInLayer)
        told = {}
        for layer, add in zip(self.config.vector_layers, adds, strict=True):
            with in_memory(add):
                told[layer] = add.vectors.to("cpu", copy=True)
        return told

    def check_vectors(self) -> None:
        """Raises ValueError: the vectors of a layer are not finite, or would change the anchor's rows."""
        for layer, add in zip(self.config.vector_layers, self._in_layers(AddInLayer), strict=True):
            with in_memory(add):
                if not add.vectors.is_meta:  # another process has read them
                    check_vectors(layer, add.vectors, self.config)

    def set_vectors(
        self,
        vectors: Mapping[int, Tensor],
        *,
        strength: float | Mapping[str, float] | None = None,
        positions: str | None = None,
    ) -> None:
        """Put vectors in force in place of those that the model has, at once; `save_pretrained` saves them.

        Args:
            vectors: by layer floating `[languages, hidden]`, in the order of `config.languages`, on any device; the
                anchor's row must be 0.  Layers that are not named have none any more.
            strength: `vector_strength` of the configuration; None leaves it as it is.
            positions: `vector_positions` of the configuration; None leaves it as it is.

        Raises TypeError, ValueError: there is no such layer, a table has another shape, is not finite or would change
        the anchor's rows, or a strength or positions that are not allowed; then nothing has changed.
        """
        wanted = deepcopy(self.config)
        wanted.vector_layers = sorted(vectors)
        wanted.vector_positions = wanted.vector_positions if positions is None else positions
        wanted.validate_steering()
        wanted = wanted.with_strengths(vector_strength=strength)
        for layer, table in vectors.items():
            check_vectors(layer, table, wanted)
            check_vectors(layer, table.to(self.dtype), wanted)  # its largest number may be small
        with torch.inference_mode(False):  # buffers that are made in that mode could never be changed outside of it
            self._put_vectors(vectors, wanted)

    def _put_vectors(self, vectors: Mapping[int, Tensor], wanted: Any) -> None:
        decoder = self.base_model
        for layer in {*self.config.vector_layers, *vectors}:
            add = None
            if layer in vectors:
                add = wanted.add_rule.in_layer(layer, wanted.languages).to(self.dtype)
                add.vectors.copy_(vectors[layer])
            put_add(decoder.layers[layer], add)
        for module in self.modules():
            if isinstance(module, ClasVectorsMixin):
                for name in _FIELDS:
                    setattr(module.config, name, getattr(wanted, name))

    @contextmanager
    def temporary_vectors(
        self,
        vectors: Mapping[int, Tensor],
        *,
        strength: float | Mapping[str, float] | None = None,
        positions: str | None = None,
    ) -> Iterator[None]:
        """`set_vectors` for the length of a `with` block; the model's own come back, also after an exception."""
        before = self.vectors
        fields = {name: deepcopy(getattr(self.config, name)) for name in _FIELDS}
        self.set_vectors(vectors, strength=strength, positions=positions)
        try:
            yield
        finally:
            self.set_vectors(before, strength=fields["vector_strength"], positions=fields["vector_positions"])


def check_vectors(layer: int, table: Tensor, config: Any) -> None:
    """Raises ValueError: the vectors of a layer do not fit a model, are not finite, or change the anchor's rows."""
    expected = (len(config.languages), config.hidden_size)
    if not isinstance(table, Tensor) or not table.is_floating_point() or tuple(table.shape) != expected:
        found = f"{table.dtype} {list(table.shape)}" if isinstance(table, Tensor) else f"a {type(table).__name__}"
        raise ValueError(
            f"layer {layer}: vectors are {found}; allowed is a floating tensor [languages, hidden] = {list(expected)}"
        )
    if not bool(torch.isfinite(table).all()):
        raise ValueError(f"layer {layer}: vectors are not finite (NaN or infinite)")
    if bool(table[config.languages.index(config.anchor_language)].any()):
        raise ValueError(
            f"layer {layer}: the vector of the anchor {config.anchor_language} is not 0; it is never moved"
        )
