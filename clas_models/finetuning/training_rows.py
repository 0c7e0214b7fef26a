"""Training files: JSON Lines with pairs of sentences and their label, or questions with spans of a context.

What a row becomes for a model is the business of whoever has the prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..profiling.corpora.parallel_corpus import join_text
from ..profiling.corpora.text_file import json_objects


@dataclass(frozen=True)
class TrainingRow:
    """One row of a training file.

    Attributes:
        place: the file and the line, for messages.
        fields: its texts by name.
        answer: the index of its label, or the text of its answer.
    """

    place: str
    fields: Mapping[str, str]
    answer: int | str


def read_pairs(path: Path, labels: Sequence[str]) -> list[TrainingRow]:
    """Rows `{"premise": …, "hypothesis": …, "label": …}` whose label is a name; more fields are left alone.

    Raises InputError: a file or line that cannot be used, which the message names, a label that is none of `labels`, or
    no rows.
    """
    names = ("premise", "hypothesis")
    remedy = f'write one pair a line, {{"premise": …, "hypothesis": …, "label": "{labels[0]}"}}'

    def row(place: str, record: Mapping[str, Any]) -> TrainingRow:
        fields = _texts(place, record, names, remedy)
        label = record.get("label")
        if not isinstance(label, str) or label not in labels:
            raise InputError(f"{place}: the label is {label!r}, not {', '.join(labels)}; mend it, or remove the line")
        return TrainingRow(place, fields, labels.index(str(label)))

    return _rows(path, remedy, row)


def read_questions(path: Path) -> list[TrainingRow]:
    """Rows `{"context": …, "question": …, "answers": [{"text": …, "answer_start": …}]}`, as SQuAD has them, flat.

    The first answer is learned; it must stand in the context where the row says.

    Raises InputError: a file or line that cannot be used, which the message names, or no rows.
    """
    names = ("context", "question")
    remedy = 'write one question a line, {"context": …, "question": …, "answers": [{"text": …, "answer_start": …}]}'

    def row(place: str, record: Mapping[str, Any]) -> TrainingRow:
        fields = _texts(place, record, names, remedy)
        try:
            first = record["answers"][0]
            answer, start = first["text"], first["answer_start"]
        except (KeyError, IndexError, TypeError):
            raise InputError(f"{place}: no answers, or not as in SQuAD; {remedy}") from None
        if not isinstance(answer, str) or not answer.strip():
            raise InputError(f"{place}: the answer is {answer!r}, no text; mend it, or remove the line")
        # Checked in the text as it stands in the file, which the offset counts in.
        if not isinstance(start, int) or start < 0 or record["context"][start : start + len(answer)] != answer:
            raise InputError(
                f"{place}: the context has no {answer!r} at answer_start {start!r}; mend it, or remove the line"
            )
        return TrainingRow(place, fields, answer.strip())

    return _rows(path, remedy, row)


def drawn(rows: Sequence[TrainingRow], count: int | None, seed: int) -> list[TrainingRow]:
    """So many of the rows, drawn at random, in the order of the file; all of them for None.

    Raises InputError: there are fewer.
    """
    if count is None:
        return list(rows)
    if count > len(rows):
        raise InputError(f"rows: {count} asked for, the training file has {len(rows)}; ask for fewer")
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:count]
    return [rows[place] for place in order.sort().values.tolist()]


def _rows(path: Path, remedy: str, row: Callable[[str, Mapping[str, Any]], TrainingRow]) -> list[TrainingRow]:
    rows = [row(place, record) for place, record in json_objects(path, remedy)]
    if not rows:
        raise InputError(f"{path}: no rows to train on; {remedy}")
    return rows


def _texts(place: str, record: Mapping[str, Any], names: Sequence[str], remedy: str) -> dict[str, str]:
    if missing := [name for name in names if name not in record]:
        raise InputError(f"{place}: no {missing[0]!r}; {remedy}")
    return {name: join_text([record[name]], f"{place}, {name}") for name in names}
