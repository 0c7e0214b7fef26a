"""The neurons of each language by activation probability: those that are large in it most often, whatever they are in
other languages.

Unlike LAPE's, a language's neurons do not depend on which others are looked at, and every language has as many.

Source: Mondal et al., "Language-specific Neurons Do Not Facilitate Cross-Lingual Transfer" (2025), section 2.1,
"Activation Probability 90p".
"""

import torch
from torch import Tensor

from ..command_line import CONVERT
from ..errors import InputError
from .lape import activation_probabilities
from .neuron_profile import NeuronProfile, check_tokens
from .neuron_quantiles import OVERALL, NeuronQuantiles
from .recorder import GATE
from .selection import Origin, Selection

TOP_RATE = 0.00125
THRESHOLDS = ("overall", "zero")


def activation_probability(
    profile: NeuronProfile,
    quantiles: NeuronQuantiles | None,
    *,
    threshold: str = "overall",
    site: str = GATE,
    top_rate: float = TOP_RATE,
) -> Selection:
    """Rank neurons by how often their activation exceeds a threshold in a language, and take the first.

    As printed, equation and prose differ.  The equation compares a neuron with its own 90th percentile in the language,
    which a tenth of its tokens exceed by definition: every neuron would have the relevance 0.1.  The prose compares
    with a percentile "of the overall activation distribution": of the values of all neurons of the model together, over
    the tokens of the language.  That is `overall`, to within the bin of the percentile (`quantile_bins.py`): what is
    counted are values at or above the bound of that bin, and these counts are exact.  `zero` is the relevance that the
    section begins with, of Tang et al. and Xie et al.: how often `gate_proj` gives more than 0.

    Args:
        quantiles: what `overall` needs, of the model of the profile.
        threshold: one of THRESHOLDS.
        site: where `overall` looks, a site of the quantiles; `gate`, as in the statistics of the paper (table 6).
        top_rate: the share of all neurons that each language gets, by default 0.125 %, as in the released scripts; at
            least one.  Equal ones are taken in the order of layers and neurons, and one that never exceeds the
            threshold is not taken.

    Raises InputError: no quantiles, another threshold or site, a rate out of range, or a language without tokens.
    """
    if threshold == "own":
        raise InputError(
            f"threshold own: relative to its own {OVERALL}th percentile every neuron has the same relevance, "
            f"{(100 - OVERALL) / 100:g}; choose one of {', '.join(THRESHOLDS)}"
        )
    if threshold not in THRESHOLDS:
        raise InputError(f"threshold {threshold!r} of activation probability: choose one of {', '.join(THRESHOLDS)}")
    if not 0 < top_rate <= 1:
        raise InputError(f"rate {top_rate} of neurons a language: give a fraction above 0 and at most 1, as {TOP_RATE}")
    check_tokens(profile)
    arguments = {"threshold": threshold, "top_rate": top_rate}
    if threshold == "zero":
        relevance, languages, layers, made_of = (
            activation_probabilities(profile), profile.languages, profile.layers, profile.provenance
        )  # fmt: skip
    else:
        if quantiles is None:
            raise InputError(
                f"activation probability with the threshold overall needs the {OVERALL}th percentile of all "
                "activations, which was not recorded (no neuron_quantiles.safetensors); convert the checkpoint again, "
                f"with {CONVERT} CHECKPOINT --quantiles, or take the threshold zero"
            )
        relevance = quantiles.at(site).above.to(torch.float64) / quantiles.tokens[:, None, None]
        languages, layers, made_of = quantiles.languages, quantiles.layers, quantiles.provenance
        arguments["site"] = site
    masks = torch.stack([_highest(each, max(1, round(top_rate * each.numel()))) for each in relevance])
    return Selection(languages, layers, masks, Origin("activation_probability", arguments, made_of))


def _highest(relevance: Tensor, count: int) -> Tensor:
    """Bool like `relevance` `[layers, neurons]`: the `count` highest that are not 0, of equal ones the first."""
    order = relevance.flatten().argsort(descending=True, stable=True)[:count]
    taken = torch.zeros(relevance.numel(), dtype=torch.bool)
    taken[order] = True
    return taken.view_as(relevance) & (relevance > 0)
