"""XCOPA: which of two sentences is the cause, or the effect, of a premise?

XCOPA has eleven languages and no English; on the Hub English is COPA of SuperGLUE, whose validation rows it translates.

Sources: Ponti et al. 2020, XCOPA; Roemmele et al. 2011, COPA.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from clas_models.errors import InputError

from .multiple_choice import CHOICE_FIELDS, LETTERS, columns_of, index_in, key_of, load_questions, question_of
from .published import Published
from .task import Example, ExampleSource, Kind, Task, score_choice

XCOPA_SET = Published(
    name="xcopa",
    repo="cambridgeltl/xcopa",
    files=("val.*.jsonl",),
    example="val.de.jsonl",
    folders=("xcopa", "XCOPA"),
    configs="[a-z]{2}",  # others are machine translations into English
    elsewhere={"en": ("aps/super_glue", "copa")},
)
_TEXTS = {"premise": "premise", "relation": "question"}
_CHOICES = ("choice1", "choice2")
_RELATIONS = ("cause", "effect")


def load_xcopa(languages: Sequence[str] | None, source: ExampleSource) -> dict[str, list[Example]]:
    """Pairs with a premise and a `relation`, cause or effect, in the order of the first language; the key is `idx`, or
    the number of the row from 1 where there is none.

    Raises InputError: a source or row that cannot be used, a pair that a language lacks, or one whose answer is not the
    same in every language.
    """
    return load_questions(XCOPA_SET.rows(languages, source), _example, XCOPA.name, source)


def _example(place: str, row: Mapping[str, Any]) -> Example:
    label, _, relation, *_ = columns_of(place, row, ("label", *_TEXTS.values(), *_CHOICES))
    if relation not in _RELATIONS:
        raise InputError(f"{place}: question is {relation!r}, not {' or '.join(_RELATIONS)}; mend the row")
    key = key_of(place, row, ("idx",))
    return question_of(place, key, row, _TEXTS, _CHOICES, index_in(("0", "1"), place, "label", label))


XCOPA = Task(
    name="xcopa",
    kind=Kind.CHOICE,
    metrics=("accuracy",),
    load=load_xcopa,
    score=score_choice,
    template="xcopa",
    choices=LETTERS[:2],
    choice_fields=CHOICE_FIELDS[:2],
)
