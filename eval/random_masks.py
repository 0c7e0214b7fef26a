"""A control for steering: masks of as many neurons as the checkpoint's, drawn at random.

Where the checkpoint's own masks do better than these, it matters which neurons are steered, and not only how many.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clas_models.conversion.chosen_masks import read_masks

from .loading import Checkpoint

Masks = Mapping[int, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class RandomMasks:
    """Masks that are drawn; the same seed draws the same ones for the same checkpoint."""

    seed: int

    def draw(self, checkpoint: Checkpoint) -> Masks:
        """In each bridge layer as many shared and as many specific neurons as the checkpoint has there, without
        overlap: by layer two masks, bool `[neurons]`.

        Raises InputError: the checkpoint's masks are missing or overlap.
        """
        generator = torch.Generator().manual_seed(self.seed)
        drawn = {}
        for layer, pair in read_masks(checkpoint.source, checkpoint.config.bridge_layers).items():
            counts = [int(mask.sum()) for mask in pair]
            order = torch.randperm(len(pair[0]), generator=generator)
            places = order[: counts[0]], order[counts[0] : sum(counts)]
            shared, specific = (torch.zeros_like(pair[0]).index_fill(0, chosen, True) for chosen in places)
            drawn[layer] = shared, specific
        return drawn


@contextmanager
def temporary_masks(model: Any, masks: Masks) -> Iterator[None]:
    """Other masks for a model's bridge layers for the length of a `with` block; the very bits of its own come back."""
    before = model.masks
    model.set_masks(masks)
    try:
        yield
    finally:
        model.set_masks(before)
