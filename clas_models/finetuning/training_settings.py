"""How a model is fine-tuned: the numbers of a training, from a settings file or set one by one.

`settings/TASK.yaml` of this folder have the paper's (Mondal et al. 2025, appendix B.3).  What is trained, and on what,
is left to `setups.py` and `training_rows.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import yaml

from ..errors import InputError
from ..json_data import from_json

_DEFAULTS = Path(__file__).parent / "settings"


@dataclass(frozen=True)
class TrainingSettings:
    """The numbers of a training.

    Attributes:
        rank, lora_alpha, lora_dropout: of LoRA.
        attention: whether attention is trained beside the neurons.
        learning_rate: at its highest, after the warm-up; it falls linearly to 0.
        warmup: the part of all steps in which it rises linearly.
        weight_decay, max_grad_norm, adam_beta1, adam_beta2: of AdamW.
        epochs: passes over the rows; may be a part of one.
        batch_size: rows of a forward pass, on each process.
        accumulate: forward passes whose gradients are one step.
        max_length: tokens of a prompt; a longer one loses the end of what may be cut, as in an evaluation.
        rows: how many of the training file are used, drawn with the seed; null is all.
        save_steps: steps between the states from which an interrupted training goes on.
        seed: of the head, the adapter, the order of the rows and which are drawn.
        precision: `bf16` is mixed precision, `full` none, `auto` bf16 where a GPU has it.
        load_in_4bit: the frozen weights as nf4 with double quantisation (bitsandbytes).
        checkpointing: less memory for more time: activations are computed again for the gradient.
    """

    rank: int = 64
    lora_alpha: int = 128
    lora_dropout: float = 0.0
    attention: bool = True
    learning_rate: float = 1e-6
    warmup: float = 0.01
    weight_decay: float = 0.1
    max_grad_norm: float = 10.0
    adam_beta1: float = 0.95
    adam_beta2: float = 0.999
    epochs: float = 2.0
    batch_size: int = 8
    accumulate: int = 1
    max_length: int = 256
    rows: int | None = None
    save_steps: int = 100
    seed: int = 0
    precision: str = "auto"
    load_in_4bit: bool = False
    checkpointing: bool = False

    @classmethod
    def of_task(cls, task: str) -> Self:
        """The paper's for a task."""
        return cls.of_file(_DEFAULTS / f"{task}.yaml")

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Those of a YAML file; what it does not name is as in the class.

        Raises InputError: it cannot be read, or a name or value in it cannot be used.
        """
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise InputError(f"{path}: cannot be read ({_line(error)}); give a YAML file of settings") from error
        return cls._checked({} if values is None else values, str(path))

    def with_values(self, given: Sequence[str]) -> Self:
        """With some of them set, each as `name=value`. Raises InputError: a name or value that cannot be used."""
        values: dict[str, Any] = {}
        for text in given:
            name, equals, value = text.partition("=")
            if not equals or not name.strip():
                raise InputError(f"setting {text!r}: write name=value, such as learning_rate=2e-4")
            values[name.strip()] = _value(value.strip())
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return self._checked({**own, **values}, "--set")

    @classmethod
    def _checked(cls, values: Any, place: str) -> Self:
        if isinstance(values, Mapping):  # YAML 1.1 takes 1e-6, without a point, for a text
            values = {name: _value(value) if isinstance(value, str) else value for name, value in values.items()}
        try:
            settings = from_json(cls, values)
            settings._check()
        except (TypeError, ValueError) as error:
            known = ", ".join(field.name for field in fields(cls))
            raise InputError(f"{place}: {error}; settings are {known}") from None
        return settings

    def _check(self) -> None:
        """Raises ValueError: a number is out of its range."""
        for name in ("rank", "lora_alpha", "batch_size", "accumulate", "max_length", "save_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)}, allowed is 1 or more")
        for name in ("learning_rate", "epochs", "max_grad_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name}: {getattr(self, name)}, allowed is more than 0")
        for name in ("lora_dropout", "warmup", "adam_beta1", "adam_beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)}, allowed is 0 to less than 1")
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(f"weight_decay: {self.weight_decay}, allowed is 0 or more")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed: {self.seed}, allowed is 0 to 4294967295")
        if self.rows is not None and self.rows < 1:
            raise ValueError(f"rows: {self.rows}, allowed is 1 or more, or null for all")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision: {self.precision!r}, allowed is one of {', '.join(PRECISIONS)}")


PRECISIONS = ("auto", "bf16", "full")


def _value(text: str) -> Any:
    """A value as YAML has it; 1e-6 is a number here."""
    try:
        value = yaml.safe_load(text)
        return float(text) if isinstance(value, str) else value
    except (ValueError, yaml.YAMLError):
        return text


def _line(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).replace("\n", " ")
