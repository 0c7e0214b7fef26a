"""Scores of the harness's answers: those of `tasks`, for one example and for one language.

They are on the harness's scale, 0 to 1, where `python -m eval` writes 0 to 100.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.classification import macro_f1
from ..tasks import XNLI, XQUAD
from ..tasks.task import score_choice
from .examples import example_of

Row = Mapping[str, Any]


def choice_scores(row: Row, results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """Of one question.

    Args:
        row: as `examples.py` makes it.
        results: for each choice its log-likelihood, the largest wins, and whether it is the most likely token.
    """
    return score_choice(_chosen(results), example_of(row, XNLI), row["language"])


def xnli_scores(row: Row, results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """Of one pair; for `macro_f1` the chosen and the right class, see `macro_f1_of`. Args as of `choice_scores`."""
    return {**choice_scores(row, results), "macro_f1": (_chosen(results), row["gold"])}


def _chosen(results: Sequence[tuple[float, bool]]) -> int:
    likelihoods = [likelihood for likelihood, _ in results]
    return likelihoods.index(max(likelihoods))


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
