"""From what the lens has seen to the numbers of Figure 2 and Table 2 of the paper on the latent process.

By method, language and layer: how much likelier the answers' texts are in the language of the question than in the
anchor language, a token (`log_ratio`); and how often the likeliest choice is the right one, by its text in either
language or by its letter (`native`, `anchor`, `letters`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..run_folder import Record
from ..statistics import Array, Interval, percentile_interval, resampled_means
from . import transfer
from .answers import parallel_answers
from .correlations import Correlation, correlation
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
class LensCorrelation:
    """The log ratio and a measure, correlated over languages.

    Attributes:
        measure: one of MEASURES.
        layer: of the log ratio, None for its mean over all layers; the measure is one of the model's answers.
    """

    method: str
    layer: int | None
    measure: str
    found: Correlation

    def to_dict(self) -> dict[str, Any]:
        told = {"method": self.method, "layer": self.layer, "measure": self.measure}
        return {**told, "r": self.found.r, "p": self.found.p, "languages": self.found.languages}


MEASURES = {"accuracy": "accuracy", "consistency": "consistency", "positive transfer": "positive"}
"""What the log ratio is correlated with, of the model's answers: the name here, and in `transfer.by_language`."""


def correlations(
    method: str,
    layers: Sequence[int],
    by_language: Mapping[str, Numbers],
    records: Mapping[str, Sequence[Record]],
    anchor: str,
) -> list[LensCorrelation]:
    """Of one method, over `by_language`, which is without the anchor; its records are among the others'."""
    answers = parallel_answers({code: {each.key: each for each in given} for code, given in records.items()})
    if answers is None:
        return []
    measured = transfer.by_language(transfer.measure(answers), anchor)
    ratios = np.stack([numbers[LOG_RATIO] for numbers in by_language.values()], axis=1)
    rated = [*zip(layers, ratios, strict=True), (None, ratios.mean(axis=0))]
    found = []
    for measure, name in MEASURES.items():
        values = dict(zip(answers.languages, measured[name][0], strict=True))
        for layer, ratio in rated:
            of_languages = dict(zip(by_language, ratio, strict=True))
            found.append(LensCorrelation(method, layer, measure, correlation(of_languages, values)))
    return found
