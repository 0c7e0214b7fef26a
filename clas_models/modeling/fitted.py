"""The fitted strengths of a model as a whole: told, checked, and replaced by others.

What they do to a neuron is the business of `scale.py`; how they are found is left to others.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from .layers_clas import put_scale
from .offloading import in_memory
from .scale import FittedScaleInLayer, ScaleInLayer
from .steering import CATEGORIES, warn_of_negative_factors

_FIELDS = ("bridge_layers", "fitted")
DEAD, SPECIFIC, PARTIAL_SHARED, ALL_SHARED = range(len(CATEGORIES))


class ClasFittedMixin:
    """What every model of a steered family can do with strengths for each language, layer and category."""

    @property
    def fitted_strengths(self) -> dict[int, Tensor]:
        """By bridge layer float32 `[languages + 1, 4]` on the CPU, the columns as in CATEGORIES: copies.

        The last row is that of languages that were not profiled.  Nothing where beta and gamma are in force.
        """
        told = {}
        if self.config.fitted:
            for layer, scale in zip(self.config.bridge_layers, self._in_layers(ScaleInLayer), strict=True):
                with in_memory(scale):
                    told[layer] = scale.fitted_strengths.to("cpu", copy=True)
        return told

    def check_fitted(self) -> None:
        """Raises ValueError: fitted strengths are not finite, or would change the anchor's rows."""
        for layer, scale in zip(self.config.bridge_layers, self._in_layers(ScaleInLayer), strict=True):
            if isinstance(scale, FittedScaleInLayer):
                with in_memory(scale):
                    if not scale.fitted_strengths.is_meta:  # another process has read them
                        check_fitted(layer, scale.fitted_strengths, self.config)
                        scale.refresh()
                        warn_of_negative_factors(scale.strengths, self.config.languages, scale.fitted_strengths)

    def set_fitted(self, strengths: Mapping[int, Tensor], categories: Mapping[int, Tensor]) -> None:
        """Put fitted strengths in force, at once, in place of all bridge layers; `save_pretrained` saves them.

        Alpha stays what it is: 0 is the base model, 1 the strengths as they are.

        Args:
            strengths: by layer floating `[languages + 1, 4]`, rows in the order of `config.languages` and a last one
                for all languages beside them, columns as in CATEGORIES, on any device; the anchor's row must be 0.
            categories: of the same layers uint8 `[intermediate_size]`, places in CATEGORIES.

        Raises TypeError, ValueError: there is no such layer, a table has another shape or dtype, or strengths are not
        finite or would change the anchor's rows; then nothing has changed.
        """
        wanted = deepcopy(self.config)
        wanted.bridge_layers, wanted.fitted = sorted(strengths), True
        wanted.validate_steering()
        if sorted(categories) != wanted.bridge_layers:
            raise ValueError(f"strengths of layers {wanted.bridge_layers}, categories of layers {sorted(categories)}")
        for layer in wanted.bridge_layers:
            check_fitted(layer, strengths[layer], wanted)
            check_categories(layer, categories[layer], wanted.intermediate_size)
        with torch.inference_mode(False):  # buffers that are made in that mode could never be changed outside of it
            scales = {layer: self._fitted_scale(wanted, layer, strengths, categories) for layer in strengths}
            self._put_scales(scales, {name: getattr(wanted, name) for name in _FIELDS})

    @contextmanager
    def temporary_fitted(self, strengths: Mapping[int, Tensor], categories: Mapping[int, Tensor]) -> Iterator[None]:
        """`set_fitted` for the length of a `with` block; the model's own come back, also after an exception."""
        layers = self.base_model.layers
        before = {index: layer.mlp.scale for index, layer in enumerate(layers) if layer.mlp.scale is not None}
        fields = {name: deepcopy(getattr(self.config, name)) for name in _FIELDS}
        self.set_fitted(strengths, categories)
        try:
            yield
        finally:
            with torch.inference_mode(False):
                self._put_scales(before, fields)
            for scale in before.values():
                scale.set_strengths(self.config.scale_rule.strengths)  # which may have changed meanwhile

    def _fitted_scale(
        self, wanted: Any, layer: int, strengths: Mapping[int, Tensor], categories: Mapping[int, Tensor]
    ) -> FittedScaleInLayer:
        scale: Any = wanted.scale_rule.in_layer(layer, wanted.languages)
        scale = scale.double() if self.dtype == torch.float64 else scale
        *pair, all_shared = masks_of_categories(categories[layer])
        scale.set_masks(*pair)
        scale.set_fitted(strengths[layer], all_shared)
        return scale

    def _put_scales(self, scales: Mapping[int, Any], fields: Mapping[str, Any]) -> None:
        for index, layer in enumerate(self.base_model.layers):
            put_scale(layer, scales.get(index))
        for module in self.modules():
            if isinstance(module, ClasFittedMixin):
                for name, value in fields.items():
                    setattr(module.config, name, value)


def masks_of_categories(categories: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The shared, the specific and the all-shared mask of categories uint8 `[neurons]`."""
    return categories == PARTIAL_SHARED, categories == SPECIFIC, categories == ALL_SHARED


def check_categories(layer: int, categories: Tensor, neurons: int) -> None:
    """Raises ValueError: not the categories of so many neurons."""
    found = f"{categories.dtype} {list(categories.shape)}" if isinstance(categories, Tensor) else str(type(categories))
    if not isinstance(categories, Tensor) or categories.dtype != torch.uint8 or categories.shape != (neurons,):
        raise ValueError(f"layer {layer}: categories are {found}; allowed is a tensor torch.uint8 [{neurons}]")
    if (largest := int(categories.max())) >= len(CATEGORIES):
        raise ValueError(f"layer {layer}: category {largest}; allowed are 0 to {len(CATEGORIES) - 1}: {CATEGORIES}")


def check_fitted(layer: int, table: Tensor, config: Any) -> None:
    """Raises ValueError: the strengths of a layer do not fit a model, are not finite, or change the anchor's rows."""
    expected = (len(config.languages) + 1, len(CATEGORIES))
    if not isinstance(table, Tensor) or not table.is_floating_point() or tuple(table.shape) != expected:
        found = f"{table.dtype} {list(table.shape)}" if isinstance(table, Tensor) else f"a {type(table).__name__}"
        raise ValueError(
            f"layer {layer}: fitted strengths are {found}; allowed is a floating tensor [languages + 1, categories] = "
            f"{list(expected)}"
        )
    if not bool(torch.isfinite(table.float()).all()):  # as they are kept
        raise ValueError(f"layer {layer}: fitted strengths are not finite (NaN or infinite)")
    if bool(table[config.languages.index(config.anchor_language)].any()):
        raise ValueError(
            f"layer {layer}: the strengths of the anchor {config.anchor_language} are not 0; it is never steered"
        )
