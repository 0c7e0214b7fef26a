"""Belebele: multiple choice on passages of FLORES-200, the same 900 questions in 122 language variants.

A variant is named as in FLORES-200, `deu_Latn`; of two scripts the plain code has the usual one, Simplified for
Chinese.

Source: Bandarkar et al. 2024, The Belebele Benchmark.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .multiple_choice import CHOICE_FIELDS, LETTERS, columns_of, index_in, load_questions, question_of
from .published import Published, Row, Rows
from .task import Example, ExampleSource, Kind, Task, score_choice

BELEBELE_SET = Published(
    name="belebele",
    repo="facebook/belebele",
    files=("[a-z][a-z][a-z]_????.jsonl", "belebele.*.jsonl"),
    example="deu_Latn.jsonl",
    folders=("belebele", "Belebele"),
    configs="[a-z]{3}_[A-Za-z]{4}",
)
_CHOICES = ("mc_answer1", "mc_answer2", "mc_answer3", "mc_answer4")
_TEXTS = {"passage": "flores_passage", "question": "question"}


def load_belebele(languages: Sequence[str] | None, source: ExampleSource) -> dict[str, list[Example]]:
    """Questions in the order of their keys, so that `samples` are the same whatever the languages.

    A key is made of the passage's link (with its split, where the row has one) and the question's number.

    Raises InputError: a source or row that cannot be used, a question that a language lacks, or one whose answer is
    not the same in every language.
    """
    found = BELEBELE_SET.rows(languages, source).by_language
    rows = {code: sorted(_keyed(given), key=lambda row: str(row[1]["key"])) for code, given in found.items()}
    return load_questions(Rows(rows), _example, BELEBELE.name, source)


def _keyed(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows with a column `key`."""
    met: Counter[str] = Counter()
    for place, row in rows:
        columns_of(place, row, ("link", "question_number"))
        key = "#".join(str(row[name]) for name in ("link", "split", "question_number") if name in row)
        met[key] += 1
        # A link may lead to two passages, and published rows may lack the split that tells them apart.
        yield place, {**row, "key": key if met[key] == 1 else f"{key}#{met[key]}"}


def _example(place: str, row: Mapping[str, Any]) -> Example:
    number, *_ = columns_of(place, row, ("correct_answer_num", *_TEXTS.values(), *_CHOICES))
    right = index_in(("1", "2", "3", "4"), place, "correct_answer_num", number)
    return question_of(place, row["key"], row, _TEXTS, _CHOICES, right)


BELEBELE = Task(
    name="belebele",
    kind=Kind.CHOICE,
    metrics=("accuracy",),
    load=load_belebele,
    score=score_choice,
    template="multiple_choice",
    choices=LETTERS,
    choice_fields=CHOICE_FIELDS,
    shared="passage",
    cut="passage",
)
