"""The table of tasks, and what all of them promise."""

from __future__ import annotations

import pytest

from clas_models.errors import InputError
from eval.tasks import TASKS, Kind, Task, task_of
from eval.templates import find_templates


def test_tasks_are_found_by_name() -> None:
    assert [task_of(name).name for name in TASKS] == list(TASKS) == ["xnli", "xquad", "belebele", "perplexity"]
    with pytest.raises(InputError, match=r"unknown task 'squad': choose among xnli, xquad, belebele, perplexity"):
        task_of("squad")


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_task_has_what_its_kind_needs(task: Task) -> None:
    assert (task.kind is Kind.CHOICE) == bool(task.choices)
    assert (task.kind is Kind.GENERATION) == (task.max_new_tokens > 0)
    if task.kind is not Kind.PERPLEXITY:
        places = find_templates(task.template).default.places
        assert task.cut is None or task.cut in places


def test_guessing_is_right_once_in_as_many_times_as_there_are_choices() -> None:
    assert {name: task.chance for name, task in TASKS.items()} == {
        "xnli": 1 / 3,
        "xquad": None,
        "belebele": 1 / 4,
        "perplexity": None,
    }
