"""What two categorisations have in common beyond chance, on tables that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clas_models.errors import InputError
from clas_models.profiling.agreement import Agreement, agreement, halves, split_half_agreement
from clas_models.profiling.categories import Category, categorize
from clas_models.profiling.neuron_profile import NeuronProfile, Provenance

DEAD, SPECIFIC, PARTIAL, ALL = Category
LANGUAGES = ("en", "de", "zh")


def random_profile(neurons: int = 4000, shared: float = 0.0, tokens: int = 100, seed: int = 0) -> NeuronProfile:
    """Sums of two halves, each its own coin flips beside what the halves share, in proportion `shared`."""
    generator = torch.Generator().manual_seed(seed)

    def draw() -> torch.Tensor:
        return torch.randn(3, 2, neurons, generator=generator, dtype=torch.float64)

    common = draw()
    first, second = (shared * common + (1 - shared) * draw() for _ in range(2))
    half_positive = (tokens / 2 * first.sigmoid()).round()
    positive = (half_positive + (tokens / 2 * second.sigmoid()).round()).long()
    return NeuronProfile(
        languages=LANGUAGES,
        layers=(1, 4),
        num_model_layers=6,
        tokens=torch.tensor([tokens] * 3),
        sum=first + second,
        sum_abs=first.exp() + second.exp(),
        sum_sq=first.square() + second.square(),
        positive=positive,
        gate_sum=first,
        gate_positive=positive,
        act_sum=first,
        half_tokens=torch.tensor([tokens // 2] * 3),
        half_sum=first.float(),
        half_sum_abs=first.exp().float(),
        half_positive=half_positive.int(),
        provenance=Provenance("random", "llama", None, ("noise",), 2, 512, "float32", ("0",), {}),
    )


def test_a_table_by_hand() -> None:
    """Cohen's own arithmetic: 3 of 5 are alike; 2 of 5 by 2 of 5, 2 by 1, 1 by 2 and 0 by 0 would be by chance."""
    first = torch.tensor([DEAD, DEAD, SPECIFIC, PARTIAL, PARTIAL], dtype=torch.uint8)
    second = torch.tensor([DEAD, DEAD, PARTIAL, PARTIAL, SPECIFIC], dtype=torch.uint8)
    found = agreement(first, second)
    assert found.observed == pytest.approx(3 / 5)
    assert found.chance == pytest.approx(4 / 25 + 1 / 25 + 4 / 25)
    assert found.kappa == pytest.approx((3 / 5 - 9 / 25) / (1 - 9 / 25))
    assert str(found) == "60.0% of the neurons, by chance 36.0%; kappa 0.38"
    assert found.is_low


def test_the_ends_of_the_scale() -> None:
    some = torch.tensor([[DEAD, ALL], [PARTIAL, PARTIAL]], dtype=torch.uint8)
    assert agreement(some, some).kappa == 1.0
    assert not agreement(some, some).is_low
    same = torch.full((4,), int(ALL), dtype=torch.uint8)
    assert agreement(same, same) == Agreement(1.0, 1.0)
    assert agreement(same, same).kappa == 0.0, "one category for all neurons says nothing"
    assert agreement(torch.tensor([0, 3]), torch.tensor([3, 0])).kappa == -1.0


@pytest.mark.parametrize("statistic", ["mean", "mean_abs", "frequency"])
def test_noise_agrees_as_chance_does(statistic: str) -> None:
    found = split_half_agreement(random_profile(), (1, 4), statistic)
    assert found is not None
    assert abs(found.kappa) < 0.03
    assert found.is_low


@pytest.mark.parametrize("statistic", ["mean", "mean_abs", "frequency"])
def test_what_both_halves_share_is_found(statistic: str) -> None:
    kappas = [
        found.kappa
        for shared in (0.3, 0.6, 0.9, 1.0)
        if (found := split_half_agreement(random_profile(shared=shared), (1, 4), statistic))
    ]
    assert kappas == sorted(kappas)
    assert kappas[-2] > 0.7
    assert kappas[-1] > 0.99


def test_it_is_the_agreement_of_the_two_halves_in_these_layers() -> None:
    profile = random_profile(shared=0.5)
    first, second = (categorize(half).categories for half in halves(profile))
    assert split_half_agreement(profile, (1, 4)) == agreement(first, second)
    assert split_half_agreement(profile, (4,)) == agreement(first[1], second[1])
    assert split_half_agreement(profile, (4,), "mean", 0.02) != split_half_agreement(profile, (4,))


def test_halves_add_up() -> None:
    profile = random_profile()
    first, second = halves(profile)
    assert torch.equal(first.tokens + second.tokens, profile.tokens)
    for name in ("sum", "sum_abs", "positive"):
        torch.testing.assert_close(getattr(first, name) + getattr(second, name), getattr(profile, name))


@pytest.mark.parametrize("lacking", [{"half_sum": None}, {"half_tokens": torch.tensor([100] * 3)}])
def test_without_two_halves_nothing_is_known(lacking: dict[str, torch.Tensor | None]) -> None:
    assert split_half_agreement(replace(random_profile(), **lacking), (1, 4)) is None


def test_what_categorize_refuses() -> None:
    with pytest.raises(InputError, match="unknown statistic 'median'"):
        split_half_agreement(random_profile(), (1,), "median")
