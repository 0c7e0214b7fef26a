"""From a neuron profile to the category of every neuron, and to the two masks of a layer.

One decision, made once over the whole corpus ("CLAS", section 2.3: a dataset-level view): a neuron is active in a
language when a statistic of its activations there exceeds a threshold, and the number of languages that it is active in
gives its category.

A threshold is of use where about half of the neurons lie above it.  The paper's statistic, the mean, is about as often
above 0 as below; so is the frequency with 0.5.  Absolute values have no such number: how large they are differs from
layer to layer and from model to model, so there the default is the median of the layer (docs/results/layers.md).

The sums that a statistic is read from are `neuron_profile`'s business, percentages are
`layer_table`'s, which layers to steer is `bridge_layers`'.
"""

import enum
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import InputError
from .neuron_profile import NeuronProfile, check_comparable
from .selection import Origin, Selection


class Category(enum.IntEnum):
    """In how many of the profiled languages a neuron is active ("CLAS", section 2.3)."""

    DEAD = 0  # none
    LANGUAGE_SPECIFIC = 1  # exactly one
    PARTIAL_SHARED = 2  # more than one, but not all
    ALL_SHARED = 3  # all

    @property
    def label(self) -> str:
        """The name in tables and figures, such as `partial-shared`."""
        return self.name.lower().replace("_", "-")


def _per_token(total: Tensor, profile: NeuronProfile) -> Tensor:
    # Both operands are made float64: torch would divide two integer tensors in float32, and the quotient is compared
    # with a threshold.
    return total.to(torch.float64) / profile.tokens.to(torch.float64).unsqueeze(-1)


STATISTICS: dict[str, Callable[[NeuronProfile, int], Tensor]] = {
    "mean": lambda profile, row: _per_token(profile.sum[:, row], profile),
    "mean_abs": lambda profile, row: _per_token(profile.sum_abs[:, row], profile),
    "frequency": lambda profile, row: _per_token(profile.positive[:, row], profile),
}
"""Name -> function of a profile and a row of it (not a layer index) to float64 `[languages, neurons]`.

`mean` is the paper's: the mean of h over the tokens of a language; `mean_abs` the mean of |h|; `frequency` the share of
tokens with h > 0.
"""


DEFAULT_THRESHOLDS: dict[str, float | None] = {"mean": 0.0, "mean_abs": None, "frequency": 0.5}
"""Name of a statistic -> its threshold; None is the median over the neurons of the layer and all languages."""


@dataclass(frozen=True, eq=False)
class NeuronCategories:
    """The category of every profiled neuron, and the languages that it is active in.

    Attributes:
        categories: uint8 `[layers, neurons]`, values of Category.
        active: the neurons that are active in each language, with the model's indices of the layers.
    """

    categories: Tensor
    active: Selection

    def selection(self, category: Category) -> Selection:
        """The neurons of a category, in the languages that each is active in."""
        origin = self.active.origin
        origin = replace(origin, arguments={**origin.arguments, "category": category.label})
        return replace(self.active, masks=self.active.masks & (self.categories == category), origin=origin)

    def masks(self, layer: int) -> tuple[Tensor, Tensor]:
        """`(shared_mask, specific_mask)` of a layer: the partial-shared and the language-specific neurons.

        `layer` is the model's layer index.  Both are contiguous bool `[neurons]` and share no memory with `categories`;
        they are M_shared and M_spec of "CLAS", section 2.4.

        Raises InputError: the layer was not profiled.
        """
        layers = self.active.layers
        if layer not in layers:
            known = ", ".join(map(str, layers))
            raise InputError(
                f"layer {layer} is not in the neuron profile, which holds the layers {known}: "
                "profile that layer too, or choose another one"
            )
        row = self.categories[layers.index(layer)]
        return row == Category.PARTIAL_SHARED, row == Category.LANGUAGE_SPECIFIC


def categorize(profile: NeuronProfile, statistic: str = "mean", threshold: float | None = None) -> NeuronCategories:
    """Give every neuron of a profile its one category.

    A neuron is active in a language when `statistic` (a key of STATISTICS) lies strictly above `threshold`, by default
    the one in DEFAULT_THRESHOLDS.  Works a layer at a time, so that beside the result only one layer's float64
    `[languages, neurons]` is held.

    Raises InputError: an unknown statistic, a threshold that is NaN or infinite, fewer than two languages, or a
    language without tokens.
    """
    return categorize_at(profile, statistic, layer_thresholds(profile, statistic, threshold))


def layer_thresholds(profile: NeuronProfile, statistic: str, threshold: float | None = None) -> tuple[float, ...]:
    """The threshold of each of a profile's layers. Raises InputError: as `categorize`."""
    if statistic not in STATISTICS:
        raise InputError(f"unknown statistic {statistic!r}: choose one of {', '.join(STATISTICS)}")
    if threshold is None:
        threshold = DEFAULT_THRESHOLDS[statistic]
    check_comparable(profile, "categories")
    rows = range(len(profile.layers))
    if threshold is None:
        return tuple(float(STATISTICS[statistic](profile, row).median()) for row in rows)
    if not math.isfinite(threshold):
        raise InputError(f"activation threshold {threshold} is not a finite number: give one, such as 0")
    return (float(threshold),) * len(rows)


def categorize_at(profile: NeuronProfile, statistic: str, thresholds: Sequence[float]) -> NeuronCategories:
    """`categorize` with a threshold for each layer of the profile. Raises InputError: as `categorize`."""
    check_comparable(profile, "categories")
    num_languages, num_layers = len(profile.languages), len(profile.layers)
    active = torch.empty((num_languages, num_layers, profile.num_neurons), dtype=torch.bool)
    categories = torch.empty((num_layers, profile.num_neurons), dtype=torch.uint8)
    for row, threshold in enumerate(thresholds):
        active[:, row] = STATISTICS[statistic](profile, row) > threshold
        categories[row] = _category_of_count(active[:, row].sum(dim=0), num_languages)
    told = thresholds[0] if len(set(thresholds)) == 1 else list(thresholds)
    origin = Origin("categorize", {"statistic": statistic, "threshold": told}, profile.provenance)
    return NeuronCategories(categories, Selection(profile.languages, profile.layers, active, origin))


def _category_of_count(count: Tensor, num_languages: int) -> Tensor:
    """Category values, uint8 `[neurons]`, for the number of languages in which each neuron is active."""
    category = count.clamp(max=int(Category.PARTIAL_SHARED)).to(torch.uint8)
    # Last, because with two languages "all" and "more than one" are the same count.
    category[count == num_languages] = int(Category.ALL_SHARED)
    return category
