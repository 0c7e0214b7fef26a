"""The rule of CLAS in one layer: what it computes, and that its table of factors is never stale."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from conftest import STEERING
from torch import Tensor

from clas_models.modeling.scale import ScaleInLayer
from clas_models.modeling.steering import Strengths, neuron_factors

NEURONS = 64
STRENGTHS = Strengths((0.0, 1.0, -2.0), beta=0.5, gamma=0.25)
OTHERS = Strengths((0.0, 3.0, 0.5), beta=0.1, gamma=0.9)
IDS = torch.tensor([0, 1, 2, 1])


def scale(seed: int = 0) -> ScaleInLayer:
    layer = ScaleInLayer(STRENGTHS, NEURONS)
    fill(layer, seed)
    return layer


def fill(layer: ScaleInLayer, seed: int) -> None:
    draw = torch.rand(NEURONS, generator=torch.Generator().manual_seed(seed))
    layer.shared_mask.copy_(draw < 0.4)
    layer.specific_mask.copy_(draw > 0.7)


def hidden(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(4, 5, NEURONS, generator=torch.Generator().manual_seed(1)).to(dtype)


def expected(layer: ScaleInLayer, h: Tensor) -> Tensor:
    """From what the buffers hold at this moment, with nothing kept."""
    scales = layer.row_scales[IDS.to(h.device)].to(h.dtype)
    return h * neuron_factors(layer.shared_mask, layer.specific_mask, scales)[:, None]


def is_current(layer: ScaleInLayer, h: Tensor) -> bool:
    return torch.equal(layer(h, IDS), expected(layer, h))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_each_row_is_multiplied_by_the_factors_of_its_language(dtype: torch.dtype) -> None:
    layer, h = scale(), hidden(dtype)
    found = layer(h, IDS)
    assert found.dtype == dtype
    assert torch.equal(found, expected(layer, h))
    assert torch.equal(found[0], h[0])


def test_part_of_the_neurons_is_multiplied_by_its_own_factors() -> None:
    layer, h = scale(), hidden()
    whole = layer(h, IDS)
    for part in (slice(0, 20), slice(20, 64), slice(0, 20)):
        assert torch.equal(layer(h[..., part], IDS, part), whole[..., part])


def test_an_id_without_strengths_is_an_error() -> None:
    with pytest.raises(IndexError):
        scale()(hidden()[:1], torch.tensor([3]))


def replace_masks(layer: ScaleInLayer) -> None:
    layer.shared_mask, layer.specific_mask = layer.specific_mask.clone(), layer.shared_mask.clone()


def load_masks(layer: ScaleInLayer) -> None:
    layer.load_state_dict(scale(seed=5).state_dict())


def assign_masks(layer: ScaleInLayer) -> None:
    layer.load_state_dict(scale(seed=5).state_dict(), assign=True)


def write_one(layer: ScaleInLayer) -> None:
    layer.shared_mask[3] = ~layer.shared_mask[3]


def exchange_memory(layer: ScaleInLayer) -> None:
    layer.shared_mask.data = layer.specific_mask.clone()


def write_in_inference_mode(layer: ScaleInLayer) -> None:
    with torch.inference_mode():
        fill(layer, seed=6)


def strengths_in_inference_mode(layer: ScaleInLayer) -> None:
    with torch.inference_mode():
        layer.set_strengths(OTHERS)


def move_in_inference_mode(layer: ScaleInLayer) -> None:
    with torch.inference_mode():
        layer.double().float()
        fill(layer, seed=7)


CHANGES: list[Callable[[ScaleInLayer], Any]] = [
    lambda layer: layer.set_strengths(OTHERS),
    lambda layer: fill(layer, seed=4),
    lambda layer: layer.shared_mask.zero_(),
    lambda layer: layer.row_scales.mul_(2),
    lambda layer: layer.double(),
    lambda layer: layer.half().float(),
    replace_masks,
    load_masks,
    assign_masks,
    write_one,
    exchange_memory,
    write_in_inference_mode,
    strengths_in_inference_mode,
    move_in_inference_mode,
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("inference", [False, True])
def test_whatever_changes_a_buffer_is_in_force_at_once(change: Any, inference: bool) -> None:
    layer, h = scale(), hidden()
    with torch.inference_mode(inference):
        before = layer(h, IDS)
        assert is_current(layer, h)
    change(layer)
    with torch.inference_mode(inference):
        assert is_current(layer, h)
    changed = not torch.equal(layer(h, IDS), before)
    assert changed or layer.row_scales.dtype == torch.float64 or change is CHANGES[5]


def test_the_table_is_made_once_for_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("clas_models.modeling.scale.neuron_factors", lambda *a: calls.append(1) or neuron_factors(*a))
    layer, h = scale(), hidden()
    for _ in range(5):
        layer(h, IDS)
    assert len(calls) == 1
    layer.set_strengths(OTHERS)
    for _ in range(5):
        layer(h, IDS)
    assert len(calls) == 2


def test_a_table_that_was_made_for_inference_serves_in_training() -> None:
    layer = scale()
    with torch.inference_mode():
        layer(hidden(), IDS)
    h = hidden().requires_grad_()
    layer(h, IDS).sum().backward()
    assert h.grad is not None
    assert torch.equal(h.grad[0], torch.ones_like(h[0]))


def test_copies_and_pickles_have_tables_of_their_own() -> None:
    layer, h = scale(), hidden()
    before = layer(h, IDS)
    for copy in (deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(copy(h, IDS), before)
        copy.shared_mask.zero_()
        assert is_current(copy, h)
    assert torch.equal(layer(h, IDS), before)


def test_a_compiled_layer_follows_its_buffers() -> None:
    layer, h = scale(), hidden()
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    for change in (lambda layer: None, lambda layer: layer.set_strengths(OTHERS), lambda layer: fill(layer, 9)):
        change(layer)
        assert torch.equal(compiled(h, IDS), expected(layer, h))


def test_a_model_says_what_it_scales_with(steered: Any) -> None:
    (rule,) = steered.rules
    assert (rule.name, rule.site, rule.layers) == ("scale", "neurons", tuple(STEERING["bridge_layers"]))
    assert rule.strengths.alpha == (0.0, -2.0, 1.5, 1.0, 1.0)
    with steered.temporary_steering(alpha=3):
        assert steered.rules[0].strengths.alpha == (0.0, 3.0, 3.0, 3.0, 3.0)
    assert steered.rules == (rule,)
