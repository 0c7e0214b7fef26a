"""Accuracy and macro-F1 of choices."""

from __future__ import annotations

import pytest

from eval.metrics.classification import accuracy, macro_f1


def test_accuracy_is_the_share_of_right_choices() -> None:
    assert accuracy([0, 1, 2, 2], [0, 1, 1, 2]) == 0.75


def test_macro_f1_weighs_classes_alike() -> None:
    # class 0: precision 3/4, recall 1; class 1: never predicted
    assert macro_f1([0, 0, 0, 0], [0, 0, 0, 1]) == pytest.approx((6 / 7 + 0) / 2)


def test_macro_f1_counts_a_class_that_is_only_predicted_and_none_that_is_not_there() -> None:
    assert macro_f1([0, 2], [0, 0]) == pytest.approx((2 / 3 + 0) / 2)
    assert macro_f1([0, 1], [0, 1]) == 1.0
