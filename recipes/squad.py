"""Questions to train question answering on, in English: SQuAD from the Hub -> context, question, answers.

As section 4.1 of Mondal et al., "Language-specific Neurons Do Not Facilitate Cross-Lingual Transfer": the whole
training set, 87,599 questions.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from clas_models.command_line import guarded
from clas_models.errors import InputError

from .training_split import parser_of, training_split, write_drawn

PROG = "python -m recipes.squad"


def questions(rows: Iterable[dict[str, Any]], dataset: str) -> Iterator[dict[str, Any]]:
    """The questions that have an answer. Raises InputError: a column is missing, or an answer is not in its context."""
    for number, row in enumerate(rows, start=1):
        place = f"dataset {dataset}, row {number}"
        for name in ("context", "question", "answers"):
            if name not in row:
                raise InputError(f"{place}: no column {name} among {', '.join(row)}; give another --dataset")
        if answers := _answers(row["answers"], row["context"], place):
            yield {"context": row["context"], "question": row["question"], "answers": answers}


def _answers(columns: dict[str, list[Any]], context: str, place: str) -> list[dict[str, Any]]:
    """From the two lists that the data set has."""
    found = []
    for text, start in zip(columns["text"], columns["answer_start"], strict=True):
        if context[start : start + len(text)] != text:
            raise InputError(f"{place}: the answer {text!r} is not at {start} of the context; give another --dataset")
        found.append({"text": text, "answer_start": start})
    return found


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    what = "English questions with spans for training question answering, as JSON Lines."
    parser = parser_of(PROG, what, dataset="rajpurkar/squad", config="plain_text", rows=None)
    return guarded(partial(_make, parser.parse_args(arguments)), PROG)


def _make(given: Any) -> int:
    return write_drawn(given, questions(training_split(given.dataset, given.config), given.dataset))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
