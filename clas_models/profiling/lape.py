"""The neurons of each language by LAPE (language activation probability entropy).

It finds neurons that are often active, and in few languages.  "Active" here means a positive output of `gate_proj`;
`categories` asks another question of other sums.

Sources: Tang et al., "Language-Specific Neurons: The Key to Multilingual Capabilities in Large Language Models" (2024);
Mondal et al., "Language-specific Neurons Do Not Facilitate Cross-Lingual Transfer" (2025), section 2.1.
"""

from typing import Literal

import torch
from torch import Tensor

from ..errors import InputError
from .bridge_layers import format_layers
from .neuron_profile import NeuronProfile, check_comparable
from .selection import Origin, Selection

_DECIMALS = 12  # entropies are ranked to so many: the last bits depend on the order in which languages are summed


def lape(
    profile: NeuronProfile,
    *,
    top_rate: float = 0.01,
    activation_percentile: float = 0.95,
    filter_percentile: float = 0.95,
    rate_of: Literal["model", "filtered"] = "model",
) -> Selection:
    """Find each language's neurons by LAPE.

    Neurons that exceed the percentile `filter_percentile` of all activation probabilities, over languages, layers and
    neurons, in no language are left out.  Of the others those with the lowest entropy of their probabilities are taken:
    a share `top_rate` of all neurons of the model, as in the code of Tang et al. (`rate_of="model"`), or of those that
    were not left out (`rate_of="filtered"`); equal entropies in the order of layers and neurons.  A neuron that is
    taken belongs to every language in which it exceeds `activation_percentile`.

    Percentiles and rates are fractions.  The result depends on the set of languages: `NeuronProfile.select` changes it.

    Raises InputError: fewer than two languages, one without tokens, a layer of the model that was not profiled, or a
    rate or percentile that is out of range.
    """
    check_comparable(profile, "language neurons")
    if missing := sorted(set(range(profile.num_model_layers)) - set(profile.layers)):
        raise InputError(
            f"the neuron profile lacks layer {format_layers(missing)}, and language neurons are sought in all "
            f"{profile.num_model_layers} layers of the model: profile every layer"
        )
    _check_rates(top_rate, activation_percentile, filter_percentile, rate_of)
    probabilities = activation_probabilities(profile)
    threshold = percentile(probabilities, activation_percentile)
    enough = threshold if filter_percentile == activation_percentile else percentile(probabilities, filter_percentile)
    kept = (probabilities > enough).any(dim=0)
    wanted = round(top_rate * (kept.numel() if rate_of == "model" else int(kept.sum())))
    taken = _lowest(entropy(probabilities), kept, wanted)
    arguments = {
        "top_rate": top_rate,
        "activation_percentile": activation_percentile,
        "filter_percentile": filter_percentile,
        "rate_of": rate_of,
    }
    origin = Origin("lape", arguments, profile.provenance)
    return Selection(profile.languages, profile.layers, (probabilities > threshold) & taken, origin)


def activation_probabilities(profile: NeuronProfile) -> Tensor:
    """The share of tokens for which `gate_proj` gives more than 0: float64 `[languages, layers, neurons]`."""
    return profile.gate_positive / profile.tokens.to(torch.float64)[:, None, None]


def entropy(probabilities: Tensor) -> Tensor:
    """The entropy of each neuron's probabilities, normalised over the languages, in nats.

    Float64 `[languages, layers, neurons]` to `[layers, neurons]`; NaN where the neuron is active in no language.
    """
    # A layer at a time, so that no second table of the model's size is made.
    layers = probabilities.unbind(dim=1)
    return torch.stack([torch.special.entr(layer / layer.sum(dim=0)).sum(dim=0) for layer in layers])


def percentile(values: Tensor, fraction: float) -> float:
    """The k-th smallest of n values with k = `fraction` n rounded: one of the values, never between two."""
    # Not torch.quantile, which interpolates and refuses more than 16 million values.
    k = max(1, round(values.numel() * fraction))
    return float(values.flatten().kthvalue(k).values)


def _lowest(entropies: Tensor, kept: Tensor, count: int) -> Tensor:
    """Bool like `kept` `[layers, neurons]`: the `count` neurons of lowest entropy among these, or all if fewer."""
    candidates = kept.flatten().nonzero().flatten()
    order = entropies.flatten()[candidates].round(decimals=_DECIMALS).argsort(stable=True)
    taken = torch.zeros(kept.numel(), dtype=torch.bool)
    taken[candidates[order[:count]]] = True
    return taken.view_as(kept)


def _check_rates(top_rate: float, activation_percentile: float, filter_percentile: float, rate_of: str) -> None:
    if not 0 < top_rate <= 1:
        raise InputError(f"rate {top_rate} of language neurons: give a fraction above 0 and at most 1, such as 0.01")
    for name, fraction in (("activation", activation_percentile), ("filter", filter_percentile)):
        if not 0 < fraction < 1:
            raise InputError(f"{name} percentile {fraction}: give a fraction between 0 and 1, such as 0.95")
    if rate_of not in ("model", "filtered"):
        raise InputError(f"rate of {rate_of!r}: choose model (all its neurons) or filtered (those not left out)")
