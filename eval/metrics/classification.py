"""Scores of choices: accuracy and macro-F1, computed by scikit-learn."""

from collections.abc import Sequence


def accuracy(predictions: Sequence[int], golds: Sequence[int]) -> float:
    """Share of right choices, in 0 .. 1; both sequences have the same length, at least 1."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(golds, predictions))


def macro_f1(predictions: Sequence[int], golds: Sequence[int]) -> float:
    """Mean over the classes of their F1, in 0 .. 1; a class counts if it is predicted or right at least once.

    A class that is never predicted, or never right, has an F1 of 0.
    """
    from sklearn.metrics import f1_score

    return float(f1_score(golds, predictions, average="macro", zero_division=0))
