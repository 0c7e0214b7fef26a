"""The neurons of each language, and what the baseline Int mu writes into them.

`find_language_neurons` is LAPE (language activation probability entropy): it finds neurons that are often active, and
in few languages.  "Active" here means a positive output of `gate_proj`; `categories` asks another question of other
statistics.

Sources: Tang et al., "Language-Specific Neurons: The Key to Multilingual Capabilities in Large Language Models" (2024),
for LAPE; Mondal et al., "Language-specific Neurons Do Not Facilitate Cross-Lingual Transfer" (2025), sections 2.1 and
3.2 and appendix A, for what is written.

Gathering the profile is left to `profiler`, overwriting activations to the patched model classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import InputError
from .bridge_layers import format_layers
from .neuron_profile import NeuronProfile

SITES = {"gate": "gate_sum", "act": "act_sum"}
"""Where a statistic is taken -> the sum that it is read from: before the nonlinearity, or after it."""

_DECIMALS = 12  # entropies are ranked to so many: the last bits depend on the order in which languages are summed


def _mean(profile: NeuronProfile, language: int, site: str) -> Tensor:
    return profile.statistic(SITES[site])[language] / profile.tokens[language].to(torch.float64)


def _zero(profile: NeuronProfile, language: int, site: str) -> Tensor:
    return torch.zeros_like(profile.sum[language])


WRITTEN: dict[str, Callable[[NeuronProfile, int, str], Tensor]] = {"mean": _mean, "zero": _zero}
"""Name -> function of a profile, the index of a language and a site to float64 `[layers, neurons]`.

`mean` is that of all tokens of the language: Int mu.  (Appendix A.2.1 takes the mean of the means of sequences; of
sequences of one length, as there, that is the same.)  `zero` is Int 0, the same at both sites.  The percentiles 5, 10,
25, 75, 90 and 95 of section 4 belong here; they need more than the sums in a profile.
"""


@dataclass(frozen=True, eq=False)
class LanguageNeurons:
    """The language-specific neurons of a model, each in one language or in several.

    Attributes:
        languages: codes, the first axis of `membership`.
        layers: the model's layer indices, all of them, the next axis.
        membership: bool `[languages, layers, neurons]`.
        entropy: float64 `[layers, neurons]`, in nats, of every neuron whether taken or not; NaN where the neuron is
            active in no language.
        threshold: the activation probability that a neuron exceeds in every language that it belongs to.
    """

    languages: tuple[str, ...]
    layers: tuple[int, ...]
    membership: Tensor
    entropy: Tensor
    threshold: float

    def counts(self) -> dict[str, int]:
        """How many neurons belong to each language; one that belongs to several counts in each."""
        return dict(zip(self.languages, self.membership.sum(dim=(1, 2)).tolist(), strict=True))

    def indices(self, language: str) -> tuple[Tensor, ...]:
        """The neurons of a language, a layer at a time: int64 `[neurons of the language]`, ascending.

        Raises:
            InputError: the language is not among these.
        """
        return tuple(row.nonzero().flatten() for row in self.membership[self._index(language)])

    def values(self, profile: NeuronProfile, language: str, statistic: str = "mean", *, site: str = "gate") -> Tensor:
        """What is written over `act(gate)` where this language's neurons are: float32 `[layers, neurons]`.

        It has a value for every neuron, also for those that do not belong to the language.

        Args:
            profile: has the statistics of the language, over the same layers and neurons.
            statistic: a key of WRITTEN.
            site: a key of SITES.  `gate`, the output of `gate_proj`, is what the released code of Mondal et al. takes,
                although it is written after the nonlinearity; `act`, the output of that, is the consistent variant.

        Raises:
            InputError: an unknown language, statistic or site, a profile of another shape, a language without tokens,
                or a profile that is too old for the site `act`.
        """
        self._index(language)
        if statistic not in WRITTEN:
            raise InputError(f"unknown statistic {statistic!r} to write: choose one of {', '.join(WRITTEN)}")
        if site not in SITES:
            raise InputError(f"unknown site {site!r} of the statistic: choose one of {', '.join(SITES)}")
        if (profile.layers, profile.num_neurons) != (self.layers, self.membership.shape[2]):
            raise InputError(
                f"a neuron profile of the layers {format_layers(profile.layers)} with {profile.num_neurons} neurons "
                f"has no values for the layers {format_layers(self.layers)} with {self.membership.shape[2]}: "
                "give the profile that these language neurons were found in"
            )
        chosen = profile.select([language])
        _check_tokens(chosen)
        return WRITTEN[statistic](chosen, 0, site).to(torch.float32)

    def _index(self, language: str) -> int:
        if language not in self.languages:
            raise InputError(
                f"language {language!r} is not among those that neurons were found for: choose one of "
                f"{', '.join(self.languages)}, or profile it too"
            )
        return self.languages.index(language)


def find_language_neurons(
    profile: NeuronProfile,
    *,
    top_rate: float = 0.01,
    activation_percentile: float = 0.95,
    filter_percentile: float = 0.95,
    rate_of: Literal["model", "filtered"] = "model",
) -> LanguageNeurons:
    """Find each language's neurons by LAPE.

    The activation probability of a neuron in a language is the share of tokens for which `gate_proj` gives more than
    0.  Neurons that exceed the percentile `filter_percentile` of all these probabilities, over languages, layers and
    neurons, in no language are left out.  Of the others those with the lowest entropy of their probabilities,
    normalised over the languages, are taken: a share `top_rate` of all neurons of the model, as in the code of Tang et
    al. (`rate_of="model"`), or of those that were not left out (`rate_of="filtered"`); equal entropies in the order of
    layers and neurons.  A neuron that is taken belongs to every language in which it exceeds `activation_percentile`.

    A percentile p of n values is the k-th smallest with k = p n rounded: one of the values, never between two.
    Percentiles and rates are fractions.  The result depends on the set of languages: `NeuronProfile.select` changes it.

    Raises:
        InputError: fewer than two languages, one without tokens, a layer of the model that was not profiled, or a rate
            or percentile that is out of range.
    """
    _check(profile)
    _check_rates(top_rate, activation_percentile, filter_percentile, rate_of)
    probabilities = profile.gate_positive / profile.tokens.to(torch.float64)[:, None, None]
    threshold = _kth_value(probabilities, activation_percentile)
    enough = threshold if filter_percentile == activation_percentile else _kth_value(probabilities, filter_percentile)
    entropy = torch.stack([_entropy(probabilities[:, row]) for row in range(len(profile.layers))])
    kept = (probabilities > enough).any(dim=0)
    wanted = round(top_rate * (kept.numel() if rate_of == "model" else int(kept.sum())))
    taken = _lowest(entropy, kept, wanted)
    membership = (probabilities > threshold) & taken
    return LanguageNeurons(tuple(profile.languages), tuple(profile.layers), membership, entropy, threshold)


def _kth_value(values: Tensor, percentile: float) -> float:
    # Not torch.quantile, which interpolates and refuses more than 16 million values.
    k = max(1, round(values.numel() * percentile))
    return float(values.flatten().kthvalue(k).values)


def _entropy(probabilities: Tensor) -> Tensor:
    """`[languages, neurons]` to `[neurons]`, in nats; NaN where all are 0, because 0 / 0 is."""
    return torch.special.entr(probabilities / probabilities.sum(dim=0)).sum(dim=0)


def _lowest(entropy: Tensor, kept: Tensor, count: int) -> Tensor:
    """Bool like `kept` `[layers, neurons]`: the `count` neurons of lowest entropy among these, or all if fewer."""
    candidates = kept.flatten().nonzero().flatten()
    order = entropy.flatten()[candidates].round(decimals=_DECIMALS).argsort(stable=True)
    taken = torch.zeros(kept.numel(), dtype=torch.bool)
    taken[candidates[order[:count]]] = True
    return taken.view_as(kept)


def _check(profile: NeuronProfile) -> None:
    if len(profile.languages) < 2:
        raise InputError(
            f"the neuron profile holds one language ({profile.languages[0]}), and language neurons are told apart "
            "by comparing languages: profile at least two"
        )
    if missing := sorted(set(range(profile.num_model_layers)) - set(profile.layers)):
        raise InputError(
            f"the neuron profile lacks layer {format_layers(missing)}, and language neurons are sought in all "
            f"{profile.num_model_layers} layers of the model: profile every layer"
        )
    _check_tokens(profile)


def _check_tokens(profile: NeuronProfile) -> None:
    silent = [code for code, count in zip(profile.languages, profile.tokens.tolist(), strict=True) if count == 0]
    if silent:
        raise InputError(
            f"no tokens were profiled for {', '.join(silent)}: "
            "give text in that language, or leave it out of --languages"
        )


def _check_rates(top_rate: float, activation_percentile: float, filter_percentile: float, rate_of: str) -> None:
    if not 0 < top_rate <= 1:
        raise InputError(f"rate {top_rate} of language neurons: give a fraction above 0 and at most 1, such as 0.01")
    for name, percentile in (("activation", activation_percentile), ("filter", filter_percentile)):
        if not 0 < percentile < 1:
            raise InputError(f"{name} percentile {percentile}: give a fraction between 0 and 1, such as 0.95")
    if rate_of not in ("model", "filtered"):
        raise InputError(f"rate of {rate_of!r}: choose model (all its neurons) or filtered (those not left out)")
