"""Bins, and quantiles from counts in them, against sorted values and torch.quantile."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clas_models.profiling.quantile_bins import LARGEST, NUM_BINS, bins_of, edges, error_bound, quantiles, rank

PERCENTS = (5, 10, 25, 50, 75, 90, 95)


def told(values: Tensor, percents: tuple[int, ...] = PERCENTS) -> Tensor:
    """Quantiles of `values` `[count, neurons]` by counts: `[percents, neurons]`."""
    counts = torch.stack([bins_of(column).bincount(minlength=NUM_BINS) for column in values.T]).to(torch.int32)
    return quantiles(counts, percents, len(values))


def drawn(kind: str, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    normal = torch.randn((count, 20), generator=generator)
    kinds = {
        "normal": normal * torch.logspace(-3, 1.5, 20),
        "heavy": normal**3,
        "silu": torch.nn.functional.silu(2 * normal - 1),
        "tiny": normal * 1e-6,
        "constant": torch.full((count, 20), 0.37),
        "zeros": torch.zeros(count, 20),
        "two lumps": torch.where(normal > 0.5, 7 + 0.01 * normal, -0.2 + 0.001 * normal),
    }
    return kinds[kind]


def test_every_value_is_in_its_bin() -> None:
    values = torch.cat([torch.linspace(-300, 300, 100_001), torch.logspace(-9, 2.4, 5000), torch.tensor([0.0, -0.0])])
    values = values.sort().values
    bins, bounds = bins_of(values), edges()
    assert bool((bins.diff() >= 0).all())
    assert (int(bins.min()), int(bins.max()), len(bounds)) == (0, NUM_BINS - 1, NUM_BINS + 1)
    assert bool((bounds.diff() > 0).all())
    inside = values[values.abs() < LARGEST]
    low, high = bounds[bins_of(inside)], bounds[bins_of(inside) + 1]
    assert bool(((low - 1e-7 <= inside) & (inside <= high + 1e-7)).all())
    assert bool((high - low <= error_bound(inside)).all())


@pytest.mark.parametrize("kind", ["normal", "heavy", "silu", "tiny", "constant", "zeros", "two lumps"])
@pytest.mark.parametrize("count", [1, 2, 7, 201, 5000])
def test_quantiles_are_within_the_bound(kind: str, count: int) -> None:
    values = drawn(kind, count)
    found, ordered = told(values), values.sort(dim=0).values
    for percent, row in zip(PERCENTS, found, strict=True):
        exact = ordered[rank(percent, count) - 1]
        assert bool(((row - exact).abs() <= error_bound(exact)).all()), percent
        # The exact one is where torch.quantile puts it, or one of its two neighbours.
        ends = [torch.quantile(values, percent / 100, dim=0, interpolation=how) for how in ("lower", "higher")]
        assert bool(((ends[0] <= exact) & (exact <= ends[1])).all()), percent


def test_between_the_neighbours_there_is_nothing_where_the_place_is_whole() -> None:
    values = drawn("normal", 201)  # 200 steps: every percentile stands on a value
    for percent, row in zip(PERCENTS, told(values), strict=True):
        exact = torch.quantile(values, percent / 100, dim=0)
        assert bool(((row - exact).abs() <= error_bound(exact)).all())


def test_with_many_values_the_error_is_far_below_the_bound() -> None:
    values = torch.randn((100_000, 4), generator=torch.Generator().manual_seed(0))
    exact = torch.quantile(values, torch.tensor(PERCENTS) / 100, dim=0)
    assert ((told(values) - exact).abs() / error_bound(exact)).max() < 0.1


@pytest.mark.parametrize(
    ("percent", "count", "place"), [(5, 1, 1), (5, 20, 1), (5, 21, 2), (10, 30, 3), (50, 4, 2), (95, 100, 95)]
)
def test_ranks_by_hand(percent: int, count: int, place: int) -> None:
    assert rank(percent, count) == place  # (10, 30): in floating point 0.1 * 30 is above 3


def test_what_is_beyond_the_last_bin_counts_as_the_largest() -> None:
    found = told(torch.tensor([[-1e6, 1e6], [-1e6, 1e6]]), (50,))[0]
    assert found[0] < -LARGEST * 15 / 16
    assert found[1] > LARGEST * 15 / 16
