"""The tasks that a model can be evaluated on, by name.

Adding one is adding a module that builds a `Task`, its default template if it has a new one, and a line in the table.
"""

from collections.abc import Mapping

from clas_models.errors import InputError

from .belebele import BELEBELE
from .hellaswag import HELLASWAG
from .mmmlu import MMMLU
from .perplexity import PERPLEXITY
from .task import Answer, Example, ExampleSource, Kind, Task
from .xcopa import XCOPA
from .xnli import XNLI
from .xquad import XQUAD

__all__ = ["TASKS", "Answer", "Example", "ExampleSource", "Kind", "Task", "task_of"]

TASKS: Mapping[str, Task] = {task.name: task for task in (XNLI, XQUAD, BELEBELE, MMMLU, HELLASWAG, XCOPA, PERPLEXITY)}


def task_of(name: str) -> Task:
    """Raises InputError: no task of that name."""
    if name not in TASKS:
        raise InputError(f"unknown task {name!r}: choose among {', '.join(TASKS)}")
    return TASKS[name]
