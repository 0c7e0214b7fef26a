"""A tiny steered checkpoint on disk, neurons of two of its layers, and examples to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from conftest import byte_tokenizer, tiny_steered
from torch import Tensor

from clas_models.conversion.source import Source, open_source
from clas_models.finetuning.training import TrainingExample
from clas_models.finetuning.training_settings import TrainingSettings

LABELS = ("entailment", "neutral", "contradiction")
PAD = 256
QUICK = ("rank=4", "lora_alpha=8", "learning_rate=1e-2", "epochs=3", "batch_size=2", "save_steps=2")
EXAMPLES = [TrainingExample(tuple(range(10 + row, 20 + 2 * row)), row % 3) for row in range(7)]
ANSWERS = [TrainingExample((40, 41, 42 + row, 50, 51), (-100, -100, -100, 50, 51)) for row in range(6)]


def saved_base(folder: Path, family: Any) -> Source:
    tiny_steered(family).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return open_source(str(folder), scratch=folder)


def neurons() -> dict[int, Tensor]:
    """Two neurons of layer 1 and one of layer 4."""
    masks = {layer: torch.zeros(48, dtype=torch.bool) for layer in (1, 4)}
    masks[1][[3, 7]] = True
    masks[4][40] = True
    return masks


def quick_settings(*changes: str) -> TrainingSettings:
    """A training of 12 steps on EXAMPLES."""
    return TrainingSettings.of_task("xnli").with_values([*QUICK, *changes])


class Silent:
    """A bar that shows nothing and counts steps."""

    def __init__(self) -> None:
        self.steps, self.done, self.seen = 0, 0, 0

    def begin(self, steps: int, done: int) -> None:
        self.steps, self.done = steps, done

    def step(self, loss: float | None) -> None:
        self.seen += 1
