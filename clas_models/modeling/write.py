"""A laboratory rule: write fixed values over the activations of chosen neurons.

What is written is a statistic of a language, such as the mean over its tokens; which one is the business of whoever
makes the tables.  The rule is in force for a block (`model.intervening`) and never part of a checkpoint.

Source: Mondal et al., "Language-specific neurons do not facilitate cross-lingual transfer", section 3.2 (Int mu).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from .language import language_id
from .rule import ACTIVATED


@dataclass(frozen=True, eq=False)
class Write:
    """Values over the output of `act_fn` of chosen neurons, for the rows of a language.

    Attributes:
        masks: bool `[languages, layers, neurons]`: which neurons, in all layers of the model.
        values: floating, the same shape: what is written there; elsewhere it says nothing.
        languages: codes of the first axis; None are those of the model's configuration in their order.  The rows of any
            other language keep their bits.

    Raises ValueError: another shape or dtype, or a value to be written that is not finite.
    """

    name: ClassVar[str] = "write"
    site: ClassVar[str] = ACTIVATED

    masks: Tensor
    values: Tensor
    languages: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        masks, values = self.masks, self.values
        if masks.dtype != torch.bool or not values.is_floating_point():
            raise ValueError(f"write: masks of {masks.dtype} and values of {values.dtype}; allowed are bool and floats")
        if masks.dim() != 3 or masks.shape != values.shape:
            raise ValueError(
                f"write: masks of shape {list(masks.shape)} and values of shape {list(values.shape)}; allowed is one "
                "shape for both, [languages, layers, neurons]"
            )
        if self.languages is not None and len(self.languages) != len(masks):
            raise ValueError(f"write: tables of {len(masks)} languages for the codes {', '.join(self.languages)}")
        if not bool(values[masks].isfinite().all()):
            raise ValueError("write: values that are not finite; profile the model again")

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers with a neuron to write over, ascending."""
        return tuple(self.masks.any(dim=2).any(dim=0).nonzero().flatten().tolist())

    def check_fits(self, languages: Sequence[str], layers: int, neurons: int) -> None:
        """Raises ValueError: the tables are not for a model of so many layers and neurons, or with these languages."""
        wanted = (len(languages) if self.languages is None else len(self.languages), layers, neurons)
        if tuple(self.masks.shape) != wanted:
            raise ValueError(
                f"write: tables of shape {list(self.masks.shape)}; allowed is [languages, layers, neurons], here "
                f"{list(wanted)}"
            )
        if unknown := [code for code in self.languages or () if language_id(code, languages) == len(languages)]:
            raise ValueError(
                f"write: {', '.join(unknown)} not among the model's languages {', '.join(languages)}; leave them out"
            )

    def in_layer(self, layer: int, languages: Sequence[str]) -> nn.Module:
        """The rule in one layer."""
        rows = torch.tensor([language_id(code, languages) for code in self.languages or languages])
        mask = torch.zeros(len(languages) + 1, self.masks.shape[2], dtype=torch.bool)
        values = torch.zeros(mask.shape, dtype=self.values.dtype)
        mask[rows], values[rows] = self.masks[:, layer].cpu(), self.values[:, layer].cpu()
        return WriteInLayer(mask, values)


class WriteInLayer(nn.Module):
    """The rule in one layer.

    Buffers, not saved:
        mask: bool `[languages + 1, neurons]`, by language id: the neurons that are written over.
        values: floating `[languages + 1, neurons]`, what is written.
    """

    mask: Tensor
    values: Tensor

    def __init__(self, mask: Tensor, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("values", values, persistent=False)

    def forward(self, activated: Tensor, language_ids: Tensor, part: slice | None = None) -> Tensor:
        """The output of `act_fn` `[batch, tokens, neurons]` to the same; `language_ids` is int64 `[batch]`.

        `part` says which neurons these are, where they are not all.
        """
        mask, values = self.mask, self.values
        if part is not None:
            mask, values = mask[:, part], values[:, part]
        mask = mask.index_select(0, language_ids).unsqueeze(1)
        values = values.index_select(0, language_ids).unsqueeze(1).to(activated.dtype)
        return torch.where(mask, values, activated)
