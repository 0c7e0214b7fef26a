"""From what the lens has seen to the numbers of Figure 2 and Table 2 of the paper on the latent process.

By method, language and layer: how much likelier the answers' texts are in the language of the question than in the
anchor language, a token (`log_ratio`); and how often the likeliest choice is the right one, by its text in either
language or by its letter (`native`, `anchor`, `letters`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import stats

from ..run_folder import Record
from ..statistics import Array, Interval, percentile_interval, resampled_means
from .lens_parts import Part

LOG_RATIO = "log_ratio"
ACCURACIES = ("native", "anchor", "letters")
QUANTITIES = (LOG_RATIO, *ACCURACIES)

Numbers: TypeAlias = Mapping[str, Array]
"""By one of QUANTITIES `[layers]`; accuracies are shares, the ratio is in nats a token."""


def numbers_of(part: Part) -> Numbers:
    """Means over the questions, and of the ratio over all choices."""
    found = {LOG_RATIO: (part.native - part.anchor).mean(dim=(1, 2)).numpy()}
    for name in ACCURACIES:
        right = getattr(part, name).argmax(-1) == part.gold
        found[name] = right.double().mean(-1).numpy()
    return found


def across(by_language: Mapping[str, Numbers], quantity: str) -> list[Interval]:
    """By layer the mean of languages, with the 95 % interval of a bootstrap over them."""
    values = np.stack([numbers[quantity] for numbers in by_language.values()], axis=1)
    draws = resampled_means(values, np.ones_like(values))
    return [
        percentile_interval(float(layer.mean()), drawn, examples=len(by_language))
        for layer, drawn in zip(values, draws.T, strict=True)
    ]


@dataclass(frozen=True)
class Correlation:
    """Pearson's r of the log ratio and a measure over languages, and its p; None where it is undefined.

    Attributes:
        measure: one of MEASURES.
        layer: of the log ratio; the measure is one of the model's answers.
        languages: how many.
    """

    method: str
    layer: int
    measure: str
    r: float | None
    p: float | None
    languages: int


def _accuracy(records: Mapping[str, Sequence[Record]], anchor: str) -> dict[str, float]:
    return {code: float(np.mean([each.scores["accuracy"] for each in given])) for code, given in records.items()}


MEASURES: Mapping[str, Callable[[Mapping[str, Sequence[Record]], str], Mapping[str, float]]] = {"accuracy": _accuracy}
"""What the log ratio is correlated with: the records of all languages, and the anchor -> a number for each language."""


def correlations(
    method: str,
    layers: Sequence[int],
    by_language: Mapping[str, Numbers],
    records: Mapping[str, Sequence[Record]],
    anchor: str,
) -> list[Correlation]:
    """Of one method, over `by_language`, which is without the anchor; its records are among the others'."""
    found = []
    for measure, measured in MEASURES.items():
        by_code = measured(records, anchor)
        values = [by_code[code] for code in by_language]
        for place, layer in enumerate(layers):
            ratios = [float(numbers[LOG_RATIO][place]) for numbers in by_language.values()]
            pairs = [pair for pair in zip(ratios, values, strict=True) if math.isfinite(pair[1])]
            found.append(Correlation(method, layer, measure, *pearson(pairs), len(pairs)))
    return found


def pearson(pairs: Sequence[tuple[float, float]]) -> tuple[float | None, float | None]:
    """r and its two-sided p; None for fewer than three pairs, or where one side does not vary."""
    if len(pairs) < 3 or min(np.ptp(np.array(pairs), axis=0)) <= 1e-12:
        return None, None
    result = stats.pearsonr(*zip(*pairs, strict=True))
    return float(result.statistic), float(result.pvalue)
