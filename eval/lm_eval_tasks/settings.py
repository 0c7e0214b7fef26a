"""What a user tells a task of the harness.

`lm_eval` hands every task what stands in `--metadata`, together with what stands in `--model_args`: so a task knows the
model's tokenizer, and the language that the model is told.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from clas_models.command_line import user_path
from clas_models.errors import InputError
from clas_models.modeling.auto_language import is_auto
from clas_models.modeling.language_tags import did_you_mean, own_code

_TOKENIZER_KEYS = ("tokenizer", "pretrained", "model")  # the first that is given; the model's folder has its tokenizer


@dataclass(frozen=True)
class HarnessSettings:
    """The settings of one task.

    Attributes:
        tokenizer: the folder or Hub id that the harness takes the tokenizer from.
        add_bos_token: what the harness is told about special tokens; None leaves it to the tokenizer.
        data_dir: as `--data-dir` of `python -m eval`; None is the Hub.
        templates: as `--templates` there; None are the default ones.
        max_prompt_length: as `--max-length` there; None is 512: a task of the harness does not know the model's room.
            In `--model_args` the name `max_length` stands for the model's own limit.
    """

    tokenizer: str
    add_bos_token: bool | None
    data_dir: Path | None
    templates: Path | None
    max_prompt_length: int | None

    @classmethod
    def of(cls, metadata: Mapping[str, Any], task: str, language: str) -> Self:
        """The keys of `metadata` that concern this task; others are ignored.

        Args:
            metadata: as the harness hands it to the task.
            task: its name, for messages.
            language: the code of its examples.

        Raises InputError: no model is named, a value cannot be used, or the model is told another language.
        """
        named = next((metadata[key] for key in _TOKENIZER_KEYS if metadata.get(key)), None)
        if named is None:
            raise InputError(
                f"{task}: the prompts need the model's tokenizer; name the model as pretrained=DIR in --model_args or "
                "--metadata"
            )
        length = metadata.get("max_prompt_length")
        if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
            raise InputError(f"{task}: max_prompt_length is {length!r}: give a whole number of tokens, 1 or more")
        _check_language(metadata.get("language"), task, language)
        return cls(
            tokenizer=str(named),
            add_bos_token=metadata.get("add_bos_token"),
            data_dir=_path(metadata.get("data_dir")),
            templates=_path(metadata.get("templates")),
            max_prompt_length=length,
        )


def _path(value: object) -> Path | None:
    return None if value is None else user_path(str(value))


def _check_language(told: object, task: str, language: str) -> None:
    """A group has many languages and `--model_args` one: the others would be steered as what they are not."""
    if not isinstance(told, str) or is_auto(told):
        return
    code = own_code(told) or told
    if language not in (code, code.partition("-")[0]):
        raise InputError(
            f"{task}: --model_args has language={told}{did_you_mean(told)}, which would steer its {language} prompts "
            f"as {told}; run the tasks of one language at a time, or leave language= out where the checkpoint has a "
            "language detector"
        )
