"""Correlations over languages: by hand, SciPy's p, and what is undefined."""

import math

import pytest
from scipy import stats

from eval.analysis.correlations import Correlation, correlation

ONE = {"en": 1.0, "de": 2.0, "sw": 3.0, "th": 4.0}


def test_r_by_hand_and_p_of_the_t_distribution():
    found = correlation(ONE, {"th": 3.0, "sw": 4.0, "de": 1.0, "en": 2.0})  # in another order
    assert found.r == pytest.approx(3 / 5)  # deviations: 3 over 5
    t = found.r * math.sqrt(2 / (1 - found.r**2))
    assert found.p == pytest.approx(2 * stats.t.sf(t, 2))
    assert found.languages == 4


def test_only_languages_with_both_numbers_count():
    other = {"en": 2.0, "de": 4.0, "sw": 6.5, "th": math.nan, "zh": 1.0}
    assert correlation(ONE, other) == correlation({code: ONE[code] for code in ("en", "de", "sw")}, other)
    assert correlation(ONE, other).languages == 3


SAME_BUT_FOR_ROUNDING = {"en": 0.1 + 0.2, "de": 0.3, "sw": 0.3, "th": 0.3}


@pytest.mark.parametrize(
    "other",
    [{}, {"en": 1.0, "de": 5.0}, dict.fromkeys(ONE, 2.0), dict.fromkeys(ONE, math.inf), SAME_BUT_FOR_ROUNDING],
)
def test_what_is_undefined_has_no_number(other):
    found = correlation(ONE, other)
    assert (found.r, found.p, found.mark) == (None, None, "")


@pytest.mark.parametrize(("p", "mark"), [(0.0005, "***"), (0.005, "**"), (0.03, "*"), (0.05, ""), (None, "")])
def test_marks(p, mark):
    assert Correlation(5, 0.5, p).mark == mark
