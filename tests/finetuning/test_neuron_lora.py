"""An adapter's update touches the chosen neurons and nothing else, whatever is done with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from clas_models.errors import InputError
from clas_models.finetuning.neuron_lora import (
    COLUMNS,
    ROWS,
    check_masked,
    layers_of,
    lora_config,
    mask_update,
    neuron_masks,
    trained_numbers,
)
from clas_models.profiling.neuron_profile import Provenance
from clas_models.profiling.selection import Origin, Selection

from .training_helpers import neurons, saved_base

peft = pytest.importorskip("peft")
LAYERS = 6


def adapted(base: Path, **options: Any) -> Any:
    """A base with a masked adapter of rank 4 that already has an update everywhere where it may have one."""
    model = AutoModelForCausalLM.from_pretrained(base, alpha=0.0)
    config = lora_config(neurons(), LAYERS, rank=4, lora_alpha=8, **options)
    model = peft.get_peft_model(model, config)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    mask_update(model, neurons())
    return model


def outside(module: str) -> dict[int, Tensor]:
    """By layer, where the weight of a module of the MLP must keep its bits: bool, as broadcast over the weight."""
    return {layer: ~mask[:, None] if module in ROWS else ~mask[None, :] for layer, mask in neurons().items()}


@pytest.fixture
def base(family: Any, tmp_path: Path) -> Path:
    saved_base(tmp_path / "base", family)
    return tmp_path / "base"


def trained(model: Any, steps: int = 5) -> Any:
    """After steps of Adam with decay, which moves whatever has a gradient."""
    model.train()
    optimizer = torch.optim.AdamW(
        [each for each in model.parameters() if each.requires_grad], lr=1e-2, weight_decay=0.1
    )
    tokens = torch.arange(24).view(2, 12) + 30
    for _ in range(steps):
        optimizer.zero_grad()
        model(input_ids=tokens, labels=tokens, language="en").loss.backward()
        optimizer.step()
    return model.eval()


def test_every_entry_outside_keeps_its_bits_when_it_is_merged(base: Path) -> None:
    before = AutoModelForCausalLM.from_pretrained(base, alpha=0.0).state_dict()
    after = trained(adapted(base)).merge_and_unload().state_dict()
    assert set(before) == set(after)
    for module in (*ROWS, *COLUMNS):
        for layer in range(LAYERS):
            name = f"model.layers.{layer}.mlp.{module}.weight"
            changed = before[name] != after[name]
            assert bool(changed.any()) == (layer in neurons())
            if layer in neurons():
                assert not bool((changed & outside(module)[layer]).any())
                assert bool((changed | outside(module)[layer]).all())  # all that may move has moved
    rest = [name for name in before if ".mlp." not in name and "self_attn" not in name]
    assert all(torch.equal(before[name], after[name]) for name in rest)


def test_a_training_step_is_that_of_a_dense_masked_update(base: Path) -> None:
    """W' = W + M * (B A), with the mask in the forward pass and nothing masked in B and A, has the same gradients
    inside of the mask, and the same logits.
    """
    model = adapted(base, attention=False)
    tokens = torch.arange(24).view(2, 12) + 30
    found = model(input_ids=tokens, labels=tokens, language="en")
    found.loss.backward()
    plain = AutoModelForCausalLM.from_pretrained(base, alpha=0.0)
    factors: dict[str, Tensor] = {}
    replaced: dict[str, Tensor] = {}
    for layer, mask in neurons().items():
        for module in (*ROWS, *COLUMNS):
            name = f"model.layers.{layer}.mlp.{module}"
            lora = model.base_model.model.get_submodule(name)
            for part in ("lora_A", "lora_B"):
                factors[f"{name}.{part}"] = getattr(lora, part)["default"].weight.detach().clone().requires_grad_()
            dense = mask[:, None] if module in ROWS else mask[None, :]
            update = 2.0 * dense * (factors[f"{name}.lora_B"] @ factors[f"{name}.lora_A"])
            replaced[f"{name}.weight"] = plain.get_parameter(f"{name}.weight").detach() + update
    kwargs = {"input_ids": tokens, "labels": tokens, "language": "en"}
    expected = torch.func.functional_call(plain, replaced, kwargs=kwargs)
    expected.loss.backward()
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-5, atol=1e-5)
    for name, factor in factors.items():
        module, part = name.rsplit(".", 1)
        own = getattr(model.base_model.model.get_submodule(module), part)["default"].weight
        torch.testing.assert_close(own.grad, factor.grad, rtol=1e-4, atol=1e-6)


def test_it_saves_and_loads_with_its_zeros(base: Path, tmp_path: Path) -> None:
    trained(adapted(base)).save_pretrained(tmp_path / "adapter")
    check_masked(load_file(tmp_path / "adapter" / "adapter_model.safetensors"), neurons())
    again = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "adapter")
    check_masked(dict(again.named_parameters()), neurons())


def test_a_tensor_that_moved_outside_is_told_by_its_name(base: Path) -> None:
    model = adapted(base)
    tensors = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    masked = [name for name in tensors if re.search(r"(gate|up)_proj.lora_B|down_proj.lora_A", name)]
    assert len(masked) == len(neurons()) * 3
    for name in masked:
        broken = {**tensors, name: tensors[name] + 1e-30}
        with pytest.raises(RuntimeError, match="moved outside of its neurons"):
            check_masked(broken, neurons())


def test_a_gradient_that_overflowed_moves_nothing_outside(base: Path) -> None:
    model = adapted(base)
    parameter = next(each for name, each in model.named_parameters() if "gate_proj.lora_B" in name)
    (parameter * float("inf")).sum().backward()
    assert bool((parameter.grad[~neurons()[1]] == 0).all())
    assert bool(parameter.grad[neurons()[1]].isinf().all())


def test_only_what_moves_is_counted(base: Path) -> None:
    rank, hidden = 4, 32
    neurons_alone = sum(3 * rank * (hidden + int(mask.sum())) for mask in neurons().values())
    assert trained_numbers(adapted(base, attention=False), neurons()) == neurons_alone


@pytest.mark.parametrize("attention", [True, False])
def test_attention_is_trained_in_every_layer_or_in_none(base: Path, attention: bool) -> None:
    model = adapted(base, attention=attention)
    layers = {
        name.split(".layers.")[1].split(".")[0] for name, _ in model.named_parameters() if "attn.q_proj.lora" in name
    }
    assert layers == ({str(layer) for layer in range(LAYERS)} if attention else set())


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(InputError, match="set attention: true"):
        lora_config({}, LAYERS, rank=4, lora_alpha=8, attention=False)


def selection() -> Selection:
    masks = torch.zeros(3, 2, 5, dtype=torch.bool)
    masks[0, 0, 1] = masks[1, 0, 2] = masks[1, 1, 4] = True
    profile = Provenance("model", "llama", None, ("corpus",), 1, 8, "float32", (), {})
    return Selection(("en", "hi", "ur"), (3, 9), masks, Origin("test", {}, profile))


def test_masks_are_the_neurons_of_all_languages_by_layer() -> None:
    found = neuron_masks(selection(), ["hi", "en"], "lape")
    assert {layer: mask.nonzero().flatten().tolist() for layer, mask in found.items()} == {3: [1, 2], 9: [4]}
    assert list(neuron_masks(selection(), ["en"], "lape")) == [3]  # a layer without any is left out


def test_a_language_without_neurons_is_named() -> None:
    with pytest.raises(InputError, match="selection 'lape': no neuron of ur to train"):
        neuron_masks(selection(), ["hi", "ur"], "lape")
    with pytest.raises(InputError, match="'fi' is not among those"):
        neuron_masks(selection(), ["fi"], "lape")


@pytest.mark.parametrize(("layers", "told"), [([5], "5"), ([3, 1, 2, 7], "1 to 3, 7"), ([0, 2], "0, 2")])
def test_layers_are_told_as_runs(layers: list[int], told: str) -> None:
    assert layers_of(layers) == told
