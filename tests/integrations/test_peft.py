"""PEFT: LoRA on a steered model trains, is saved, loads and merges as on a plain one."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_plain, tiny_steered
from integration_helpers import MIXED, logits, save_steered
from torch import Tensor
from transformers import AutoModelForCausalLM

from clas_models.modeling.write import Write

peft = pytest.importorskip("peft")
# `down_proj` reads what steering writes.
TARGETS = ["q_proj", "v_proj", "gate_proj", "up_proj", "down_proj"]
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # gradient checkpointing will get another name
    pytest.mark.filterwarnings("ignore:Unable to fetch remote file"),  # AutoPeftModel looks for a tokenizer, too
]


def with_lora(model: Any, seed: int = 3) -> Any:
    """A LoRA adapter that already changes the output: both of its matrices are random."""
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=TARGETS)
    adapted = peft.get_peft_model(model, config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return adapted


@pytest.fixture
def base(family: Any, tmp_path: Path) -> Path:
    return save_steered(tmp_path / "base", family)


@pytest.fixture
def adapted(base: Path) -> Any:
    return with_lora(AutoModelForCausalLM.from_pretrained(base))


@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointing"])
def test_it_trains_on_a_batch_of_mixed_languages(adapted: Any, checkpointing: bool, tokens: Tensor) -> None:
    before = deepcopy(adapted.state_dict())
    if checkpointing:
        adapted.gradient_checkpointing_enable({"use_reentrant": False})
        adapted.enable_input_require_grads()
    trained = {name: weight for name, weight in adapted.named_parameters() if weight.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2)
    losses = []
    adapted.train()
    for _ in range(6):
        loss = adapted(input_ids=tokens, labels=tokens, language=MIXED).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert losses[-1] < 0.8 * losses[0]
    assert [name for name, weight in trained.items() if not weight.grad.any()] == []
    changed = {name for name, tensor in adapted.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in before if "lora_" in name}
    masks = [name for name in before if name.endswith("_mask")]
    assert len(masks) == 4
    assert all(before[name].dtype == torch.bool for name in masks)


def test_an_adapter_is_saved_and_loads(adapted: Any, base: Path, tokens: Tensor, tmp_path: Path) -> None:
    adapted.save_pretrained(tmp_path / "adapter")
    onto_fresh = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "adapter")
    by_name = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    expected = logits(adapted, tokens, language=MIXED)
    assert not torch.equal(expected, logits(adapted, tokens, language="en"))
    for loaded in (onto_fresh, by_name):
        assert torch.equal(logits(loaded, tokens, language=MIXED), expected)


def test_generate_takes_a_language(adapted: Any, tokens: Tensor) -> None:
    options = {"max_new_tokens": 6, "do_sample": False}
    mixed = adapted.generate(input_ids=tokens, language=MIXED, **options)
    assert torch.equal(mixed[0], adapted.generate(input_ids=tokens, language="en", **options)[0])
    assert torch.equal(mixed[1], adapted.generate(input_ids=tokens, language="de", **options)[1])
    assert not torch.equal(mixed[1], adapted.generate(input_ids=tokens, language="en", **options)[1])


def test_what_is_merged_is_a_steered_model(family: Any, adapted: Any, tokens: Tensor, tmp_path: Path) -> None:
    expected = logits(adapted, tokens, language=MIXED)
    merged = adapted.merge_and_unload()
    torch.testing.assert_close(logits(merged, tokens, language=MIXED), expected, rtol=1e-4, atol=1e-4)
    assert isinstance(merged, family.causal_lm)

    merged.save_pretrained(tmp_path / "merged")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert loaded.steering == merged.steering
    assert torch.equal(logits(loaded, tokens, language=MIXED), logits(merged, tokens, language=MIXED))


def test_an_adapter_of_the_plain_model_fits(family: Any, tokens: Tensor, tmp_path: Path) -> None:
    plain = with_lora(tiny_plain(family))
    plain.save_pretrained(tmp_path)
    steered = peft.PeftModel.from_pretrained(tiny_steered(family), tmp_path)
    assert torch.equal(logits(steered, tokens, language="en"), logits(plain, tokens))
    assert not torch.equal(logits(steered, tokens, language="de"), logits(plain, tokens))


def test_an_adapter_of_another_model_is_refused(family: Any, tmp_path: Path) -> None:
    with_lora(tiny_steered(family)).save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match=r"size mismatch for .*lora_A.*\[4, 32\].*\[4, 64\]"):
        peft.PeftModel.from_pretrained(tiny_steered(family, hidden_size=64), tmp_path)


def test_neurons_are_written_over_under_an_adapter(family: Any, tokens: Tensor) -> None:
    model = with_lora(tiny_steered(family))
    english, german = logits(model, tokens, language="en"), logits(model, tokens, language="de")
    masks = torch.zeros(4, 6, 48, dtype=torch.bool)
    masks[1, :, :10] = True
    with model.intervening(Write(masks, torch.ones(4, 6, 48))):
        assert torch.equal(logits(model, tokens, language="en"), english)
        assert not torch.equal(logits(model, tokens, language="de"), german)
    assert torch.equal(logits(model, tokens, language="de"), german)
