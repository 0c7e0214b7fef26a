"""Adapters for tests: what training would leave, with random weights, saved by PEFT itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import torch
from conftest import byte_tokenizer

from clas_models.conversion.loading import load_classifier, load_model
from clas_models.conversion.source import Source, open_source
from clas_models.finetuning.adapter_record import AdapterRecord

LABELS = ("entailment", "neutral", "contradiction")
CPU = torch.device("cpu")
TARGETS = ["q_proj", "gate_proj", "down_proj"]
RECORD = AdapterRecord(
    base="tiny",
    base_fingerprint="0123456789abcdef",
    task="xnli",
    labels=LABELS,
    template="{premise}>{hypothesis}",
    chat_template=False,
    max_length=128,
    training={"setup": "target", "rate": 2e-4, "languages": ["hi", "ur"]},
)


def saved(model: Any, folder: Path) -> Source:
    """A model with the byte tokenizer, as a source."""
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return open_source(str(folder), folder)


def wrapped(source: Source, labels: tuple[str, ...] = LABELS, dtype: str = "float32", **settings: Any) -> Any:
    """The model of a source under a LoRA adapter whose matrices, and head, are random."""
    model = load_classifier(source, labels, dtype, CPU) if labels else load_model(source, dtype, CPU)
    kind = "SEQ_CLS" if labels else "CAUSAL_LM"
    config = peft.LoraConfig(**{"task_type": kind, "r": 4, "lora_alpha": 8, "target_modules": TARGETS, **settings})
    adapted: Any = peft.get_peft_model(model, config).eval()
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return adapted


def save_adapter(folder: Path, source: Source, adapted: Any = None, **record: Any) -> Path:
    """The folder of an adapter for the model of a source, with its record; `record` are fields of another one."""
    adapted = wrapped(source, record.get("labels", LABELS)) if adapted is None else adapted
    adapted.save_pretrained(folder)
    known = {"base": source.name, "base_fingerprint": source.fingerprint}
    replace(RECORD, **{**known, **record}).save(folder)
    return folder
