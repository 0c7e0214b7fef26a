"""Pairs to train natural language inference on, in English: MultiNLI from the Hub -> premise, hypothesis, label.

As section 4.1 of Mondal et al., "Language-specific Neurons Do Not Facilitate Cross-Lingual Transfer": 100,000 of the
392,702 pairs that XNLI goes with.  `--dataset facebook/xnli --config en` has the same pairs.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from clas_models.command_line import guarded
from clas_models.errors import InputError

from .training_split import parser_of, training_split, write_drawn

PROG = "python -m recipes.mnli"
LABELS = ("entailment", "neutral", "contradiction")  # in the order of the numbers, in both data sets
_UNLABELLED = -1


def pairs(rows: Iterable[dict[str, Any]], dataset: str) -> Iterator[dict[str, Any]]:
    """The pairs that have texts and a label. Raises InputError: a column is missing, or a label is none of three."""
    for number, row in enumerate(rows, start=1):
        place = f"dataset {dataset}, row {number}"
        for name in ("premise", "hypothesis", "label"):
            if name not in row:
                raise InputError(f"{place}: no column {name} among {', '.join(row)}; give another --dataset")
        if row["label"] == _UNLABELLED or not (_is_text(row["premise"]) and _is_text(row["hypothesis"])):
            continue
        yield {"premise": row["premise"], "hypothesis": row["hypothesis"], "label": _name(row["label"], place)}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _name(label: object, place: str) -> str:
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(LABELS):
        return LABELS[label]
    if label in LABELS:
        return str(label)
    raise InputError(f"{place}: label {label!r}; it must be one of {', '.join(LABELS)}, or 0 to 2 in that order")


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    what = "English pairs for training natural language inference, as JSON Lines."
    parser = parser_of(PROG, what, dataset="nyu-mll/multi_nli", config="default", rows=100_000)
    return guarded(partial(_make, parser.parse_args(arguments)), PROG)


def _make(given: Any) -> int:
    return write_drawn(given, pairs(training_split(given.dataset, given.config), given.dataset))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
