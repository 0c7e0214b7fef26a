"""F1 and exact match of generated answers with the multilingual normalisation of the MLQA script, for `evaluate`."""

from collections.abc import Sequence
from functools import partial

import datasets
import evaluate

from .answers import best_scores, mean_percent, mlqa_tokens


class MlqaMetric(evaluate.Metric):
    """`compute(predictions=[text], references=[[right answers]], language="de")` gives `f1` and `exact_match`.

    Both are 0 to 100.  Languages that the MLQA script does not know are treated as `mlqa_tokens` says.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Token-level F1 and exact match with the normalisation of the MLQA script, 0 to 100.",
            citation="Lewis et al. 2020, MLQA: Evaluating Cross-lingual Extractive Question Answering.",
            inputs_description="predictions: texts; references: lists of right answers; language: a code.",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Sequence(datasets.Value("string"))}
            ),
        )

    def _compute(
        self, predictions: Sequence[str], references: Sequence[Sequence[str]], language: str
    ) -> dict[str, float]:
        tokenise = partial(mlqa_tokens, language=language)
        return mean_percent([best_scores(tokenise, *pair) for pair in zip(predictions, references, strict=True)])
