"""A few steps on a real model: what is outside of the mask keeps its bits, and the loss falls."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from real_models import smollm2
from transformers import AutoModelForCausalLM, AutoTokenizer

from clas_models.conversion.source import open_source
from clas_models.finetuning.adapted_model import load_adapted
from clas_models.finetuning.adapter_record import AdapterRecord
from clas_models.finetuning.training import Collator, TrainingExample, train, training_model
from clas_models.finetuning.training_settings import TrainingSettings

from .training_helpers import LABELS, Silent

pytestmark = pytest.mark.real
PAIRS = (
    ("A man is riding a horse.", "A man is on a horse.", 0),
    ("A man is riding a horse.", "The man is sleeping.", 2),
    ("Two dogs play in the snow.", "The dogs are brothers.", 1),
    ("Two dogs play in the snow.", "Animals are outside.", 0),
)


def test_neurons_of_a_real_model(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    source = open_source(str(smollm2()), scratch=tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(source.folder)
    examples = [
        TrainingExample(tuple(tokenizer(f"{premise}\n{hypothesis}")["input_ids"]), label)
        for premise, hypothesis, label in PAIRS
    ]
    generator = torch.Generator().manual_seed(0)
    masks = {layer: torch.rand(1536, generator=generator) < 0.01 for layer in (2, 17, 29)}
    settings = TrainingSettings.of_task("xnli").with_values(
        ["learning_rate=5e-4", "rank=8", "lora_alpha=16", "batch_size=4", "epochs=24", "attention=false"]
    )
    model = training_model(source, LABELS, settings, masks, tokenizer.pad_token_id)
    collator, states = Collator(tokenizer.pad_token_id), tmp_path / "states"
    trained = train(model, examples, collator, settings, masks, states, Silent(), on_cpu=True)
    assert trained.steps == 24
    with torch.no_grad():
        after = model.eval()(**collator(examples)).loss
        fresh = training_model(source, LABELS, settings, masks, tokenizer.pad_token_id).eval()
        assert after < fresh(**collator(examples)).loss / 2

    model.save_pretrained(tmp_path / "adapter")
    record = AdapterRecord("smollm2", source.fingerprint, "xnli", LABELS, "{premise}\n{hypothesis}", False, 64)
    record.save(tmp_path / "adapter")
    merged = load_adapted(source, tmp_path / "adapter", "float32", torch.device("cpu"))
    plain = AutoModelForCausalLM.from_pretrained(source.folder)
    for index, (layer, old) in enumerate(zip(merged.model.layers, plain.model.layers, strict=True)):
        mask = masks.get(index, torch.zeros(1536, dtype=torch.bool))
        for name in ("gate_proj", "up_proj"):
            moved = (getattr(layer.mlp, name).weight != getattr(old.mlp, name).weight).any(dim=1)
            assert torch.equal(moved, mask), (index, name)
        assert torch.equal((layer.mlp.down_proj.weight != old.mlp.down_proj.weight).any(dim=0), mask), index
        assert torch.equal(layer.self_attn.q_proj.weight, old.self_attn.q_proj.weight)
    with torch.no_grad():
        assert merged(**collator(examples)).loss == pytest.approx(after.item(), abs=1e-3)
