"""Settings: the paper's by task, a user's file, and single values, all checked."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from clas_models.errors import InputError
from clas_models.finetuning.training_settings import TrainingSettings

SETTINGS = Path(__file__).parents[2] / "clas_models" / "finetuning" / "settings"
PAPER = {
    "rank": 64,
    "lora_alpha": 128,
    "weight_decay": 0.1,
    "max_grad_norm": 10,
    "adam_beta1": 0.95,
    "adam_beta2": 0.999,
    "warmup": 0.01,
}
BY_TASK = {
    "xnli": {"learning_rate": 1e-6, "epochs": 2, "batch_size": 8, "max_length": 256},
    "xquad": {"learning_rate": 5e-5, "epochs": 10, "batch_size": 4, "max_length": 512},
}


@pytest.mark.parametrize("task", BY_TASK)
def test_the_defaults_are_those_of_appendix_b3(task: str) -> None:
    settings = TrainingSettings.of_task(task)
    for name, value in {**PAPER, **BY_TASK[task]}.items():
        assert getattr(settings, name) == value


@pytest.mark.parametrize("path", sorted(SETTINGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_settings_file_is_plain_yaml_with_numbers(path: Path) -> None:
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert all(isinstance(value, (int, float)) for value in values.values())


def test_every_setting_can_be_set() -> None:
    given = {"precision": "full", "load_in_4bit": "true", "attention": "false", "checkpointing": "true", "rows": "7",
             "warmup": "0.5", "lora_dropout": "0.5", "adam_beta1": "0.5", "adam_beta2": "0.5"}  # fmt: skip
    before = TrainingSettings()
    after = before.with_values([f"{field.name}={given.get(field.name, '3')}" for field in fields(TrainingSettings)])
    assert all(getattr(before, field.name) != getattr(after, field.name) for field in fields(TrainingSettings))


@pytest.mark.parametrize("text", ["2e-4", "2E-4", "0.0002", "2.0e-04"])
def test_a_number_is_a_number_with_or_without_a_point(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"learning_rate: {text}\n")
    assert TrainingSettings.of_file(tmp_path / "mine.yaml").learning_rate == 2e-4
    assert TrainingSettings().with_values([f"learning_rate={text}"]).learning_rate == 2e-4


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("learning_rate", "write name=value"),
        ("rate=1", "no field 'rate'; settings are rank, lora_alpha"),
        ("learning_rate=fast", "learning_rate: 'fast' in place of a number"),
        ("learning_rate=0", "learning_rate: 0.0, allowed is more than 0"),
        ("learning_rate=.inf", "allowed is more than 0"),
        ("batch_size=0", "batch_size: 0, allowed is 1 or more"),
        ("batch_size=2.5", "in place of a whole number"),
        ("warmup=1", "warmup: 1.0, allowed is 0 to less than 1"),
        ("adam_beta2=1", "adam_beta2"),
        ("rows=0", "rows: 0, allowed is 1 or more, or null"),
        ("precision=int8", "precision: 'int8', allowed is one of auto, bf16, full"),
        ("load_in_4bit=perhaps", "load_in_4bit"),
        ("seed=-1", "seed: -1"),
        ("weight_decay=-1", "weight_decay: -1"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_line(given: str, fault: str) -> None:
    with pytest.raises(InputError, match=fault.replace("(", r"\(")) as caught:
        TrainingSettings().with_values([given])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "rank: [1\n", "42\n", "rank: 1\nrnak: 2\n"])
def test_a_file_that_is_no_settings_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"mine\.yaml"):
        TrainingSettings.of_file(path)
    with pytest.raises(InputError, match=r"other\.yaml: cannot be read"):
        TrainingSettings.of_file(tmp_path / "other.yaml")


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert TrainingSettings.of_file(tmp_path / "empty.yaml") == TrainingSettings()
