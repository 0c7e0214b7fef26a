"""bitsandbytes: a steered checkpoint in 4 and 8 bits is the quantised plain one, steered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from integration_helpers import MIXED, logits, save_plain, save_steered
from torch import Tensor
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from clas_models.modeling.steering import neuron_factors
from clas_models.modeling.write import Write

pytest.importorskip("bitsandbytes")
KINDS = {
    "int8": {"load_in_8bit": True},
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
}
SIZES = {"hidden_size": 64, "intermediate_size": 128}  # whole blocks of 64 weights


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(family: Any, tmp_path: Path) -> Path:
    return save_steered(tmp_path / "steered", family, **SIZES)


def load(folder: Path, kind: str, **options: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=BitsAndBytesConfig(**{**KINDS[kind], **options})
    )


def test_weights_are_quantised_and_masks_are_not(folder: Path, kind: str) -> None:
    original, model = AutoModelForCausalLM.from_pretrained(folder), load(folder, kind)
    assert model.steering == original.steering
    for index in model.config.bridge_layers:
        mlp, old = model.model.layers[index].mlp, original.model.layers[index].mlp
        assert {layer.weight.element_size() for layer in (mlp.gate_proj, mlp.up_proj, mlp.down_proj)} == {1}
        for name in ("shared_mask", "specific_mask", "row_scales"):
            assert getattr(mlp.scale, name).dtype == getattr(old.scale, name).dtype
            assert torch.equal(getattr(mlp.scale, name), getattr(old.scale, name))


def test_a_language_steers_and_the_anchor_is_the_quantised_plain_model(
    family: Any, folder: Path, kind: str, tokens: Tensor, tmp_path: Path
) -> None:
    # With outliers set apart (the default) the rows of a batch in 8 bits depend on each other, in plain models, too.
    options = {"llm_int8_threshold": 0.0} if kind == "int8" else {}
    model, plain = load(folder, kind, **options), load(save_plain(tmp_path / "plain", family, **SIZES), kind, **options)
    unsteered, mixed = logits(plain, tokens), logits(model, tokens, language=MIXED)
    assert torch.equal(logits(model, tokens, language="en"), unsteered)
    assert [torch.equal(row, other) for row, other in zip(mixed, unsteered, strict=True)] == [True, False, False, False]
    assert torch.equal(mixed[1], logits(model, tokens, language="de")[1])
    model.set_steering(alpha=0)
    assert torch.equal(logits(model, tokens, language=MIXED), unsteered)


def test_a_bridge_layer_rescales_what_its_quantised_weights_give(folder: Path, kind: str) -> None:
    mlp = load(folder, kind).model.layers[2].mlp
    x, ids = torch.randn(4, 5, 64, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 4])
    with torch.no_grad():
        h = mlp.act_fn(mlp.gate_proj(x)) * mlp.up_proj(x)
        factors = neuron_factors(mlp.scale.shared_mask, mlp.scale.specific_mask, mlp.scale.row_scales[ids])
        expected = mlp.down_proj(h * factors[:, None])
        assert torch.equal(mlp(x, ids), expected)
        assert not torch.equal(mlp(x, ids), mlp.down_proj(h))


def test_it_is_saved_and_loaded(folder: Path, kind: str, tokens: Tensor, tmp_path: Path) -> None:
    model = load(folder, kind)
    # Before the first forward pass: with some processors bitsandbytes then rearranges 4-bit weights for good.
    model.save_pretrained(tmp_path / "quantised")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "quantised")
    assert loaded.steering == model.steering
    assert torch.equal(logits(loaded, tokens, language=MIXED), logits(model, tokens, language=MIXED))


def test_neurons_are_written_over(folder: Path, kind: str, tokens: Tensor) -> None:
    model = load(folder, kind)
    english, german = logits(model, tokens, language="en"), logits(model, tokens, language="de")
    masks = torch.zeros(4, 6, 128, dtype=torch.bool)
    masks[1, :, :10] = True
    with model.intervening(Write(masks, torch.ones(4, 6, 128))):
        assert torch.equal(logits(model, tokens, language="en"), english)
        assert not torch.equal(logits(model, tokens, language="de"), german)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # gradient checkpointing will get another name
def test_an_adapter_trains_on_it(folder: Path, kind: str, tokens: Tensor) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "down_proj"])
    frozen = peft.prepare_model_for_kbit_training(
        load(folder, kind), gradient_checkpointing_kwargs={"use_reentrant": False}
    )
    model = peft.get_peft_model(frozen, config).train()
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-2)
    losses = []
    for _ in range(5):
        loss = model(input_ids=tokens, labels=tokens, language=MIXED).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
