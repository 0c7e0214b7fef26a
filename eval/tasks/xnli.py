"""XNLI: does a premise entail a hypothesis, contradict it, or neither?

The model chooses between the integers 0 (entailment), 1 (neutral) and 2 (contradiction), as in the paper (section 3.1).
Files and the Hub are read by the converter's corpus of the same name.
"""

from collections.abc import Iterator, Sequence

from clas_models.errors import InputError
from clas_models.profiling.corpora.parallel_corpus import join_text
from clas_models.profiling.corpora.xnli import Pair, xnli_pairs

from .task import (
    Example,
    ExampleSource,
    Kind,
    Task,
    check_same_answers,
    language_codes,
    parallel_examples,
    score_choice,
)

LABELS = ("entailment", "neutral", "contradiction")


def load_xnli(languages: Sequence[str] | None, source: ExampleSource) -> dict[str, list[Example]]:
    """Pairs with the fields `premise` and `hypothesis`; the right answer is an index into `LABELS`.

    The key is the pair's id in an official file (`xnli.dev.tsv`, `xnli.test.tsv`), else the number of the row from 1.

    Raises InputError: a source or row that cannot be used, a row that a language lacks, a label that is unknown or not
    the same in every language; the message names the file and the line.
    """
    pairs = {language: list(rows) for language, rows in xnli_pairs(language_codes(languages), source.data_dir).items()}
    found = {language: _examples(rows) for language, rows in pairs.items()}
    labels = {code: [(str(row.key), row.place, LABELS[_label(row)]) for row in rows] for code, rows in pairs.items()}
    check_same_answers(labels, "label")
    return parallel_examples(found, XNLI.name, source)


def _examples(pairs: Sequence[Pair]) -> Iterator[Example]:
    for pair in pairs:
        fields = {name: join_text([getattr(pair, name)], f"{pair.place}, {name}") for name in ("premise", "hypothesis")}
        yield Example(str(pair.key), fields, (_label(pair),))


def _label(pair: Pair) -> int:
    """Its index; the Hub has indices, files have names."""
    if pair.label in LABELS:
        return LABELS.index(str(pair.label))
    if isinstance(pair.label, int) and pair.label in range(len(LABELS)):
        return pair.label
    raise InputError(f"{pair.place}: the label is {pair.label!r}, not {', '.join(LABELS)}; mend it")


XNLI = Task(
    name="xnli",
    kind=Kind.CHOICE,
    metrics=("accuracy",),
    load=load_xnli,
    score=score_choice,
    template="xnli",
    choices=("0", "1", "2"),
    labels=LABELS,
    shared="premise",
)
