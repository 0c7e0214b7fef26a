"""F1 and exact match of generated answers as the official SQuAD v1.1 script computes them, for `evaluate`."""

from collections.abc import Sequence

import datasets
import evaluate

from .answers import best_scores, mean_percent, squad_tokens


class SquadMetric(evaluate.Metric):
    """`compute(predictions=[text], references=[[right answers]])` gives `f1` and `exact_match`, 0 to 100."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Token-level F1 and exact match as the official SQuAD v1.1 script computes them, 0 to 100.",
            citation="Rajpurkar et al. 2016, SQuAD: 100,000+ Questions for Machine Comprehension of Text.",
            inputs_description="predictions: texts; references: lists of right answers.",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Sequence(datasets.Value("string"))}
            ),
        )

    def _compute(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
        return mean_percent([best_scores(squad_tokens, *pair) for pair in zip(predictions, references, strict=True)])
