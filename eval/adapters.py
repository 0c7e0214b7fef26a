"""An adapter in an evaluation: what it is asked, and with which prompts, is what it was trained for.

Prompts of training and of evaluation are made here, by the one `PromptBuilder`, so that they have the same tokens.
Putting an adapter into a model is the business of `clas_models.finetuning`.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from clas_models.errors import InputError
from clas_models.finetuning.adapter_record import RECORD_NAME, AdapterRecord

from .prompts import PromptBuilder
from .scoring import HEAD, LETTER, as_scored
from .tasks import Task, task_of
from .templates import Template, Templates, find_templates, with_places_of


def fitting_scoring(adapter: Path | None) -> str:
    """The scoring where a user names none: an adapter with a head is asked for its labels.

    Raises InputError: the adapter's record is damaged.
    """
    return LETTER if _with_head(adapter) is None else HEAD


def check_adapter(
    adapter: Path | None,
    scoring: str,
    tasks: Sequence[Task],
    templates: Path | None = None,
    max_length: int | None = None,
    chat_template: bool = True,
) -> None:
    """What can be said of an adapter's folder, and of none, before the model is opened.

    Args:
        adapter: as the user named it; None is none.
        scoring: the one of the run.
        tasks: of the run.
        templates, max_length, chat_template: as the user chose them; of a head none may be chosen.

    Raises InputError: `head` without a head, another scoring with one, tasks that it was not trained for or whose
        labels are not its own, or prompts of another make than it was trained on.
    """
    record = _with_head(adapter)
    if adapter is None or record is None:
        if scoring == HEAD:
            what = "no adapter is given" if adapter is None else f"{adapter} has none"
            raise InputError(f"scoring {HEAD!r} is for an adapter with a classification head, and {what}: leave it out")
        return
    if scoring != HEAD:
        raise InputError(
            f"scoring {scoring!r}: {adapter} has a classification head in place of the model's own, so its scoring is "
            f"{HEAD}; leave it out"
        )
    for task in tasks:
        if task.name != record.task:
            raise InputError(
                f"{adapter}: its head was trained for {record.task}, not for {task.name}; leave that task out"
            )
        if sorted(task.labels) != sorted(record.labels):
            raise InputError(
                f"{adapter / RECORD_NAME}: the labels of its head are {', '.join(record.labels)}, those of {task.name} "
                f"{', '.join(task.labels) or 'none'}; train the adapter again, on that task"
            )
    for option, differs in (
        ("--templates", templates is not None),
        ("--max-length", max_length not in (None, record.max_length)),
        ("--no-chat-template", record.chat_template and not chat_template),
    ):
        if differs:
            raise InputError(
                f"{adapter}: its head is asked with the prompts that it was trained on; leave out {option}"
            )


def label_places(record: AdapterRecord, task: Task) -> tuple[int, ...]:
    """For each of the task's choices the place of its label among the logits of the adapter's head."""
    return tuple(record.labels.index(label) for label in task.labels)


def trained_prompts(record: AdapterRecord, tokenizer: PreTrainedTokenizerBase) -> PromptBuilder:
    """What makes the prompts that an adapter was trained on, of examples of its task in any language.

    `trained_prompts(record, tokenizer).build(example, language).ids` are the tokens of training and evaluation alike:
    the filled template between the special tokens that the tokenizer adds, or, if the record says so, within its chat
    template.  A prompt of more than `record.max_length` tokens loses the end of the field that the task cuts; for a
    head, where the task cuts none, of the one that several examples share: the premise of XNLI.

    Raises InputError: there is no such task, the template has not its places, or the tokenizer cannot be used.
    """
    task = as_scored(task_of(record.task), HEAD if record.has_head else LETTER)
    return PromptBuilder(tokenizer, trained_templates(record), task, record.max_length, record.chat_template)


def trained_templates(record: AdapterRecord) -> Templates:
    """Raises InputError: there is no such task, or the template has not the places of its own."""
    known = find_templates(task_of(record.task).template).default
    found = Template.parse(record.template, f"template of an adapter for {record.task}")
    return Templates(with_places_of(found, known), {})


def _with_head(adapter: Path | None) -> AdapterRecord | None:
    record = None if adapter is None else AdapterRecord.find(adapter)
    return record if record is not None and record.has_head else None
