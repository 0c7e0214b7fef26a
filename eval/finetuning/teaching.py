"""What can be taught: for each task how its training file is read, and what a row becomes for a model.

Adding a task is adding a line to TEACHINGS, and a settings file beside those of `clas_models/finetuning/settings`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clas_models.errors import InputError
from clas_models.finetuning.training import IGNORED, TrainingExample
from clas_models.finetuning.training_rows import TrainingRow, read_pairs, read_questions

from ..loading import Checkpoint
from ..prompts import PromptBuilder
from ..scoring import HEAD, LETTER, LIKELIHOOD, as_scored
from ..tasks import Example, task_of
from ..tasks.xnli import LABELS
from ..templates import Templates, find_templates


@dataclass(frozen=True)
class Teaching:
    """How a task is taught.

    Attributes:
        task: its name.
        labels: of the classification head; none where answers are generated.
        read: of a training file the rows.
        template: name of the prompts' template.
        scoring: how a trained model is evaluated.
    """

    task: str
    labels: tuple[str, ...]
    read: Callable[[Path], list[TrainingRow]]
    template: str
    scoring: str


TEACHINGS: Mapping[str, Teaching] = {
    "xnli": Teaching("xnli", LABELS, lambda path: read_pairs(path, LABELS), "xnli_head", HEAD),
    "xquad": Teaching("xquad", (), read_questions, "xquad", LETTER),
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
        templates: in force for all languages.
        chat_template: whether the tokenizer's is around them; never with a head.
        max_length: tokens of a row at most.
    """

    teaching: Teaching
    templates: Templates
    chat_template: bool
    max_length: int

    @classmethod
    def of(cls, teaching: Teaching, path: Path | None, chat_template: bool, max_length: int) -> Prompting:
        """Raises InputError: `path`, a template of the user's own, cannot be used."""
        chat = chat_template and not teaching.labels
        return cls(teaching, find_templates(teaching.template, path), chat, max_length)

    def examples(self, rows: Sequence[TrainingRow], checkpoint: Checkpoint, source: str) -> list[TrainingExample]:
        """The rows as tokens; one that is too long loses the end of its context, where the task allows that.

        Raises InputError: a row is too long; its file and line are named.
        """
        scored = as_scored(task_of(self.teaching.task), HEAD if self.teaching.labels else LIKELIHOOD)
        end = () if self.teaching.labels else (_end(checkpoint),)
        room = self.max_length - len(end)
        builder = PromptBuilder(checkpoint.tokenizer, self.templates, scored, room, self.chat_template)
        return [self._example(builder, row, source, end) for row in rows]

    def _example(
        self, builder: PromptBuilder, row: TrainingRow, source: str, end: tuple[int, ...]
    ) -> TrainingExample:
        gold: Any = (row.answer,)
        try:
            prompt = builder.build(Example(row.place, row.fields, gold, row.place), source)
        except InputError as error:
            raise InputError(f"{row.place}: {error}") from None
        if isinstance(row.answer, int):
            return TrainingExample(prompt.ids, row.answer)
        answer = (*prompt.continuations[0], *end)
        return TrainingExample((*prompt.ids, *answer), (IGNORED,) * len(prompt.ids) + answer)


def _end(checkpoint: Checkpoint) -> int:
    """The token that ends an answer: the tokenizer's own where it is one that the model stops at."""
    stops, own = checkpoint.eos_token_ids, checkpoint.tokenizer.eos_token_id
    if not stops:
        raise InputError(f"{checkpoint.name}: no token ends its answers; set eos_token_id in its config.json")
    return int(own) if own in stops else min(stops)
