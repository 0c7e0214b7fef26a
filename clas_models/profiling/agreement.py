"""How much of the categories is more than chance: those from one half of the samples against those from the other.

With few samples a mean near 0 falls on either side of it as a coin does, and the categories are what coins give.  Then
the two halves of the samples give other categories; where there is something to find, they give the same.

Source: Cohen, "A coefficient of agreement for nominal scales" (1960).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .categories import Category, categorize_at, layer_thresholds
from .neuron_profile import COUNTS, HALVES, TOTALS, NeuronProfile

# Ten sentences in three languages give 0.37 to 0.52, forty in eight 0.73 and more (docs/results/layers.md).
LOW_KAPPA = 0.6


@dataclass(frozen=True)
class Agreement:
    """How alike two categorisations of the same neurons are.

    Attributes:
        observed: the share of the neurons that have the same category in both, p_o.
        chance: the share that would have it if the two were independent and each category as frequent in each as it
            is, p_e: the sum over the categories of the product of its two frequencies.
    """

    observed: float
    chance: float

    @property
    def kappa(self) -> float:
        """Cohen's kappa, (p_o - p_e) / (1 - p_e): 0 is chance, 1 the same categories; 0 where all are one category."""
        return (self.observed - self.chance) / (1 - self.chance) if self.chance < 1 else 0.0

    @property
    def is_low(self) -> bool:
        """Whether much of the categories is chance."""
        return self.kappa < LOW_KAPPA

    def __str__(self) -> str:
        return f"{self.observed:.1%} of the neurons, by chance {self.chance:.1%}; kappa {self.kappa:.2f}"


def agreement(first: Tensor, second: Tensor) -> Agreement:
    """Of two categorisations of the same neurons, uint8 of one shape, values of Category."""
    pairs = first.flatten().long() * len(Category) + second.flatten().long()
    table = torch.bincount(pairs, minlength=len(Category) ** 2).view(len(Category), len(Category))
    table = table.double() / table.sum()
    return Agreement(float(table.trace()), float(table.sum(0) @ table.sum(1)))


def split_half_agreement(
    profile: NeuronProfile, layers: Sequence[int], statistic: str = "mean", threshold: float | None = None
) -> Agreement | None:
    """The categories of some layers from the first half of the samples, against those from the second half.

    Each half has half the text, so categories from all of it would agree better with others of their kind.

    Args:
        layers: the model's layer indices, all of them profiled; their neurons count alike.
        statistic, threshold: as for `categorize`; a default that is read from the profile is the same for both halves.

    Returns:
        None where the halves were not summed apart, or one of them has no token in a language.

    Raises InputError: as `categorize`.
    """
    if not profile.has_halves:
        return None
    part = profile.of_layers(layers)
    thresholds = layer_thresholds(part, statistic, threshold)
    first, second = (categorize_at(half, statistic, thresholds).categories for half in halves(part))
    return agreement(first, second)


def halves(profile: NeuronProfile) -> tuple[NeuronProfile, NeuronProfile]:
    """A profile that `has_halves` as one of each half; what no category is made from is 0 in them."""
    tokens = profile.total("half_tokens")
    names = ("sum", "sum_abs", "positive")
    firsts = {name: profile.total(f"half_{name}").to(profile.total(name).dtype) for name in names}
    seconds = {name: profile.total(name) - first for name, first in firsts.items()}
    return _of_half(profile, tokens, firsts), _of_half(profile, profile.tokens - tokens, seconds)


def _of_half(profile: NeuronProfile, tokens: Tensor, totals: dict[str, Tensor]) -> NeuronProfile:
    shape = profile.sum.shape
    tensors: dict[str, Any] = dict.fromkeys(HALVES)
    for name in TOTALS:
        dtype = torch.int64 if name in COUNTS else torch.float64
        tensors[name] = totals.get(name, torch.zeros((), dtype=dtype).expand(shape))
    return replace(profile, tokens=tokens, **tensors)
