"""What transformers and PEFT decide by a model's name is decided for a steered model as for its base: trained side by
side on English rows, both have the same losses and end with the same weights.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_plain, tiny_steered
from datasets import Dataset
from integration_helpers import training_arguments
from transformers import DataCollatorWithFlattening, Trainer

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
ROWS = 4
ADAPTERS = {
    "lora": lambda: peft.LoraConfig(task_type="CAUSAL_LM"),
    "ia3": lambda: peft.IA3Config(task_type="CAUSAL_LM"),
    "adalora": lambda: peft.AdaLoraConfig(task_type="CAUSAL_LM", total_step=10),
    "layer norms": lambda: peft.LNTuningConfig(task_type="CAUSAL_LM"),
}


def rows(language: int | None = 0) -> dict[str, list[Any]]:
    """Rows of tokens with labels; the plain model's Trainer drops the column `language`, which its forward lacks."""
    tokens = [list(range(20 + row, 29 + row)) for row in range(ROWS)]
    columns: dict[str, list[Any]] = {"input_ids": tokens, "labels": tokens}
    return columns if language is None else columns | {"language": [language] * ROWS}


def losses(model: Any, data: dict[str, list[Any]], folder: Path, **settings: Any) -> list[float]:
    """Of three steps of training and of an evaluation behind them."""
    collator = settings.pop("data_collator", None)
    arguments = training_arguments(
        folder,
        ROWS,
        learning_rate=0.01,
        max_steps=3,
        logging_steps=1,
        save_strategy="no",
        seed=1,
        **settings,
    )
    dataset = Dataset.from_dict(data)
    trainer = Trainer(model, arguments, train_dataset=dataset, eval_dataset=dataset, data_collator=collator)
    trainer.train()
    return [step["loss"] for step in trainer.state.log_history if "loss" in step] + [trainer.evaluate()["eval_loss"]]


@pytest.mark.parametrize("adapter", [None, "lora"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("packing", [False, True])
def test_the_losses_are_those_of_the_plain_model(
    family: Any, adapter: str | None, smoothing: float, packing: bool, tmp_path: Path
) -> None:
    found = []
    for model in (tiny_plain(family), tiny_steered(family, language="en")):
        torch.manual_seed(0)  # of an adapter's first values
        wrapped = peft.get_peft_model(model, ADAPTERS[adapter]()) if adapter else model
        settings: dict[str, Any] = {"label_smoothing_factor": smoothing}
        data = rows()
        if packing:  # the rows of a batch become one, which has one language: the configuration's
            settings["data_collator"] = DataCollatorWithFlattening()
            data = rows(language=None)
        found.append(losses(wrapped, data, tmp_path, **settings))
    assert found[0] == found[1]
    assert found[0][0] > found[0][-1]


@pytest.mark.parametrize("language", ["de", "zh"])
def test_packed_rows_are_steered_in_the_language_of_the_configuration(
    family: Any, language: str, tmp_path: Path
) -> None:
    def packed(spoken: str) -> list[float]:
        model = tiny_steered(family, language=spoken)
        return losses(model, rows(language=None), tmp_path, data_collator=DataCollatorWithFlattening())

    assert packed(language) != packed("en")


@pytest.mark.parametrize("smoothing", [1e-9, 0.2])
def test_smoothing_shifts_the_labels(family: Any, smoothing: float, tmp_path: Path) -> None:
    """Were they not shifted, a model would learn to repeat its input: the loss falls, the next token is missed."""

    def without_training(label_smoothing_factor: float, model: Any) -> float:
        arguments = training_arguments(tmp_path, ROWS, label_smoothing_factor=label_smoothing_factor)
        return Trainer(model, arguments, eval_dataset=Dataset.from_dict(rows())).evaluate()["eval_loss"]

    plain, steered = tiny_plain(family), tiny_steered(family)
    assert without_training(smoothing, steered) == without_training(smoothing, plain)
    if smoothing == 1e-9:
        assert without_training(smoothing, steered) == pytest.approx(without_training(0, steered), abs=1e-5)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_changes_by_default_what_it_changes_in_the_plain_model(family: Any, adapter: str) -> None:
    def changed(make: Callable[..., Any]) -> set[str] | str:
        try:
            model = peft.get_peft_model(make(family), ADAPTERS[adapter]())
        except ValueError as error:  # PEFT has no default for the base either
            return str(error)
        return {name for name, parameter in model.named_parameters() if parameter.requires_grad}

    assert changed(tiny_steered) == changed(tiny_plain) != set()
    if adapter == "lora":
        assert isinstance(changed(tiny_steered), set)


def test_adaption_prompts_are_for_the_families_that_peft_has_them_for(family: Any, tokens: torch.Tensor) -> None:
    def loss(make: Callable[..., Any], **language: str) -> float | str:
        torch.manual_seed(0)  # of the prompts
        try:
            config = peft.AdaptionPromptConfig(task_type="CAUSAL_LM", adapter_layers=2, adapter_len=4)
            model = peft.get_peft_model(make(family), config)
        except ValueError as error:
            return str(error).partition(":")[0]
        return float(model(input_ids=tokens, labels=tokens, **language).loss)

    assert loss(tiny_steered, language="en") == loss(tiny_plain)
    assert isinstance(loss(tiny_plain), float if family.base in ("llama", "mistral") else str)
