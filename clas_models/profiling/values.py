"""What is written over the neurons of a language: a value for each of them, from a profile and its quantiles.

A kind of value is a function and a line in VALUES.  Which neurons are written over is the business of a selection.

Source: Mondal et al., "Language-specific Neurons Do Not Facilitate Cross-Lingual Transfer" (2025), section 3.2 and
appendix A.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ..command_line import CONVERT
from ..errors import InputError
from ..modeling.rule import ACTIVATED
from .known import Known
from .neuron_profile import check_tokens
from .neuron_quantiles import PERCENTS, NeuronQuantiles
from .recorder import GATE

SITES = {GATE: "gate_sum", ACTIVATED: "act_sum"}
"""Where a value is taken -> the sum that its mean is read from: before the nonlinearity, or after it.

`gate`, the output of `gate_proj`, is what the released code of Mondal et al. takes, although it is written after the
nonlinearity; `activated`, the output of that, is the consistent variant.
"""

_Made: TypeAlias = Callable[[Known, str, str, str], Tensor]


@dataclass(frozen=True)
class Value:
    """A kind of value.

    Attributes:
        pattern: what it is written as; a group in it is handed on.
        made: function of a Known of one language, that language, a site, and what the pattern's group holds ("" without
            one), to `[layers, neurons]` for the layers of the profile.
        written: the one way to write it, from what the group holds; raises ValueError for what it cannot be.
        needs_quantiles: whether the profile is not enough.
    """

    pattern: str
    made: _Made
    written: Callable[[str], str]
    needs_quantiles: bool = False


def _mean(known: Known, language: str, site: str, _: str = "") -> Tensor:
    return known.profile.total(SITES[site])[0] / known.profile.tokens[0].to(torch.float64)


def _zero(known: Known, language: str, site: str, _: str) -> Tensor:
    return torch.zeros_like(known.profile.sum[0])


def _percentile(known: Known, language: str, site: str, percent: str) -> Tensor:
    quantiles = _quantiles(known, f"p{percent}")
    return _of_layers(quantiles.of(language, int(percent), site), quantiles, known)


def _deviation(known: Known, language: str, site: str, times: str) -> Tensor:
    quantiles = _quantiles(known, f"mean{times}std")
    std = _of_layers(quantiles.std(language, site), quantiles, known)
    return _mean(known, language, site) + _factor(times) * std


def _quantiles(known: Known, value: str) -> NeuronQuantiles:
    if known.quantiles is None:
        raise InputError(
            f"value {value}: quantiles were not recorded (no neuron_quantiles.safetensors); convert the checkpoint "
            f"again, with {CONVERT} CHECKPOINT --quantiles, or write mean or zero"
        )
    return known.quantiles


def _of_layers(values: Tensor, quantiles: NeuronQuantiles, known: Known) -> Tensor:
    profile = known.profile
    if not set(profile.layers) <= set(quantiles.layers) or values.shape[1] != profile.num_neurons:
        raise InputError(
            f"quantiles of other layers or neurons ({quantiles.provenance.model}) than the profile's "
            f"({profile.provenance.model}); make them again, with {CONVERT} CHECKPOINT --quantiles"
        )
    return values[[quantiles.layers.index(layer) for layer in profile.layers]]


def _factor(times: str) -> float:
    return float(times if times[1:] else f"{times}1")


def _written_percentile(percent: str) -> str:
    if not 0 < int(percent) < 100:
        raise ValueError("a percentile is between 1 and 99")
    return f"p{int(percent)}"


def _written_deviation(times: str) -> str:
    told = f"{_factor(times):+.6f}".rstrip("0").rstrip(".")
    if not 0 < abs(float(told)) < math.inf:
        raise ValueError("write how many standard deviations, such as mean+2std; without any it is mean")
    return f"mean{told}std"


VALUES: Mapping[str, Value] = {
    "mean": Value("mean", _mean, lambda _: "mean"),
    "zero": Value("zero", _zero, lambda _: "zero"),
    f"p{PERCENTS[0]} … p{PERCENTS[-1]}": Value(r"p(\d{1,2})", _percentile, _written_percentile, needs_quantiles=True),
    "mean+2std": Value(r"mean([+-](?:\d+\.?\d*|\.\d+)?)std", _deviation, _written_deviation, needs_quantiles=True),
}
"""How values are shown in messages -> their kinds.

`mean` is that of all tokens of the language: Int mu.  (Appendix A.2.1 takes the mean of the means of sequences; of
sequences of one length, as there, that is the same.)  `zero` is Int 0, the same at both sites.  `p90` is Int P90, a
percentile over the tokens of the language; those that were recorded are said by the quantiles.  `mean+2std` and
`mean-0.5std` are so many standard deviations over these tokens above and below the mean.
"""


def read_value(text: str) -> str:
    """The one way to write the value that `text` describes: `p90`, `mean+1std` for `mean+std` or `mean+1.0std`.

    Raises InputError: there is no such value.
    """
    kind, group = _kind(text)
    try:
        return kind.written(group)
    except ValueError as error:
        raise InputError(f"value {text!r} to write: {error}") from None


def needs_quantiles(value: str) -> bool:
    """Whether a profile alone does not have it. Raises InputError: there is no such value."""
    return _kind(value)[0].needs_quantiles


def language_values(known: Known, language: str, value: str = "mean", site: str = GATE) -> Tensor:
    """What is written over `act(gate)` of each neuron: float32 `[layers, neurons]`, for the layers of the profile.

    Args:
        value: as `read_value` takes it.
        site: a key of SITES.

    Raises InputError: an unknown value or site; a language that was not profiled or has no tokens; a profile that is
    too old for the site `activated`; or quantiles, a percentile, standard deviations or a site that was not recorded.
    """
    kind, group = _kind(value)
    if site not in SITES:
        raise InputError(f"unknown site {site!r} of a value: choose one of {', '.join(SITES)}")
    profile = known.profile.select([language])
    check_tokens(profile)
    return kind.made(Known(profile, known.quantiles), profile.languages[0], site, group).to(torch.float32)


def _kind(text: str) -> tuple[Value, str]:
    for kind in VALUES.values():
        if found := re.fullmatch(kind.pattern, text, re.ASCII):
            return kind, found.group(1) if found.groups() else ""
    raise InputError(f"unknown value {text!r} to write: choose one of {', '.join(VALUES)}")
