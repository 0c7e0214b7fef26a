"""What is written over the neurons of a language: a value for each of them, from a neuron profile.

Source: Mondal et al., "Language-specific Neurons Do Not Facilitate Cross-Lingual Transfer" (2025), section 3.2 and
appendix A.  Which neurons are written over is the business of a selection.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import InputError
from ..modeling.rule import ACTIVATED
from .neuron_profile import NeuronProfile, check_tokens
from .recorder import GATE

SITES = {GATE: "gate_sum", ACTIVATED: "act_sum"}
"""Where a value is taken -> the sum that it is read from: before the nonlinearity, or after it.

`gate`, the output of `gate_proj`, is what the released code of Mondal et al. takes, although it is written after the
nonlinearity; `activated`, the output of that, is the consistent variant.
"""


def _mean(profile: NeuronProfile, language: int, site: str) -> Tensor:
    return profile.total(SITES[site])[language] / profile.tokens[language].to(torch.float64)


def _zero(profile: NeuronProfile, language: int, site: str) -> Tensor:
    return torch.zeros_like(profile.sum[language])


VALUES: dict[str, Callable[[NeuronProfile, int, str], Tensor]] = {"mean": _mean, "zero": _zero}
"""Name -> function of a profile, the index of a language and a site to float64 `[layers, neurons]`.

`mean` is that of all tokens of the language: Int mu.  (Appendix A.2.1 takes the mean of the means of sequences; of
sequences of one length, as there, that is the same.)  `zero` is Int 0, the same at both sites.  The percentiles 5, 10,
25, 75, 90 and 95 of section 4 belong here; they need more than the sums in a profile.
"""


def language_values(profile: NeuronProfile, language: str, value: str = "mean", site: str = GATE) -> Tensor:
    """What is written over `act(gate)` of each neuron: float32 `[layers, neurons]`.

    Args:
        value: a key of VALUES.
        site: a key of SITES.

    Raises InputError: an unknown value or site, a language that is not in the profile or has no tokens there, or a
    profile that is too old for the site `activated`.
    """
    if value not in VALUES:
        raise InputError(f"unknown value {value!r} to write: choose one of {', '.join(VALUES)}")
    if site not in SITES:
        raise InputError(f"unknown site {site!r} of a value: choose one of {', '.join(SITES)}")
    chosen = profile.select([language])
    check_tokens(chosen)
    return VALUES[value](chosen, 0, site).to(torch.float32)
