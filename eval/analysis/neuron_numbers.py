"""What there is to count about selections of neurons, and the statistics of activations: plain numbers, no words.

Source: Mondal et al., "Language-specific Neurons Do Not Facilitate Cross-Lingual Transfer" (2025), appendix C: figures
2 to 7 (`counts`), 8 to 13 (`overlap`), 14 to 19 (`by_layer`), and table 6 (`activation_statistics`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from clas_models.profiling.known import Known
from clas_models.profiling.neuron_quantiles import SITES
from clas_models.profiling.selection import Selection
from clas_models.profiling.values import SITES as SUMS_OF_SITES


@dataclass(frozen=True)
class SelectionNumbers:
    """What is counted of one selection.

    Attributes:
        counts: neurons of each language.
        overlap: `[languages][languages]`, neurons that two languages share; on the diagonal those of one.
        by_layer: `[languages][layers]`.
        distinct: neurons that belong to any language.
    """

    languages: tuple[str, ...]
    layers: tuple[int, ...]
    counts: tuple[int, ...]
    overlap: tuple[tuple[int, ...], ...]
    by_layer: tuple[tuple[int, ...], ...]
    distinct: int


def numbers_of(selection: Selection) -> SelectionNumbers:
    flat = selection.masks.flatten(1)
    # Rows of at most 2^24 ones would still be exact in float32; float64 has room for every model.
    overlap = flat.to(torch.float64) @ flat.to(torch.float64).T
    return SelectionNumbers(
        languages=selection.languages,
        layers=selection.layers,
        counts=tuple(selection.counts().values()),
        overlap=tuple(tuple(int(value) for value in row) for row in overlap.tolist()),
        by_layer=tuple(tuple(row) for row in selection.masks.sum(-1).tolist()),
        distinct=int(selection.masks.any(0).sum()),
    )


def agreement(one: Selection, other: Selection) -> tuple[dict[str, float | None], float | None]:
    """By language, and of all languages together: neurons in both selections as a share of those in either.

    Only languages that both have; None where neither has a neuron.
    """
    shared = [code for code in one.languages if code in other.languages]
    first, second = (found.masks[[found.languages.index(code) for code in shared]] for found in (one, other))
    both, either = (first & second).sum((1, 2)), (first | second).sum((1, 2))
    by_language = {code: _share(a, b) for code, a, b in zip(shared, both.tolist(), either.tolist(), strict=True)}
    return by_language, _share(int(both.sum()), int(either.sum()))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def activation_statistics(known: Known) -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """By site and language the mean, and where there are quantiles these, each the average over all neurons.

    So is table 6 of the paper, whose values are of the site `gate`.
    """
    profile, quantiles = known.profile, known.quantiles
    found: dict[str, dict[str, dict[str, float]]] = {}
    for site in SITES:
        total = profile.tensors.get(SUMS_OF_SITES[site])
        found[site] = {}
        for row, code in enumerate(profile.languages):
            told = {}
            if total is not None:
                told["mean"] = float((total[row] / profile.tokens[row]).mean())
            if quantiles is not None and site in quantiles.sites and code in quantiles.languages:
                told |= {f"P{percent}": _mean(quantiles.of(code, percent, site)) for percent in quantiles.percents}
            if told:
                found[site][code] = told
    return {site: by_language for site, by_language in found.items() if by_language}


def _mean(values: Tensor) -> float:
    return float(values.mean(dtype=torch.float64))
