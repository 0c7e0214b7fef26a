"""A training: a base with an adapter on neurons of its MLPs, attention and a head, by transformers' Trainer.

Devices, several processes, mixed precision, accumulation and going on after an interruption are the Trainer's.  Which
neurons, and what rows of text become, is said by others (`setups.py`, and the command).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from ..conversion.loading import HEAD, load_classifier, load_model
from ..conversion.source import Source
from ..errors import InputError
from ..json_data import parse_json
from .neuron_lora import check_masked, lora_config, mask_update, trained_numbers
from .training_settings import TrainingSettings

STATE_NAME = "trainer_state.json"
IGNORED = -100  # a label that torch's cross entropy leaves out


@dataclass(frozen=True)
class TrainingExample:
    """What a model reads, and what it should say.

    Attributes:
        ids: tokens of the prompt, or of the prompt and its answer.
        labels: the index of a label, or a token for each of `ids`, IGNORED where nothing is learned.
    """

    ids: tuple[int, ...]
    labels: int | tuple[int, ...]


@dataclass(frozen=True)
class Trained:
    """What a training has come to.

    Attributes:
        steps: of the optimiser.
        seconds: of this process's last attempt.
        numbers: how many numbers were trained.
        losses: the mean loss a row since the previous entry, by step.
    """

    steps: int
    seconds: float
    numbers: int
    losses: tuple[tuple[int, float], ...]


class Told(Protocol):
    """What hears of a training: its steps and how many are done, then each step, with the last loss known."""

    def begin(self, steps: int, done: int) -> None: ...

    def step(self, loss: float | None) -> None: ...


class Examples(Dataset[TrainingExample]):
    """The examples, as the Trainer takes them."""

    def __init__(self, examples: Sequence[TrainingExample]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> TrainingExample:
        return self.examples[index]


@dataclass(frozen=True)
class Collator:
    """Examples as a batch, padded behind the last token.

    Attributes:
        pad: the token that fills up.
        language: the id of the rows' language in a steered model; None for a plain one.
    """

    pad: int
    language: int | None = None

    def __call__(self, examples: Sequence[TrainingExample]) -> dict[str, Tensor]:
        ids = [torch.tensor(example.ids) for example in examples]
        labels = [torch.tensor(example.labels) for example in examples]
        batch = {
            "input_ids": _padded(ids, self.pad),
            "attention_mask": _padded([torch.ones_like(row) for row in ids], 0),
            "labels": _padded(labels, IGNORED) if labels[0].dim() else torch.stack(labels),
        }
        if self.language is not None:
            batch["language"] = torch.full((len(examples),), self.language)
        return batch


def _padded(rows: list[Tensor], value: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)


def training_model(
    source: Source,
    labels: Sequence[str],
    settings: TrainingSettings,
    masks: Mapping[int, Tensor],
    pad: int,
    *,
    on_cpu: bool = False,
) -> Any:
    """The base of a checkpoint, unsteered, with an adapter that has learned nothing yet.

    Args:
        labels: of a classification head; none is a causal language model.
        masks: as of `neuron_masks`.
        pad: the token that batches are filled up with.
        on_cpu: leave a GPU alone.

    Raises InputError: it cannot be loaded, or not in 4 bits, or lacks a weight; or nothing would be trained.
    """
    from peft import get_peft_model, prepare_model_for_kbit_training

    set_seed(settings.seed)  # of the head and the adapter
    fields: dict[str, Any] = {"pad_token_id": pad}
    if source.is_steered:
        fields |= {"alpha": 0.0, "vector_strength": 0.0}
    if settings.load_in_4bit:
        fields["quantization_config"] = _four_bits()
    dtype, device = _dtype(settings, on_cpu), _own_device(on_cpu)
    if labels:
        model = load_classifier(source, labels, dtype, device, **fields)
    else:
        model = load_model(source, dtype, device, **fields)
    model.config.use_cache = False
    if settings.load_in_4bit:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    config = lora_config(
        masks,
        int(source.config.num_hidden_layers),
        rank=settings.rank,
        lora_alpha=settings.lora_alpha,
        dropout=settings.lora_dropout,
        attention=settings.attention,
        head=HEAD if labels else None,
    )
    adapted = get_peft_model(model, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:  # PEFT leaves a head as the base is, where small steps would be rounded away
            parameter.data = parameter.data.float()
    if settings.checkpointing:
        adapted.gradient_checkpointing_enable({"use_reentrant": False})
        adapted.enable_input_require_grads()
    mask_update(adapted, masks)
    return adapted


def _dtype(settings: TrainingSettings, on_cpu: bool) -> str:
    """Of the frozen weights; what is trained is float32 whatever they are."""
    return "float32" if on_cpu or not _mixed(settings) else "bfloat16"


def _mixed(settings: TrainingSettings) -> bool:
    if settings.precision == "auto":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return settings.precision == "bf16"


def _own_device(on_cpu: bool) -> torch.device:
    """Of this process, where several have one each."""
    from accelerate import PartialState

    return torch.device("cpu") if on_cpu else torch.device(PartialState().device)


def _four_bits() -> Any:
    """The paper's (appendix B.3): nf4, double quantisation, products in bfloat16; the head stays as it is."""
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise InputError("load_in_4bit: bitsandbytes is not installed; install it, or leave load_in_4bit out")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=[HEAD, "lm_head"],
    )


class _Watch(TrainerCallback):
    """Tells of every step, and makes sure that nothing has moved outside of the masks."""

    def __init__(self, masks: Mapping[int, Tensor], told: Told) -> None:
        self.masks, self.told = masks, told

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.told.begin(state.max_steps, state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.told.step(next((entry["loss"] for entry in reversed(state.log_history) if "loss" in entry), None))

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        _check(model, self.masks)


def _check(model: Any, masks: Mapping[int, Tensor]) -> None:
    """Raises InputError: what is trained is not finite; RuntimeError: something moved outside of the masks."""
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    if bad := next((name for name, each in parameters.items() if not bool(each.isfinite().all())), None):
        raise InputError(f"{bad} is no longer finite: lower learning_rate")
    check_masked(parameters, masks)


def train(
    model: Any,
    examples: Sequence[TrainingExample],
    collator: Collator,
    settings: TrainingSettings,
    masks: Mapping[int, Tensor],
    folder: Path,
    told: Told,
    *,
    on_cpu: bool = False,
) -> Trained:
    """Train an adapter; what an earlier attempt has left in the folder goes on.

    Args:
        model: of `training_model`, with the same masks; its adapter is trained in place.
        folder: for the Trainer's states; the caller removes it when the adapter is saved.
        told: such as a bar.
        on_cpu: leave a GPU alone.

    Raises:
        InputError: what is trained is no longer finite.
        RuntimeError: something moved outside of the masks.
    """
    numbers = trained_numbers(model, masks)
    trainer = Trainer(
        model,
        _arguments(settings, folder, on_cpu),
        data_collator=collator,
        train_dataset=Examples(examples),
        callbacks=[_Watch(masks, told)],
    )
    trainer.remove_callback(PrinterCallback)
    result = trainer.train(resume_from_checkpoint=_last_state(folder))
    _check(model, masks)
    losses = tuple((int(entry["step"]), entry["loss"]) for entry in trainer.state.log_history if "loss" in entry)
    return Trained(trainer.state.global_step, result.metrics["train_runtime"], numbers, losses)


def _last_state(folder: Path) -> str | None:
    """The last of the Trainer's states that is whole: its own file is the last that it writes."""
    numbers = {int(path.name.rpartition("-")[2]): path for path in folder.glob("checkpoint-*")}
    for _, path in sorted(numbers.items(), reverse=True):
        try:
            parse_json((path / STATE_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # it was stopped while it wrote this one
            continue
        return str(path)
    return None


def _arguments(settings: TrainingSettings, folder: Path, on_cpu: bool) -> TrainingArguments:
    return TrainingArguments(
        str(folder),
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulate,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        adam_beta1=settings.adam_beta1,
        adam_beta2=settings.adam_beta2,
        bf16=_mixed(settings),
        use_cpu=on_cpu,
        seed=settings.seed,
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=1,
        logging_steps=10,
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=not on_cpu and torch.cuda.is_available(),
    )
