"""MMLU in several languages: multiple choice on 57 subjects, without a passage.

On the Hub it is the Okapi translation, which has English and ids that are the same in every language.

Sources: Hendrycks et al. 2021, Measuring Massive Multitask Language Understanding; Lai et al. 2023, Okapi.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from .multiple_choice import CHOICE_FIELDS, LETTERS, columns_of, index_in, key_of, load_questions, question_of
from .published import Published
from .task import Example, ExampleSource, Kind, Task, score_choice

MMMLU_SET = Published(
    name="mmmlu",
    repo="alexandrainst/m_mmlu",
    files=("m_mmlu_val.*.jsonl", "mmlu_clinical.*.jsonl", "*_val.json"),
    example="m_mmlu_val.de.jsonl",
    folders=("mmmlu", "m_mmlu", "okapi-m-mmlu"),
    gaps=True,
)
_TEXTS = {"question": "instruction"}
_CHOICES = ("option_a", "option_b", "option_c", "option_d")


def load_mmmlu(languages: Sequence[str] | None, source: ExampleSource) -> dict[str, list[Example]]:
    """Questions in the order of the first language; the key is the published id, or the number of the row from 1
    in files without ids.

    Rows of the Hub, or of Okapi's own files `de_val.json`, that are not whole in every language are left out.

    Raises InputError: a source or row that cannot be used, a question that a language lacks, or one whose answer is
    not the same in every language.
    """
    return load_questions(MMMLU_SET.rows(languages, source), _example, MMMLU.name, source)


def _example(place: str, row: Mapping[str, Any]) -> Example:
    answer, *_ = columns_of(place, row, ("answer", *_TEXTS.values(), *_CHOICES))
    return question_of(
        place, key_of(place, row, ("id",)), row, _TEXTS, _CHOICES, index_in(LETTERS, place, "answer", answer)
    )


MMMLU = Task(
    name="mmmlu",
    kind=Kind.CHOICE,
    metrics=("accuracy",),
    load=load_mmmlu,
    score=score_choice,
    template="question_choice",
    choices=LETTERS,
    choice_fields=CHOICE_FIELDS,
    cut="question",
)
