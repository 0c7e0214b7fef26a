"""What the tests of this folder share: a steered checkpoint on disk that chats, beside the plain one it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from conftest import byte_tokenizer, tiny_plain, tiny_steered
from transformers import TrainingArguments

MIXED = ["en", "de", "zh", "fr"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def save_steered(folder: Path, family: Any, **overrides: Any) -> Path:
    """A tiny steered checkpoint with a tokenizer and a chat template; what it says is printable and has no end."""
    return _save(tiny_steered(family, **overrides), folder)


def save_plain(folder: Path, family: Any, **overrides: Any) -> Path:
    """The plain checkpoint with the same weights."""
    return _save(tiny_plain(family, **overrides), folder)


def _save(model: Any, folder: Path) -> Path:
    model.generation_config.update(suppress_tokens=list(range(94, 260)))  # all but "!" to "~"
    model.save_pretrained(folder)
    tokenizer = byte_tokenizer()
    tokenizer.padding_side = "left"
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def logits(model: Any, tokens: torch.Tensor, **language: Any) -> torch.Tensor:
    """Of a batch, without gradients."""
    with torch.no_grad():
        return model(input_ids=tokens, **language).logits


def training_arguments(folder: Path, rows: int, **settings: Any) -> TrainingArguments:
    """On the processor, with all rows in one batch, and nothing reported."""
    return TrainingArguments(
        folder,
        use_cpu=True,
        report_to=[],
        per_device_train_batch_size=rows,
        per_device_eval_batch_size=rows,
        **settings,
    )
