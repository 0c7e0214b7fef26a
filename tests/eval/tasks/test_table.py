"""The table of tasks, and what all of them promise."""

from __future__ import annotations

import pytest

from clas_models.errors import InputError
from eval.tasks import TASKS, Kind, Task, task_of
from eval.templates import find_templates

NAMES = ["xnli", "xquad", "belebele", "mmmlu", "hellaswag", "xcopa", "perplexity"]


def test_tasks_are_found_by_name() -> None:
    assert [task_of(name).name for name in TASKS] == list(TASKS) == NAMES
    with pytest.raises(InputError, match=rf"unknown task 'squad': choose among {', '.join(NAMES)}"):
        task_of("squad")


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_task_has_what_its_kind_needs(task: Task) -> None:
    assert (task.kind is Kind.CHOICE) == bool(task.choices)
    assert (task.kind is Kind.GENERATION) == (task.max_new_tokens > 0)
    if task.kind is not Kind.PERPLEXITY:
        places = find_templates(task.template).default.places
        assert task.cut is None or task.cut in places
        assert set(task.choice_fields) <= places
    assert not task.choice_fields or len(task.choice_fields) == len(task.choices)


def test_guessing_is_right_once_in_as_many_times_as_there_are_choices() -> None:
    assert {name: task.chance for name, task in TASKS.items()} == {
        "xnli": 1 / 3,
        "xquad": None,
        "belebele": 1 / 4,
        "mmmlu": 1 / 4,
        "hellaswag": 1 / 4,
        "xcopa": 1 / 2,
        "perplexity": None,
    }
