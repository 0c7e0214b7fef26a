"""Does one number of a language go with another?  Pearson's correlation, as in Table 2 of "Language-Specific Latent
Process".
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

_ROUNDING = 1e-12  # values that agree to this are the same
_MARKS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


@dataclass(frozen=True)
class Correlation:
    """Attributes:
    languages: how many have both numbers.
    r, p: None where undefined: fewer than three languages, or a number that is the same in all.
    """

    languages: int
    r: float | None = None
    p: float | None = None

    @property
    def mark(self) -> str:
        """`***`, `**` or `*` for p below 0.001, 0.01 and 0.05."""
        return "" if self.p is None else next((mark for level, mark in _MARKS if self.p < level), "")


def correlation(one: Mapping[str, float], other: Mapping[str, float]) -> Correlation:
    """Pearson's r with its two-sided p, over the languages for which both have a number that is finite.

    With two languages r is always 1 or -1 and says nothing.
    """
    shared = [code for code in one if code in other and math.isfinite(one[code]) and math.isfinite(other[code])]
    first, second = (np.array([values[code] for code in shared], dtype=np.float64) for values in (one, other))
    if len(shared) < 3 or min(np.ptp(first), np.ptp(second)) <= _ROUNDING:
        return Correlation(len(shared))
    found = stats.pearsonr(first, second)
    return Correlation(len(shared), float(found.statistic), float(found.pvalue))
