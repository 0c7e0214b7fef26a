"""The masks of a model as a whole: told, checked, and replaced by a researcher's own.

What a mask does to a neuron is the business of `scale.py`.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from .layers_clas import put_scale
from .offloading import in_memory
from .scale import ScaleInLayer


class ClasMasksMixin:
    """What every model of a steered family can do with its masks."""

    @property
    def masks(self) -> dict[int, tuple[Tensor, Tensor]]:
        """The shared and the specific mask of each bridge layer: copies, bool `[intermediate_size]` on the CPU."""
        scales = self._in_layers(ScaleInLayer)
        return {index: scale.masks() for index, scale in zip(self.config.bridge_layers, scales, strict=True)}

    def check_masks(self) -> None:
        """Raises ValueError: the masks of a bridge layer overlap."""
        for index, scale in zip(self.config.bridge_layers, self._in_layers(ScaleInLayer), strict=True):
            with in_memory(scale):
                if not scale.shared_mask.is_meta:  # another process has read them
                    third = getattr(scale, "all_shared_mask", None)
                    check_masks(index, scale.shared_mask, scale.specific_mask, self.config.intermediate_size, third)

    def set_masks(self, masks: Mapping[int, tuple[Tensor, Tensor]]) -> None:
        """Put masks in force, at once; `save_pretrained` saves them.  Layers that are not named stay as they are.

        Args:
            masks: by layer the shared and the specific mask, bool `[intermediate_size]`, on any device.  A layer that
                was no bridge layer becomes one.

        Raises TypeError, ValueError: there is no such layer, a mask has another dtype or shape, the two of a layer
        overlap, or strengths are fitted to the categories that there are; then nothing has changed.
        """
        if self.config.fitted:
            raise ValueError("masks: the strengths are fitted to categories of neurons; change both with set_fitted")
        wanted = deepcopy(self.config)
        wanted.bridge_layers = [*wanted.bridge_layers, *(layer for layer in masks if layer not in wanted.bridge_layers)]
        wanted.validate_steering()
        for layer, (shared, specific) in masks.items():
            check_masks(layer, shared, specific, wanted.intermediate_size)
        with torch.inference_mode(False):  # buffers that are made in that mode could never be changed outside of it
            self._put_masks(masks, wanted)

    def _put_masks(self, masks: Mapping[int, tuple[Tensor, Tensor]], wanted: Any) -> None:
        for layer, pair in masks.items():
            if layer not in self.config.bridge_layers:
                scale = wanted.scale_rule.in_layer(layer, wanted.languages)
                put_scale(self.base_model.layers[layer], scale.double() if self.dtype == torch.float64 else scale)
            self.base_model.layers[layer].mlp.scale.set_masks(*pair)
        for module in self.modules():
            if isinstance(module, ClasMasksMixin):
                module.config.bridge_layers = wanted.bridge_layers

    def _in_layers(self, kind: type[nn.Module]) -> list[Any]:
        """A rule in every layer that has it, in the order of the layers."""
        return [module for module in self.base_model.layers.modules() if isinstance(module, kind)]


def check_masks(
    layer: int, shared_mask: Tensor, specific_mask: Tensor, neurons: int, all_shared_mask: Tensor | None = None
) -> None:
    """Raises ValueError: a mask of a layer is no bool tensor `[neurons]`, or two overlap."""
    if all_shared_mask is not None:
        check_masks(layer, shared_mask | specific_mask, all_shared_mask, neurons)
    for name, mask in (("shared_mask", shared_mask), ("specific_mask", specific_mask)):
        found = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, Tensor) else f"a {type(mask).__name__}"
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != (neurons,):
            raise ValueError(f"layer {layer}: {name} is {found}; allowed is a tensor torch.bool [{neurons}]")
    if both := int((shared_mask & specific_mask.to(shared_mask.device)).sum()):
        raise ValueError(
            f"layer {layer}: shared_mask and specific_mask overlap in {both} neuron{'s' * (both != 1)}, and a neuron "
            "has one category; leave each in one of them"
        )
