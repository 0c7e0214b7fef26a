"""The numbers of a perplexity change, from nats that are written by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from eval.analysis.perplexity_numbers import PerplexityChange
from eval.analysis.perplexity_parts import Part

TOKENS = [10, 30]


def part(before: list[float], *after: list[float]) -> Part:
    """Nats of two rows, without a write and with that of each language."""
    return Part(torch.tensor([before, *after], dtype=torch.float64), torch.tensor(TOKENS))


def small() -> PerplexityChange:
    """German loses a nat a token by its own neurons; English loses by German ones."""
    return PerplexityChange.of(
        {"en": part([20, 60], [20, 60], [24, 72]), "de": part([30, 90], [30, 90], [40, 120])}
    )  # fmt: skip


def test_the_change_is_a_difference_of_perplexities() -> None:
    found = small()
    assert found.before.tolist() == pytest.approx([math.exp(2), math.exp(3)])
    assert found.after[1].tolist() == pytest.approx([math.exp(2.4), math.exp(4)]), "rows are whose neurons"
    assert found.change[0].tolist() == [0, 0]
    assert found.change[1].tolist() == pytest.approx([math.exp(2.4) - math.exp(2), math.exp(4) - math.exp(3)])
    assert found.log_ratio.flatten().tolist() == pytest.approx([0, 0, 0.4, 1])


def test_rows_count_by_their_tokens() -> None:
    found = PerplexityChange.of({"en": part([10, 0], [20, 0], [10, 0]), "de": part([0, 30], [0, 30], [0, 60])})
    assert found.log_ratio.flatten().tolist() == pytest.approx([10 / 40, 0, 0, 30 / 40])


def test_the_diagonal_against_the_rest() -> None:
    found = small().diagonal(log=True)
    assert (found.own, found.others) == (pytest.approx(0.5), pytest.approx(0.2))
    assert (found.difference.low, found.difference.high) == (pytest.approx(0.3), pytest.approx(0.3)), "rows agree"
    change = small().diagonal(log=False)
    assert change.own == pytest.approx((math.exp(4) - math.exp(3)) / 2)
    assert change.difference.mean == pytest.approx(change.own - (math.exp(2.4) - math.exp(2)) / 2)


def test_each_text_has_its_own_neurons_against_the_others() -> None:
    found = small().by_text()
    assert (found["en"].own, found["en"].others) == (pytest.approx(0), pytest.approx(0.4))
    assert found["de"].difference.mean == pytest.approx(1)
    assert small().largest_own() == ["de"]
    assert small().strongest_others(1) == [("de", "en", pytest.approx(0.4))]


def test_the_interval_is_that_of_a_bootstrap_over_rows() -> None:
    generator = np.random.default_rng(0)
    nats, tokens = generator.gamma(4, 10, size=(3, 4, 60)), np.tile(generator.integers(5, 30, size=60), (3, 1)) * 1.0
    found = PerplexityChange(("a", "b", "c"), nats, tokens).diagonal(log=True).difference
    draws = []
    for _ in range(2000):
        rows = generator.integers(60, size=60)
        ratio = (nats[:, 1:, rows] - nats[:, :1, rows]).sum(-1) / tokens[:, None, rows].sum(-1)
        own = np.eye(3, dtype=bool)
        draws.append(ratio[own].mean() - ratio[~own].mean())
    low, high = np.percentile(draws, [2.5, 97.5])
    assert found.low == pytest.approx(low, abs=0.08 * (high - low))
    assert found.high == pytest.approx(high, abs=0.08 * (high - low))


def test_what_no_float_holds_is_infinite_and_its_log_ratio_is_not() -> None:
    found = PerplexityChange.of({"en": part([0, 0], [8e3, 3e4], [0, 0]), "de": part([0, 0], [0, 0], [0, 0])})
    assert math.isinf(found.change[0, 0])
    assert found.log_ratio[0, 0] == pytest.approx(950)
