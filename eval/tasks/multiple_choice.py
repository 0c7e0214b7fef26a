"""What all multiple-choice tasks have in common: checked rows, one answer in every language, and the choices' order.

Where rows come from is told in `published.py`; what the columns of a data set are called, in its task.

Choices stand as they are published.  Where the right one always stands at one place, they are shuffled: each question
in an order of its own that depends on its key alone, so that it is the same in every language and every run.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from clas_models.errors import InputError
from clas_models.profiling.corpora.parallel_corpus import join_text

from .published import Rows
from .task import Example, ExampleSource, check_same_answers, parallel_examples

LETTERS = ("A", "B", "C", "D")
CHOICE_FIELDS = ("a", "b", "c", "d")  # the places of the templates
NUMBER = "row number"  # a column that rows get where none is missing
_LUCK = 0.001  # below this chance, it is no accident that the right answer always stands at one place

# From a row to its example. Raises InputError for a row that cannot be used; the message names the place.
Reader = Callable[[str, Mapping[str, Any]], Example]


class EqualChoices(InputError):
    """Two choices of a row are the same text, as happens in translations; `key` is the row's."""

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


def columns_of(place: str, row: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    """The values in some columns of a row. Raises InputError: there is no such column."""
    if missing := [name for name in names if name not in row]:
        raise InputError(f"{place}: no {', '.join(missing)}; download the file again")
    return [row[name] for name in names]


def key_of(place: str, row: Mapping[str, Any], names: Sequence[str]) -> str:
    """What identifies a row: its values in some columns, those that there are, or else its number.

    Raises InputError: it has none, and its number tells nothing, because rows may be missing.
    """
    known = [str(row[name]) for name in names if row.get(name) not in (None, "")]
    if not known and NUMBER not in row:
        raise InputError(f"{place}: no {' and no '.join(names)}; download the file again")
    return "#".join(known) or str(row[NUMBER])


def index_in(allowed: Sequence[str], place: str, column: str, value: object) -> int:
    """Which of the allowed values a column has. Raises InputError: none of them."""
    if str(value) not in allowed:
        raise InputError(f"{place}: {column} is {str(value)!r}, not {allowed[0]} to {allowed[-1]}; mend the row")
    return allowed.index(str(value))


def question_of(
    place: str, key: object, row: Mapping[str, Any], texts: Mapping[str, str], choices: Sequence[str], right: int
) -> Example:
    """An example of a row.

    Args:
        texts: which fields the example has, and the column of each.
        choices: the columns of the choices, which become the fields `a`, `b` and so on.
        right: the index of the right one.

    Raises:
        EqualChoices: choices that are equal.
        InputError: a text that is missing or empty.
    """
    join_text([str(key)], f"{place}, the row's id")
    columns = {**texts, **dict(zip(CHOICE_FIELDS, choices, strict=False))}
    fields = {name: join_text([row[column]], f"{place}, {column}") for name, column in columns.items()}
    bare = [fields[name].strip() for name in CHOICE_FIELDS[: len(choices)]]
    for later, text in enumerate(bare):
        if (first := bare.index(text)) < later:
            raise EqualChoices(f"{place}: {choices[first]} and {choices[later]} are equal", str(key))
    return Example(str(key), fields, (right,), place)


def load_questions(rows: Rows, read: Reader, task: str, source: ExampleSource) -> dict[str, list[Example]]:
    """The examples of every language, checked and matched by key.

    A row with equal choices in some language is left out in all of them, and a remark says so; where the rows have
    gaps, also one that is missing or broken.

    Raises InputError: a row that is missing or broken, unless there are gaps; one whose answer is not the same in all
        languages; or as `parallel_examples`.
    """
    found: dict[str, list[Example]] = {}
    faults: list[InputError] = []
    for language, given in rows.by_language.items():
        found[language] = []
        for number, (place, row) in enumerate(given, start=1):
            try:
                found[language].append(read(place, row if rows.gaps else {NUMBER: number, **row}))
            except InputError as fault:
                if not (rows.gaps or isinstance(fault, EqualChoices)):
                    raise
                faults.append(fault)
    whole = _whole(found, faults, task, source, gaps=rows.gaps)
    _check_no_gaps(whole)
    check_same_answers({language: [_answer(each) for each in given] for language, given in whole.items()})
    return parallel_examples(_shuffled(whole, task, source), task, source)


def _whole(
    found: Mapping[str, list[Example]], faults: Sequence[InputError], task: str, source: ExampleSource, *, gaps: bool
) -> Mapping[str, list[Example]]:
    """The examples without those that are left out. Raises InputError: the first fault, where none is left."""
    equal = {fault.key for fault in faults if isinstance(fault, EqualChoices)}
    met = Counter(key for given in found.values() for key in {example.key for example in given})
    left_out = equal | {key for key, count in met.items() if count < len(found)} if gaps else equal
    if not left_out and not faults:
        return found
    if faults and met.keys() <= left_out:
        raise faults[0]
    first = f"; the first: {faults[0]}" if faults else ""
    source.say(
        f"{task}: of {len(equal | set(met)):,} rows {len(left_out):,} are left out in all languages, because in "
        f"{'one they are missing or broken, or their' if gaps else 'one their'} choices are equal{first}"
    )
    return {
        language: [example for example in given if example.key not in left_out] for language, given in found.items()
    }


def _check_no_gaps(found: Mapping[str, Sequence[Example]]) -> None:
    by_key = {language: {example.key: example for example in given} for language, given in found.items()}
    for present, examples in by_key.items():
        for absent, others in by_key.items():
            if missing := next((example for key, example in examples.items() if key not in others), None):
                raise InputError(
                    f"{missing.place}: the row (id {missing.key}) is missing in {absent}, while {present} has it; "
                    f"complete {absent} or leave it out of the languages"
                )


def _answer(example: Example) -> tuple[str, str, str]:
    return example.key, example.place, LETTERS[int(example.gold[0])]


def _shuffled(found: Mapping[str, list[Example]], task: str, source: ExampleSource) -> Mapping[str, list[Example]]:
    """The examples with their choices in another order, if the right one always stands at one place."""
    some = next(iter(found.values()))
    places = {int(example.gold[0]) for example in some}
    choices = sum(name in CHOICE_FIELDS for name in some[0].fields) if some else 0
    if len(places) != 1 or float(choices) ** (1 - len(some)) > _LUCK:
        return found
    source.say(
        f"{task}: the right answer is {LETTERS[places.pop()]} in all {len(some):,} rows, so the choices are shuffled, "
        "each row in the same way in every language"
    )
    return {language: [_reordered(example, choices) for example in given] for language, given in found.items()}


def _reordered(example: Example, choices: int) -> Example:
    """The same example with its choices in an order that its key decides."""
    order = sorted(range(choices), key=lambda place: hashlib.sha256(f"{place}|{example.key}".encode()).digest())
    names = CHOICE_FIELDS[:choices]
    texts = {name: example.fields[names[place]] for name, place in zip(names, order, strict=True)}
    return replace(example, fields={**example.fields, **texts}, gold=(order.index(int(example.gold[0])),))
