"""HellaSwag in several languages: which of four endings does a text have?

The translation has no English; on the Hub that is the original, whose validation rows it translates.

Sources: Zellers et al. 2019, HellaSwag; Lai et al. 2023, Okapi, for the translation.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from clas_models.errors import InputError

from .multiple_choice import CHOICE_FIELDS, LETTERS, columns_of, index_in, key_of, load_questions, question_of
from .published import Published
from .task import Example, ExampleSource, Kind, Task, score_choice

HELLASWAG_SET = Published(
    name="hellaswag",
    repo="alexandrainst/m_hellaswag",
    files=("m_hellaswag_val.*.jsonl", "hellaswag.*.jsonl", "*_validation.json"),
    example="m_hellaswag_val.de.jsonl",
    folders=("hellaswag", "m_hellaswag"),
    gaps=True,
    elsewhere={"en": ("Rowan/hellaswag", "default")},
)
_KEYS = ("source_id", "ind")  # several rows come from one source
_ENDINGS = ("ending 0", "ending 1", "ending 2", "ending 3")


def load_hellaswag(languages: Sequence[str] | None, source: ExampleSource) -> dict[str, list[Example]]:
    """Questions in the order of the first language; `question` is the text that is continued.

    The key is made of the published `source_id` and `ind`, or is the number of the row from 1 where there is
    neither.  Rows of the Hub, or of Okapi's own files `de_validation.json`, that are not whole in every language are
    left out.

    Raises InputError: a source or row that cannot be used, a question that a language lacks, or one whose answer is
    not the same in every language.
    """
    return load_questions(HELLASWAG_SET.rows(languages, source), _example, HELLASWAG.name, source)


def _example(place: str, row: Mapping[str, Any]) -> Example:
    endings, label = columns_of(place, row, ("endings", "label"))
    if not isinstance(endings, Sequence) or isinstance(endings, str) or len(endings) != len(_ENDINGS):
        raise InputError(f"{place}: endings is no list of {len(_ENDINGS)}; mend the row")
    right = index_in(("0", "1", "2", "3"), place, "label", label)
    texts = {"ctx": _context(place, row), **dict(zip(_ENDINGS, endings, strict=True))}
    return question_of(place, key_of(place, row, _KEYS), texts, {"question": "ctx"}, _ENDINGS, right)


def _context(place: str, row: Mapping[str, Any]) -> object:
    """The text before the endings: `ctx`, or the two parts that it is made of."""
    if row.get("ctx") is not None:
        return row["ctx"]
    parts = columns_of(place, row, ("ctx_a", "ctx_b"))
    return " ".join(str(part) for part in parts if part)


HELLASWAG = Task(
    name="hellaswag",
    kind=Kind.CHOICE,
    metrics=("accuracy",),
    load=load_hellaswag,
    score=score_choice,
    template="question_choice",
    choices=LETTERS,
    choice_fields=CHOICE_FIELDS,
    cut="question",
)
