"""Counts of values in bins, and quantiles from the counts: what makes quantiles of a stream constant in memory.

All neurons, layers and languages have the same bins, so that counts can be summed over any of them.  A bin is as wide
as a sixteenth of the power of two below |x| + 1/64: near 0 bins have a fixed width, far from it one in proportion.  So
a quantile that is told from counts is off by less than (|x| + 1/64) / 16, whatever the values are and however many; see
`error_bound`.  Usually it is off by much less, because ranks within a bin are interpolated.

A bin's number is read from the bits of |x| + 1/64 as float32: its exponent and the first four bits of its fraction.
"""

import torch
from torch import Tensor

FINEST = 2.0**-6  # what is added to |x|; far below it all values are alike
_FRACTION = 4  # bits of the fraction, so 16 bins from one power of two to the next
_OCTAVES = 14
LARGEST = FINEST * 2**_OCTAVES - FINEST
"""Values beyond it, nearly 256, count as the largest in their direction."""
_HALF = _OCTAVES << _FRACTION  # bins on each side of 0
NUM_BINS = 2 * _HALF
_SHIFT = 23 - _FRACTION
_FIRST = int(torch.tensor(FINEST).view(torch.int32)) >> _SHIFT


def bins_of(values: Tensor) -> Tensor:
    """The bin of every value, which is finite and float32: int32 of the same shape, ascending with the value."""
    magnitude = values.abs().add_(FINEST).view(torch.int32)
    magnitude.bitwise_right_shift_(_SHIFT).sub_(_FIRST).clamp_(max=_HALF - 1)
    # x and -x are in bins _HALF + k and _HALF - 1 - k, and -1 - k is ~k.
    return magnitude.bitwise_xor_(-(values < 0).to(torch.int32)).add_(_HALF)


def edges(device: torch.device | None = None) -> Tensor:
    """The bounds of the bins, float32 `[NUM_BINS + 1]`: bin k holds what lies between the k-th and the next."""
    numbers = torch.arange(_FIRST, _FIRST + _HALF + 1, dtype=torch.int32, device=device)
    upper = (numbers << _SHIFT).view(torch.float32) - FINEST
    return torch.cat([-upper.flip(0), upper[1:]])


def error_bound(values: Tensor) -> Tensor:
    """How far a quantile that is told may lie from `values`, the exact ones, within the largest: the width of a bin."""
    return (values.abs() + FINEST) * (2.0**-_FRACTION * (1 + 2.0**-18))  # and what float32 rounds


def rank(percent: int, count: int) -> int:
    """The place, from 1, of a percentile among `count` sorted values: the first value that at least so many per cent
    are not above (Mondal et al., appendix A.2.2).
    """
    return max(1, -(-percent * count // 100))


def quantiles(counts: Tensor, percents: tuple[int, ...], count: int) -> Tensor:
    """From counts `[..., NUM_BINS]`, which add up to `count` everywhere, the percentiles, float32 `[percents, ...]`.

    Ranks within a bin are spread over it evenly.
    """
    bounds = edges(counts.device)
    up_to = counts.cumsum(-1)
    found = []
    for percent in percents:
        k = rank(percent, count)
        place = (up_to < k).sum(-1, keepdim=True)
        inside = counts.gather(-1, place)
        before = up_to.gather(-1, place) - inside
        share = (k - before - 0.5) / inside
        low = bounds[place]
        found.append((low + (bounds[place + 1] - low) * share).squeeze(-1))
    return torch.stack(found)
