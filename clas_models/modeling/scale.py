"""The rule of CLAS: the neurons of a bridge layer times a factor of the row's language.

Source: "Cross-Lingual Activation Steering for Multilingual Language Models", sections 2.4 and 2.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .derived import DerivedTable
from .offloading import in_memory, keep_in_memory
from .rule import NEURONS
from .steering import CATEGORIES, Strengths, neuron_factors


@dataclass(frozen=True)
class Scale:
    """CLAS in a model: the layers that are steered, and how strongly in each language.

    The masks belong to the layers: `model.base_model.layers[i].mlp.scale`.

    Attributes:
        layers: the bridge layers, ascending.
        strengths: what is in force, by language id.
        neurons: neurons a layer.
        fitted: whether each layer has a table of strengths in place of beta and gamma.
    """

    name: ClassVar[str] = "scale"
    site: ClassVar[str] = NEURONS

    layers: tuple[int, ...]
    strengths: Strengths
    neurons: int
    fitted: bool = False

    def in_layer(self, layer: int, languages: Sequence[str]) -> nn.Module:
        """The rule in a bridge layer, with empty masks, and strengths of 0 where they are fitted."""
        return (FittedScaleInLayer if self.fitted else ScaleInLayer)(self.strengths, self.neurons)


class ScaleInLayer(nn.Module):
    """The rule in one layer.

    Buffers:
        shared_mask, specific_mask: bool `[neurons]`, saved with the weights; the neurons of the categories
            partial-shared and language-specific.
        row_scales: `[languages + 1, 4]`, made from the strengths, not saved; float32, or float64 in a float64 model.
    """

    shared_mask: Tensor
    specific_mask: Tensor
    row_scales: Tensor

    def __init__(self, strengths: Strengths, neurons: int) -> None:
        super().__init__()
        self.strengths = strengths
        self.register_buffer("shared_mask", torch.zeros(neurons, dtype=torch.bool))
        self.register_buffer("specific_mask", torch.zeros(neurons, dtype=torch.bool))
        scales = wide(strengths.scales(), torch.get_default_dtype()).to(self.shared_mask.device)  # also if fitted: at 0
        self.register_buffer("row_scales", scales, persistent=False)
        self._factors = DerivedTable()

    def forward(self, h: Tensor, language_ids: Tensor, part: slice | None = None) -> Tensor:
        """Rescale the input of `down_proj`.

        Args:
            h: `[batch, tokens, neurons]`, any floating dtype.
            language_ids: int64 `[batch]`, values in `0 .. languages`.
            part: which neurons `h` has, where they are not all.

        Returns:
            `[batch, tokens, neurons]` in the dtype of `h`; a row whose alpha is 0 keeps its bits.

        Raises IndexError: an id is out of range (on an accelerator, the device's own assertion).
        """
        return h * self.factors(h.dtype, part).index_select(0, language_ids).unsqueeze(1)

    def factors(self, dtype: torch.dtype, part: slice | None = None) -> Tensor:
        """What each neuron is multiplied by in each language: `[languages + 1, neurons]`, rounded to `dtype` once."""
        everything = slice(None) if part is None else part
        # Not by attribute: `nn.Module` looks for those elsewhere first, which takes longer than the product.
        buffers: tuple[Any, ...] = tuple(self._buffers.values())

        def make() -> Tensor:
            shared, specific, scales = buffers[:3]
            others = [mask[everything] for mask in buffers[3:] if mask.dtype == torch.bool]
            return neuron_factors(shared[everything], specific[everything], scales.to(dtype), *others)

        form = dtype if part is None else (dtype, part.start, part.stop)
        return self._factors.get(buffers, form, make)

    def rescaled(self) -> tuple[int, int]:
        """How many neurons are shared, and how many specific."""
        with in_memory(self):
            return int(self.shared_mask.sum()), int(self.specific_mask.sum())

    def masks(self) -> tuple[Tensor, Tensor]:
        """Copies of the shared and the specific mask, bool `[neurons]` on the CPU."""
        with in_memory(self):
            return self.shared_mask.to("cpu", copy=True), self.specific_mask.to("cpu", copy=True)

    def set_masks(self, shared_mask: Tensor, specific_mask: Tensor) -> None:
        """Put other masks in force, bool `[neurons]`, checked before.  In place: a compiled graph stays valid."""
        keep_in_memory(self)
        self.shared_mask.copy_(shared_mask)
        self.specific_mask.copy_(specific_mask)

    def scales(self) -> Tensor:
        """The factors of the categories, float64 `[languages + 1, 4]` on the CPU."""
        return self.strengths.scales()

    def set_strengths(self, strengths: Strengths) -> None:
        """Put other strengths in force.  In place: a compiled graph stays valid."""
        self.strengths = strengths
        self.row_scales.copy_(self.scales())

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        # Module.to(dtype) would round the strengths to a half-precision format for good, so they are made anew.
        super()._apply(fn, recurse)
        self.row_scales = wide(self.scales(), self.row_scales.dtype).to(self.row_scales.device)
        return self


class FittedScaleInLayer(ScaleInLayer):
    """The rule in one layer with a strength for every language and category.

    Buffers, beside those of `ScaleInLayer`:
        all_shared_mask: bool `[neurons]`, saved; neurons that are in no mask are dead.
        fitted_strengths: float32 `[languages + 1, 4]`, saved; the columns as in CATEGORIES, the last row is that of
            languages that were not profiled.
    """

    all_shared_mask: Tensor
    fitted_strengths: Tensor

    def __init__(self, strengths: Strengths, neurons: int) -> None:
        super().__init__(strengths, neurons)
        self.register_buffer("all_shared_mask", torch.zeros(neurons, dtype=torch.bool))
        self.register_buffer(
            "fitted_strengths", torch.zeros(len(strengths.alpha), len(CATEGORIES), dtype=torch.float32)
        )

    def scales(self) -> Tensor:
        if self.fitted_strengths.is_meta:
            return torch.ones(self.fitted_strengths.shape, dtype=torch.float64, device="cpu")
        return self.strengths.scales(self.fitted_strengths)

    def set_strengths(self, strengths: Strengths) -> None:
        with in_memory(self):
            super().set_strengths(strengths)

    def set_fitted(self, fitted_strengths: Tensor, all_shared_mask: Tensor) -> None:
        """Put another table in force, floating `[languages + 1, 4]`, and its third mask, bool `[neurons]`; both checked
        before.  In place.
        """
        keep_in_memory(self)
        self.fitted_strengths.copy_(fitted_strengths)
        self.all_shared_mask.copy_(all_shared_mask)
        self.refresh()

    def refresh(self) -> None:
        """Make what is derived from the table anew, after somebody has loaded it."""
        self.row_scales.copy_(self.scales())

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        exact = self.fitted_strengths
        super()._apply(fn, recurse)
        if self.fitted_strengths.dtype != torch.float32:
            self.fitted_strengths = exact.to(self.fitted_strengths.device)
            self.refresh()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        if not self.fitted_strengths.is_meta:
            self.refresh()


def wide(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Strengths in the precision that they are kept in: float32, or float64 in a model of `dtype` float64."""
    return values.to(torch.float64 if dtype == torch.float64 else torch.float32)
