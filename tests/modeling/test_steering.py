"""The arithmetic of steering, against the three steps of section 2.4 of the paper written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clas_models.modeling.steering import Strengths, by_language_id, neuron_factors

NEURONS = 64


def three_steps(
    h: Tensor, shared: Tensor, specific: Tensor, alpha: Tensor | float, beta: float, gamma: float
) -> Tensor:
    """Partial-shared adjustment, language-specific adjustment and blend, as the paper has them."""
    h1 = h * (1 + beta * shared.to(h.dtype))
    h2 = h1 * (1 - gamma * specific.to(h.dtype))
    return (1 - alpha) * h + alpha * h2


def random_masks(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Disjoint masks that leave some neurons in neither."""
    draw = torch.rand(NEURONS, generator=generator)
    return draw < 0.4, draw > 0.7


def scales(alphas: list[float], beta: float, gamma: float) -> Tensor:
    return Strengths(tuple(alphas), beta, gamma).scales()


def steer(h: Tensor, shared: Tensor, specific: Tensor, row_scales: Tensor, language_ids: Tensor) -> Tensor:
    """The product that a layer computes, `[batch, tokens, neurons]`."""
    return h * neuron_factors(shared, specific, row_scales[language_ids].to(h.dtype))[:, None]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("beta", "gamma"), [(0.4, 0.2), (1.7, 1.0), (-0.5, -0.3), (0.0, 0.6)])
def test_one_product_equals_the_three_steps(seed: int, beta: float, gamma: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    alphas = [0.0, 1.0, -1.0, 2.5, -3.0, 0.3]
    h = torch.randn(len(alphas), 7, NEURONS, dtype=torch.float64, generator=generator)
    shared, specific = random_masks(generator)

    steered = steer(h, shared, specific, scales(alphas, beta, gamma), torch.arange(len(alphas)))

    alpha = torch.tensor(alphas, dtype=torch.float64)[:, None, None]
    expected = three_steps(h, shared, specific, alpha, beta, gamma)
    torch.testing.assert_close(steered, expected, rtol=0, atol=1e-12)


def test_three_neurons_by_hand() -> None:
    shared, specific = torch.tensor([True, False, False]), torch.tensor([False, True, False])
    row_scales = scales([0.0, 1.0, -2.0], beta=0.5, gamma=0.25)

    steered = steer(torch.full((3, 1, 3), 8.0), shared, specific, row_scales, torch.tensor([0, 1, 2]))

    assert steered.squeeze(1).tolist() == [[8, 8, 8], [12, 6, 8], [0, 12, 8]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_alpha_zero_keeps_every_bit(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(2, 5, NEURONS, generator=generator).to(dtype)
    h[:, 0, :5] = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.finfo(dtype).smallest_normal / 2], dtype=dtype)

    steered = steer(h, *random_masks(generator), scales([0.0, 1.5], 0.4, 0.2), torch.tensor([0, 1]))

    assert steered.dtype == dtype
    assert torch.equal(steered[0], h[0])
    assert torch.equal(steered[0].signbit(), h[0].signbit())
    assert not torch.equal(steered[1], h[1])


def test_what_one_row_holds_does_not_reach_another() -> None:
    h = torch.ones(2, 1, NEURONS)
    h[1] = torch.nan
    shared, specific = random_masks(torch.Generator().manual_seed(0))

    steered = steer(h, shared, specific, scales([1.0], 0.4, 0.2), torch.tensor([0, 0]))

    assert steered[0].isfinite().all()
    assert steered[1].isnan().all()


def test_gradients_are_those_of_the_three_steps() -> None:
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(1, 3, NEURONS, dtype=torch.float64, generator=generator, requires_grad=True)
    shared, specific = random_masks(generator)
    weight = torch.randn(h.shape, dtype=torch.float64, generator=generator)

    steered = steer(h, shared, specific, scales([-1.5], 0.4, 0.2), torch.tensor([0]))
    (gradient,) = torch.autograd.grad((steered * weight).sum(), h)
    (expected,) = torch.autograd.grad((three_steps(h, shared, specific, -1.5, 0.4, 0.2) * weight).sum(), h)

    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)


def test_a_number_for_alpha_holds_for_all_but_the_anchor() -> None:
    assert by_language_id(-2, ["de", "en", "zh"], "en") == (-2.0, 0.0, -2.0, -2.0)


def test_a_mapping_for_alpha_names_languages_and_a_default() -> None:
    assert by_language_id({"de": -2, "default": 0.5}, ["en", "de", "zh"], "en") == (0.0, -2.0, 0.5, 0.5)


def test_scales_are_exact_and_on_the_cpu_wherever_tensors_are_made() -> None:
    with torch.device("meta"):
        row_scales = Strengths((0.0, 1.5, -2.0), beta=0.4, gamma=0.2).scales()
    assert row_scales.device.type == "cpu"
    assert row_scales.dtype == torch.float64
    columns = [(1.0, 1.0), (1 - 1.5 * 0.2, 1 + 1.5 * 0.4), (1 + 2.0 * 0.2, 1 - 2.0 * 0.4)]
    expected = [[1.0, specific, shared, 1.0] for specific, shared in columns]
    assert row_scales.tolist() == expected
