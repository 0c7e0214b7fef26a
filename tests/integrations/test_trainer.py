"""Trainer keeps a column `language` for every head, and each row is steered by it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import STEERING, TINY
from datasets import Dataset
from integration_helpers import training_arguments
from transformers import Trainer

from clas_models.modeling.configuration_clas import MODEL_CLASSES

ROWS = 4
# What each head learns from beside its tokens.
LABELS: dict[str, dict[str, list[Any]]] = {
    "AutoModelForCausalLM": {"labels": [list(range(20 + row, 29 + row)) for row in range(ROWS)]},
    "AutoModelForSequenceClassification": {"labels": [0, 1, 1, 0]},
    "AutoModelForTokenClassification": {"labels": [[0, 1, 1] * 3] * ROWS},
    "AutoModelForQuestionAnswering": {"start_positions": [1, 2, 3, 4], "end_positions": [3, 4, 5, 6]},
}
LANGUAGES = [0, 1, 2, 4]  # en, de, zh, and one that was not profiled


def steered_head(family: Any, kind: str) -> Any:
    torch.manual_seed(0)
    # A warm head: with the default range the loss hardly depends on what is steered.
    model = getattr(transformers, kind).from_config(family.config(**TINY, **STEERING))
    for layer in model.config.bridge_layers:
        scale = model.base_model.layers[layer].mlp.scale
        scale.shared_mask[::2] = True
        scale.specific_mask[1::4] = True
    return model.eval()


def rows(kind: str) -> dict[str, list[Any]]:
    tokens = [list(range(20 + row, 29 + row)) for row in range(ROWS)]
    return {"input_ids": tokens, "language": LANGUAGES, **LABELS[kind]}


def trainer(model: Any, data: dict[str, list[Any]], folder: Path, **settings: Any) -> Trainer:
    dataset = Dataset.from_dict(data)
    return Trainer(model, training_arguments(folder, ROWS, **settings), train_dataset=dataset, eval_dataset=dataset)


@pytest.mark.parametrize("kind", MODEL_CLASSES)
def test_every_forward_names_language_and_positions(family: Any, kind: str) -> None:
    model_class = type(getattr(transformers, kind).from_config(family.config(**TINY)))
    assert {"language", "positions"} <= inspect.signature(model_class.forward).parameters.keys()


@pytest.mark.parametrize("kind", LABELS)
def test_the_column_reaches_the_rows(family: Any, kind: str, tmp_path: Path) -> None:
    model, data = steered_head(family, kind), rows(kind)
    found = trainer(model, data, tmp_path).evaluate()["eval_loss"]
    tensors = {name: torch.tensor(column) for name, column in data.items()}
    with torch.no_grad():
        assert found == pytest.approx(model(**tensors).loss.item(), abs=1e-6)
        assert found != pytest.approx(model(**{**tensors, "language": "en"}).loss.item(), abs=1e-4)


@pytest.mark.parametrize("kind", LABELS)
def test_a_step_of_training_follows_the_column(family: Any, kind: str, tmp_path: Path) -> None:
    data = rows(kind)
    settings = {
        "max_steps": 1,
        "learning_rate": 0.01,
        "lr_scheduler_type": "constant",
        "save_strategy": "no",
        "seed": 1,
    }
    by_column, as_english = steered_head(family, kind), steered_head(family, kind)
    trainer(by_column, data, tmp_path, **settings).train()
    trainer(as_english, {**data, "language": [0] * ROWS}, tmp_path, **settings).train()
    weights = [model.base_model.layers[0].mlp.down_proj.weight for model in (by_column, as_english)]
    assert not torch.equal(*weights)
