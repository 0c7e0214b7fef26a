"""Accuracy and macro-F1 of choices, for `evaluate`."""

from collections.abc import Sequence

import datasets
import evaluate

from .classification import accuracy, macro_f1


class ChoiceAccuracyMetric(evaluate.Metric):
    """`compute(predictions=[index], references=[index])` gives `accuracy` and `macro_f1`, 0 to 100."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Accuracy, and the mean over the classes of their F1, 0 to 100.",
            citation="Pedregosa et al. 2011, Scikit-learn: Machine Learning in Python.",
            inputs_description="predictions: indices of the choices; references: indices of the right ones.",
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        return {
            "accuracy": 100 * accuracy(predictions, references),
            "macro_f1": 100 * macro_f1(predictions, references),
        }
