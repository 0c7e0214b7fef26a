"""Scores of the harness's answers: those of `tasks`, for one example and for one language.

They are on the harness's scale, 0 to 1, where `python -m eval` writes 0 to 100.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.classification import macro_f1
from ..tasks import XNLI, XQUAD
from .examples import example_of

Row = Mapping[str, Any]


def xnli_scores(row: Row, results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """Of one pair; for `macro_f1` the chosen and the right class, see `macro_f1_of`.

    Args:
        row: as `examples.py` makes it.
        results: for each choice its log-likelihood, the largest wins, and whether it is the most likely token.
    """
    likelihoods = [likelihood for likelihood, _ in results]
    choice = likelihoods.index(max(likelihoods))
    example = example_of(row, XNLI)
    return {**XNLI.score(choice, example, row["language"]), "macro_f1": (choice, example.gold[0])}


def macro_f1_of(classes: Sequence[tuple[int, int]]) -> float:
    """The mean over the classes of their F1, 0 to 1, from what was chosen and what is right."""
    chosen, right = zip(*classes, strict=True)
    return macro_f1(chosen, right)


def xquad_scores(row: Row, results: Sequence[str]) -> dict[str, float]:
    """Of one question.

    Args:
        row: as `examples.py` makes it.
        results: the generated answer.
    """
    return XQUAD.score(results[0].strip(), example_of(row, XQUAD), row["language"])
