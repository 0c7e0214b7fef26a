"""Masks of a loaded model: told, replaced, refused, saved; and strengths that go back to what was loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_steered
from modeling_helpers import MIXED, assert_anchor_rows_are_plain
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from clas_models import FAMILIES

NEURONS = 48
Pair = tuple[Tensor, Tensor]


def pair(seed: int) -> Pair:
    """Masks without overlap, bool `[48]`."""
    draw = torch.rand(NEURONS, generator=torch.Generator().manual_seed(seed))
    return draw < 0.3, draw > 0.8


def logits(model: Any, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        return model(tokens, language=MIXED).logits


def assert_same(found: dict[int, Pair], expected: dict[int, Pair]) -> None:
    assert list(found) == sorted(expected)
    for layer, masks in found.items():
        for mask, wanted in zip(masks, expected[layer], strict=True):
            assert mask.dtype == torch.bool
            assert torch.equal(mask, wanted)


def test_a_model_tells_its_masks_as_copies(steered: Any) -> None:
    told = steered.masks
    assert {layer: (int(s.sum()), int(p.sum())) for layer, (s, p) in told.items()} == steered.steering.neurons
    told[2][0].logical_not_()
    assert not torch.equal(told[2][0], steered.masks[2][0])


def test_masks_are_in_force_at_once_and_others_stay(family: Any, steered: Any, tokens: Tensor) -> None:
    before = steered.masks
    logits(steered, tokens)  # tables are made
    steered.set_masks({3: pair(7)})
    assert_same(steered.masks, {2: before[2], 3: pair(7)})
    other = tiny_steered(family)
    scale = other.model.layers[3].mlp.scale
    scale.shared_mask, scale.specific_mask = pair(7)
    assert torch.equal(logits(steered, tokens), logits(other, tokens))
    steered.set_masks(before)
    assert torch.equal(logits(steered, tokens), logits(tiny_steered(family), tokens))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_layer_becomes_a_bridge_layer(family: Any, tokens: Tensor, tmp_path: Path, dtype: torch.dtype) -> None:
    tiny_steered(family).save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype)
    model.set_steering(alpha=-1.5, gamma=0.1)
    model.set_masks({4: pair(4), 1: pair(1)})
    assert model.config.bridge_layers == [1, 2, 3, 4]
    assert model.model.config.bridge_layers == [1, 2, 3, 4]
    assert_same(model.masks, {1: pair(1), 2: model.masks[2], 3: model.masks[3], 4: pair(4)})
    assert model.rules[0].layers == (1, 2, 3, 4)
    with model.temporary_steering(alpha=0):
        plain = logits(model, tokens)
    assert_anchor_rows_are_plain(logits(model, tokens), plain)

    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype)
    assert loaded.steering == model.steering
    assert torch.equal(logits(loaded, tokens), logits(model, tokens))
    steps = model.model.layers[4].mlp.scale.row_scales, model.model.layers[3].mlp.scale.row_scales
    assert steps[0].dtype == steps[1].dtype
    model.set_steering(alpha=0.5)  # reaches the new layers, too
    loaded.set_steering(alpha=0.5)
    assert torch.equal(logits(loaded, tokens), logits(model, tokens))


def test_a_model_without_bridge_layers_gets_some(family: Any, tokens: Tensor) -> None:
    model = tiny_steered(family, bridge_layers=[])
    model.set_masks(tiny_steered(family).masks)
    assert torch.equal(logits(model, tokens), logits(tiny_steered(family), tokens))


OVERLAP = (torch.arange(NEURONS) < 9, torch.arange(NEURONS) > 4)


@pytest.mark.parametrize(
    ("masks", "fault"),
    [
        ({3: OVERLAP}, "layer 3: shared_mask and specific_mask overlap in 4 neurons, and a neuron has one category"),
        ({3: (pair(1)[0].float(), pair(1)[1])}, r"layer 3: shared_mask is torch.float32 \[48\]; allowed is .*bool"),
        ({3: (pair(1)[0], pair(1)[1][:40])}, r"layer 3: specific_mask is torch.bool \[40\]"),
        ({3: (pair(1)[0].tolist(), pair(1)[1])}, "layer 3: shared_mask is a list"),
        ({6: pair(1)}, r"bridge_layers\[3\]: 6 is out of range; layers are 0 to 5"),
        ({"3": pair(1)}, r"bridge_layers\[3\]: '3' is not an integer"),
    ],
)  # fmt: skip
def test_refused_masks_change_nothing(steered: Any, tokens: Tensor, masks: dict[Any, Any], fault: str) -> None:
    before, expected = steered.masks, logits(steered, tokens)
    with pytest.raises((TypeError, ValueError), match=fault) as caught:
        steered.set_masks({1: pair(1), 2: pair(2), **masks})
    assert "\n" not in str(caught.value)
    assert_same(steered.masks, before)
    assert steered.config.bridge_layers == [2, 3]
    assert torch.equal(logits(steered, tokens), expected)


@pytest.mark.parametrize("place", [{}, {"device_map": "cpu"}, {"device_map": {"": "disk"}, "offload_buffers": True}])
def test_a_checkpoint_with_masks_that_overlap_does_not_load(steered: Any, tmp_path: Path, place: Any) -> None:
    steered.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.layers.3.mlp.scale.specific_mask"][:] = True
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    if place.get("offload_buffers"):
        place = {**place, "offload_folder": tmp_path / "scratch"}
    with pytest.raises(ValueError, match=r"layer 3: shared_mask and specific_mask overlap in \d+ neurons"):
        AutoModelForCausalLM.from_pretrained(tmp_path, **place)


def test_masks_of_layers_on_disk(steered: Any, tokens: Tensor, tmp_path: Path) -> None:
    steered.save_pretrained(tmp_path / "saved")
    loaded = AutoModelForCausalLM.from_pretrained(
        tmp_path / "saved", device_map={"": "disk"}, offload_buffers=True, offload_folder=tmp_path / "scratch"
    )
    assert_same(loaded.masks, steered.masks)
    for model in (steered, loaded):
        model.set_masks({1: pair(1), 3: pair(3)})
    assert_same(loaded.masks, steered.masks)
    assert torch.equal(logits(loaded, tokens), logits(steered, tokens))
    assert_same(loaded.masks, steered.masks)
    loaded.save_pretrained(tmp_path / "again")
    assert_same(AutoModelForCausalLM.from_pretrained(tmp_path / "again").masks, steered.masks)


def test_reset_steering_brings_back_what_was_loaded(steered: Any, tokens: Tensor, tmp_path: Path) -> None:
    expected = logits(steered, tokens)
    steered.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, gamma=0.7)
    told = loaded.steering
    for model in (steered, loaded):
        model.set_steering(alpha=-3, beta=2)
        model.set_steering(gamma=0)
        model.reset_steering()
    assert torch.equal(logits(steered, tokens), expected)
    assert loaded.steering == told
    assert loaded.steering.gamma == 0.7


def test_reset_steering_leaves_masks_alone(steered: Any) -> None:
    steered.set_masks({3: pair(3), 5: pair(5)})
    masks = steered.masks
    steered.set_steering(alpha=9)
    steered.reset_steering()
    assert_same(steered.masks, masks)
    assert set(steered.model.layers[5].mlp.scale.strengths.alpha) == {0.0, -2.0, 1.5, 1.0}


def test_masks_that_were_set_reach_a_compiled_layer() -> None:
    model = tiny_steered(FAMILIES["llama"])
    scale = model.model.layers[3].mlp.scale
    compiled = torch.compile(scale, backend="eager", fullgraph=True)
    h, ids = torch.ones(1, 1, NEURONS), torch.tensor([2])
    compiled(h, ids)
    model.set_masks({3: pair(8)})
    assert torch.equal(compiled(h, ids), scale(h, ids))
    assert torch.equal(scale(h, ids) > 1, pair(8)[0][None, None])
