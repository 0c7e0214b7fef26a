"""The numbers that are fitted: a strength for each language, layer and category, in three ways of sharing them.

The rule that they are part of is `1 + alpha * s[language, layer, category]`, see `modeling/steering.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clas_models.errors import InputError
from clas_models.modeling.layers_clas import put_scale
from clas_models.modeling.steering import CATEGORIES

from ..engine.decoder import SplitDecoder

SHRUNK, ONE, EACH = "shrunk", "one", "each"
SHARINGS = (SHRUNK, ONE, EACH)
"""A common table and a deviation of each language that is shrunk to it; one table for all; one for each."""

_SHRINKAGE = 4.0  # how much dearer a deviation is than what languages have in common


@dataclass(frozen=True)
class Tables:
    """What is searched.

    Attributes:
        languages: that are fitted, in order.
        layers: the model's indices, ascending.
        sharing: one of SHARINGS.
        common: float32 `[layers, 4]`, the columns as in CATEGORIES; 0 and no leaf where each language has its own.
        own: float32 `[languages, layers, 4]`, what is added to it; 0 and no leaf where all languages have one.
    """

    languages: tuple[str, ...]
    layers: tuple[int, ...]
    sharing: str
    common: Tensor
    own: Tensor

    @classmethod
    def zeros(
        cls, languages: Sequence[str], layers: Sequence[int], sharing: str, device: torch.device | str = "cpu"
    ) -> "Tables":
        """Where a search begins: the base model. Raises InputError: no such way of sharing."""
        if sharing not in SHARINGS:
            raise InputError(f"sharing {sharing!r}: choose one of {', '.join(SHARINGS)}")
        common = torch.zeros(len(layers), len(CATEGORIES), device=device, requires_grad=sharing != EACH)
        shape = (len(languages), len(layers), len(CATEGORIES))
        own = torch.zeros(shape, device=device, requires_grad=sharing != ONE)
        return cls(tuple(languages), tuple(layers), sharing, common, own)

    @property
    def leaves(self) -> list[Tensor]:
        """What an optimizer changes."""
        return [each for each in (self.common, self.own) if each.requires_grad]

    def of(self, language: str) -> Tensor:
        """The strengths of a language, `[layers, 4]`, with their gradient."""
        return self.common + self.own[self.languages.index(language)]

    def penalty(self) -> Tensor:
        """What is added to a loss, times a weight: the sum of squares, of deviations the mean over languages."""
        dearer = _SHRINKAGE if self.sharing == SHRUNK else 1.0
        return self.common.square().sum() + dearer * self.own.square().sum() / len(self.languages)

    def snapshot(self) -> dict[str, Tensor]:
        """Copies on the CPU."""
        return {name: getattr(self, name).detach().to("cpu", copy=True) for name in ("common", "own")}

    def restore(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in values.items():
                getattr(self, name).copy_(value)

    def strengths(self, known: Sequence[str]) -> Tensor:
        """As a checkpoint of these languages has them: float32 `[layers, languages + 1, 4]` on the CPU.

        A language that was not fitted, and the last row, of languages that nobody profiled, have what all have in
        common, or 0.  The anchor is not among the fitted languages; whoever knows it clears its row.
        """
        common, own = self.common.detach().cpu(), self.own.detach().cpu()
        rows = [common + own[self.languages.index(code)] if code in self.languages else common for code in known]
        return torch.stack([*rows, common], dim=1)


class FittingScale(nn.Module):
    """In the slot `scale` of a layer while strengths are fitted: the factors of one language, with their gradient.

    Args:
        categories: uint8 `[neurons]`.
    """

    def __init__(self, categories: Tensor) -> None:
        super().__init__()
        self.register_buffer("categories", categories.long(), persistent=False)
        self.strengths: Tensor | None = None  # float32 `[4]`; None is the base

    def forward(self, h: Tensor, language_ids: Tensor | None, part: slice | None = None) -> Tensor:
        """`[batch, tokens, neurons]` to the same; all rows are in the language whose strengths are in force."""
        if self.strengths is None:
            return h
        categories: Any = self.categories
        categories = categories if part is None else categories[part]
        # Rounded as in `ScaleInLayer`: the factor in float32, then once to the dtype of the activations.
        return h * (1 + self.strengths).to(h.dtype).index_select(0, categories)


@contextmanager
def fitting_scales(
    model: Any, categories: Mapping[int, Tensor]
) -> Iterator[tuple[SplitDecoder, dict[int, FittingScale]]]:
    """The model without its own rules, split at the first of these layers, and a scale to be fitted in each of them,
    for the length of a `with` block.
    """
    zeros = torch.zeros(len(model.config.languages) + 1, len(CATEGORIES))
    scales = {layer: FittingScale(each) for layer, each in categories.items()}
    with (
        model.temporary_fitted(dict.fromkeys(categories, zeros), categories),
        model.temporary_steering(alpha=0.0, vector_strength=0.0),
    ):
        decoder = SplitDecoder(model)  # now, because it asks the model's own rules where to split it
        own = {layer: model.base_model.layers[layer].mlp.scale for layer in scales}
        for layer, scale in scales.items():
            put_scale(model.base_model.layers[layer], scale)
        try:
            yield decoder, scales
        finally:
            for layer, scale in own.items():
                put_scale(model.base_model.layers[layer], scale)
