"""What can be taught: for each task how its training file is read, and what a row becomes for a model.

Adding a task is adding a line to TEACHINGS, and a settings file beside those of `clas_models/finetuning/settings`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clas_models.errors import InputError
from clas_models.finetuning.adapter_record import AdapterRecord
from clas_models.finetuning.training import IGNORED, TrainingExample
from clas_models.finetuning.training_rows import TrainingRow, read_pairs, read_questions

from ..adapters import trained_prompts
from ..loading import Checkpoint
from ..prompts import PromptBuilder
from ..tasks import Example
from ..tasks.xnli import LABELS
from ..templates import find_templates


@dataclass(frozen=True)
class Teaching:
    """How a task is taught.

    Attributes:
        task: its name.
        labels: of the classification head; none where answers are generated.
        read: of a training file the rows.
        template: name of the prompts' template.
    """

    task: str
    labels: tuple[str, ...]
    read: Callable[[Path], list[TrainingRow]]
    template: str


TEACHINGS: Mapping[str, Teaching] = {
    "xnli": Teaching("xnli", LABELS, lambda path: read_pairs(path, LABELS), "xnli_head"),
    "xquad": Teaching("xquad", (), read_questions, "xquad"),
}


def teaching_of(task: str) -> Teaching:
    """Raises InputError: the task cannot be taught."""
    if task not in TEACHINGS:
        raise InputError(f"task {task!r} has no training: choose one of {', '.join(TEACHINGS)}")
    return TEACHINGS[task]


@dataclass(frozen=True)
class Prompting:
    """What stands around the texts of a row, in training and in the evaluation.

    Attributes:
        template: with a place for each text of a row.
        chat_template: whether the tokenizer's is around it; never with a head.
        max_length: tokens of a prompt at most.
    """

    teaching: Teaching
    template: str
    chat_template: bool
    max_length: int

    @classmethod
    def of(cls, teaching: Teaching, path: Path | None, chat_template: bool, max_length: int) -> Prompting:
        """Raises InputError: `path`, a template of the user's own, cannot be used."""
        templates = find_templates(teaching.template, path)
        if templates.by_language:
            raise InputError(f"templates {path}: a training has one template for all languages; give a file")
        return cls(teaching, templates.default.text, chat_template and not teaching.labels, max_length)

    def record(self, checkpoint: Checkpoint, training: dict[str, Any]) -> AdapterRecord:
        """What stands beside an adapter; `training` is what else is worth knowing."""
        return AdapterRecord(
            base=checkpoint.name,
            base_fingerprint=checkpoint.source.fingerprint,
            task=self.teaching.task,
            labels=self.teaching.labels,
            template=self.template,
            chat_template=self.chat_template,
            max_length=self.max_length,
            training=training,
        )

    def examples(self, rows: Sequence[TrainingRow], checkpoint: Checkpoint, source: str) -> list[TrainingExample]:
        """The rows as tokens; a prompt that is too long loses the end of what may be cut.

        Raises InputError: one is too long without it; its file and line are named.
        """
        builder = trained_prompts(self.record(checkpoint, {}), checkpoint.tokenizer)
        end = () if self.teaching.labels else (checkpoint.answer_end,)
        return [_example(builder, row, source, end) for row in rows]


def _example(builder: PromptBuilder, row: TrainingRow, source: str, end: tuple[int, ...]) -> TrainingExample:
    ids = builder.build(Example(row.place, row.fields, (), row.place), source).ids
    if isinstance(row.answer, int):
        return TrainingExample(ids, row.answer)
    answer = (*builder.answer(row.answer), *end)
    return TrainingExample((*ids, *answer), (IGNORED,) * len(ids) + answer)
