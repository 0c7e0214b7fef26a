"""Examples as rows of a table, which is what the harness keeps, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset

from ..tasks import Example, Kind, Task
from ..templates import Templates


def table_of(examples: Sequence[Example], task: Task, language: str, templates: Templates) -> Dataset:
    """One row for each example, in order.

    Columns: `key`, `language`, the example's fields, `gold` (an index for a choice, a list of strings for a
    generation), and `text`: the filled template, uncut and without chat markup, for a reader.
    """
    fill = templates.of(language).fill
    return Dataset.from_list(
        [
            {
                "key": example.key,
                "language": language,
                **example.fields,
                "gold": example.gold[0] if task.kind is Kind.CHOICE else list(example.gold),
                "text": fill(example.fields).text,
            }
            for example in examples
        ]
    )


def example_of(row: Mapping[str, Any], task: Task) -> Example:
    """The example of a row of `table_of`."""
    fields = {name: text for name, text in row.items() if name not in ("key", "language", "gold", "text")}
    gold = (row["gold"],) if task.kind is Kind.CHOICE else tuple(row["gold"])
    return Example(row["key"], fields, gold)
