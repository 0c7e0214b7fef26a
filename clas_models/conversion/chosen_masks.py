"""The masks of a conversion, and what a user should know of them: where they come from, how many neurons they steer,
and how much of them is chance.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ..errors import InputError
from ..modeling.fitted import check_fitted
from ..modeling.masks import check_masks
from ..modeling.tensor_names import ALL_SHARED_MASK, FITTED_STRENGTHS, MASKS, mask_name
from ..profiling.agreement import Agreement, split_half_agreement
from ..profiling.bridge_layers import format_layers
from ..profiling.categories import DEFAULT_THRESHOLDS, NeuronCategories
from ..profiling.neuron_profile import NeuronProfile
from .mask_file import MaskRecord
from .source import Source
from .weights import read_tensor

Masks: TypeAlias = Mapping[int, tuple[Tensor, Tensor]]

FEWEST, FEW = 0.01, 0.05  # of the bridge layers' neurons: below the first is refused, below the second warned of


@dataclass(frozen=True, eq=False)
class ChosenMasks:
    """What is steered.

    Attributes:
        by_layer: for each bridge layer the shared and the specific mask, bool `[neurons]`.
        active_means: when a neuron of the profile counts as active, a phrase.
        agreement: of the categories from two halves of the samples; None where that is not known, or masks are own.
        own: where masks come from that were not made from the profile.
        taken_over: whether they are a steered source's, which does not say how they were made.
        of_strengths: whether they are those that strengths were fitted to, which may rescale all neurons.
    """

    by_layer: Masks
    active_means: str
    agreement: Agreement | None = None
    own: MaskRecord | None = None
    taken_over: bool = False
    of_strengths: bool = False

    @property
    def origin(self) -> str:
        """What the masks are, a phrase."""
        if self.own is not None:
            return str(self.own)
        if self.taken_over:
            return "those of the source, as they are"
        if self.of_strengths:
            return "those that the strengths were fitted to"
        return "the partial-shared and the language-specific neurons of the profile"

    @property
    def shares(self) -> tuple[float, float]:
        """The shares of the bridge layers' neurons that are steered as shared, and as specific."""
        neurons = sum(shared.numel() for shared, _ in self.by_layer.values())
        shared, specific = (sum(int(pair[mask].sum()) for pair in self.by_layer.values()) for mask in (0, 1))
        return shared / neurons, specific / neurons

    @property
    def stability(self) -> str:
        """How much of the masks is more than chance, a phrase."""
        if self.own is not None:
            return "not known: the masks are the user's own"
        if self.taken_over:
            return "not known: the masks are the source's, as they are"
        if self.of_strengths:
            return "not known: the masks are those of the strengths"
        if self.agreement is None:
            return "not known: the profile does not tell two halves of its samples apart"
        return f"two halves of the samples give the same category to {self.agreement}"

    def warnings(self) -> Iterator[str]:
        """What speaks against the masks, a line each."""
        if (steered := sum(self.shares)) < FEW and not self.of_strengths:
            yield f"only {steered:.1%} of the bridge layers' neurons are steered ({self.active_means})"
        if self.agreement is not None and self.agreement.is_low:
            yield f"much of the masks is chance: {self.stability}; profile more --samples, or longer ones"


def masks_of_profile(
    profile: NeuronProfile,
    categories: NeuronCategories,
    layers: tuple[int, ...],
    statistic: str,
    threshold: float | None,
) -> ChosenMasks:
    """The masks that a profile's categories give. Raises InputError: they leave next to nothing to steer."""
    means = active_means(statistic, threshold)
    agreement = split_half_agreement(profile, layers, statistic, threshold)
    chosen = ChosenMasks({layer: categories.masks(layer) for layer in layers}, means, agreement)
    if (steered := sum(chosen.shares)) < FEWEST:
        default = active_means(statistic, None)
        remedy = (
            f"choose another --threshold (without one: {default})" if threshold is not None else "give a --threshold"
        )
        raise InputError(
            f"bridge layers {format_layers(layers)}: {steered:.1%} of the neurons would be steered, fewer than "
            f"{FEWEST:.0%}, if active means {means}; {remedy}, another --statistic or other --bridge-layers"
        )
    return chosen


def active_means(statistic: str, threshold: float | None) -> str:
    """When a neuron counts as active, in words; a threshold of None is the statistic's default."""
    threshold = DEFAULT_THRESHOLDS[statistic] if threshold is None else threshold
    limit = "the median of its layer" if threshold is None else f"{threshold:g}"
    return f"{statistic} of the activation above {limit}"


def read_masks(source: Source, layers: list[int]) -> Masks:
    """`shared_mask` and `specific_mask` of layers, bool `[neurons]`.

    Raises InputError: one is missing or no mask, or the two of a layer overlap.
    """

    def read(layer: int, mask: str) -> Tensor:
        return read_tensor(source.shards, mask_name(layer, mask), torch.bool, (source.num_neurons,))

    masks = {layer: (read(layer, MASKS[0]), read(layer, MASKS[1])) for layer in layers}
    for layer, pair in masks.items():
        try:
            check_masks(layer, *pair, source.num_neurons)
        except ValueError as error:
            raise InputError(f"{source.name}: {error}, or convert the model again") from error
    return masks


def read_fitted(source: Source, masks: Masks) -> dict[int, tuple[Tensor, Tensor]]:
    """Of a source whose strengths are fitted, by layer the mask of all-shared neurons and float32 `[languages + 1, 4]`.

    Raises InputError: one is missing, of another shape, not finite, or for the anchor, or a mask overlaps with `masks`,
    the others of the layers.
    """
    found = {}
    for layer, pair in masks.items():
        mask = read_tensor(source.shards, mask_name(layer, ALL_SHARED_MASK), torch.bool, (source.num_neurons,))
        table = read_tensor(source.shards, mask_name(layer, FITTED_STRENGTHS), torch.float32)
        try:
            check_masks(layer, *pair, source.num_neurons, mask)
            check_fitted(layer, table, source.config)
        except ValueError as error:
            raise InputError(f"{source.name}: {error}, or convert the model again") from error
        found[layer] = (mask, table)
    return found
