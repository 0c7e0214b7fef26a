"""A rule for the residual stream: a vector of the row's language, added after a layer.

What makes the vectors is another matter; here they are tables of a checkpoint.

Source: Lim, Aji and Cohn, the paper on the latent process of multilingual models, section 2.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .derived import DerivedTable
from .rule import RESIDUAL
from .scale import wide


@dataclass(frozen=True)
class Add:
    """Vectors in a model: the layers after which they are added, and how strongly in each language.

    The vectors belong to the layers: `model.base_model.layers[i].add`.

    Attributes:
        layers: ascending.
        strengths: by language id; exactly 0 for the anchor.
        positions: on which tokens the vectors act, a name of `positions.py`.
        hidden: entries of a vector.
    """

    name: ClassVar[str] = "add"
    site: ClassVar[str] = RESIDUAL

    layers: tuple[int, ...]
    strengths: tuple[float, ...]
    positions: str
    hidden: int

    @property
    def acts(self) -> bool:
        """Whether any row is changed."""
        return bool(self.layers) and any(self.strengths)

    def in_layer(self, layer: int, languages: Sequence[str]) -> nn.Module:
        """The rule after a layer, with vectors that are 0."""
        return AddInLayer(self.strengths, len(languages), self.hidden)


class AddInLayer(nn.Module):
    """The rule in one layer.

    Buffers:
        vectors: floating `[languages, hidden]`, saved with the weights; a language that was not profiled has none.
        row_strengths: `[languages + 1]`, made from the configuration, not saved; float32, or float64 in a float64
        model.
    """

    vectors: Tensor
    row_strengths: Tensor

    def __init__(self, strengths: tuple[float, ...], languages: int, hidden: int) -> None:
        super().__init__()
        self.strengths = strengths
        self.register_buffer("vectors", torch.zeros(languages, hidden))
        self.register_buffer("row_strengths", self._wide(self.vectors), persistent=False)
        self._added = DerivedTable()

    def forward(self, hidden: Tensor, language_ids: Tensor, positions: Tensor | None = None) -> Tensor:
        """Add a row's vector to the output of a layer.

        Args:
            hidden: `[batch, tokens, hidden]`, any floating dtype.
            language_ids: int64 `[batch]`, values in `0 .. languages`.
            positions: bool `[batch, tokens]`, the tokens that are changed; None are all.

        Returns:
            The same shape and dtype; rows whose vector or strength is 0, and all other tokens, keep their bits.
        """
        added = self.added(hidden.dtype).index_select(0, language_ids).unsqueeze(1)
        acts = (added != 0).any(-1)  # h + 0 would turn a negative zero into a positive one
        if positions is not None:
            acts = acts & positions
        return torch.where(acts.unsqueeze(-1), hidden + added, hidden)

    def added(self, dtype: torch.dtype) -> Tensor:
        """What is added in each language: `[languages + 1, hidden]`, rounded to `dtype` once."""

        def make() -> Tensor:
            others = self.vectors.new_zeros(1, self.vectors.shape[1])
            return (self.row_strengths[:, None] * torch.cat([self.vectors, others])).to(dtype)

        return self._added.get((self.vectors, self.row_strengths), dtype, make)

    def vector(self, row: int, strength: float, dtype: torch.dtype) -> Tensor:
        """What would be added in one language at another strength: `[hidden]`, in the arithmetic of `added`."""
        return (self.row_strengths.new_tensor([[strength]]) * self.vectors[row]).to(dtype)[0]

    def moves(self, row: int) -> bool:
        """Whether the rows of a language id are changed."""
        return row < len(self.vectors) and bool(self.strengths[row]) and bool(self.vectors[row].any())

    def set_strengths(self, strengths: tuple[float, ...]) -> None:
        """Put other strengths in force.  In place: a compiled graph stays valid."""
        self.strengths = strengths
        self.row_strengths.copy_(torch.tensor(strengths, dtype=torch.float64))

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        # As in `ScaleInLayer`: not rounded to a half-precision format.
        super()._apply(fn, recurse)
        self.row_strengths = self._wide(self.row_strengths)
        return self

    def _wide(self, like: Tensor) -> Tensor:
        return wide(torch.tensor(self.strengths, dtype=torch.float64, device="cpu"), like.dtype).to(like.device)
