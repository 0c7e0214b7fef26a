"""The scores of one method in one language: the main one, example by example, and all summaries.

A main score is a ratio of sums, shown times a factor: correct answers or F1 over examples, times 100; or nats over
tokens, so that a long text counts by its length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..metrics.classification import macro_f1
from ..statistics import Array
from ..tasks import summarize_perplexity
from ..tasks.task import Kind
from .collect import NATS, Records, TaskResults


def factor(kind: Kind) -> float:
    """From the scale of the records to that of the tables: per cent, or nats a token as they are."""
    return 1.0 if kind is Kind.PERPLEXITY else 100.0


def decimals(kind: Kind) -> int:
    return 4 if kind is Kind.PERPLEXITY else 2


def unit(task: TaskResults) -> str:
    """What the main score of a table or an axis is."""
    return "nats a token" if task.kind is Kind.PERPLEXITY else f"{task.metric}, %"


def main_scores(records: Records, keys: Iterable[str], metric: str) -> Array:
    """One score an example, float64 `[examples]`, as the records have it."""
    return np.array([records[key].scores[metric] for key in keys], dtype=np.float64)


def weights(records: Records, keys: Iterable[str], kind: Kind) -> Array:
    """What the sum of the main scores is divided by, float64 `[examples]`."""
    weigh = kind is Kind.PERPLEXITY
    return np.array([records[key].tokens if weigh else 1 for key in keys], dtype=np.float64)


def main_score(records: Records, keys: Iterable[str], metric: str, kind: Kind) -> float:
    """On the scale of the tables."""
    keys = list(keys)
    return factor(kind) * float(main_scores(records, keys, metric).sum() / weights(records, keys, kind).sum())


def summaries(task: TaskResults, method: str, language: str) -> dict[str, float]:
    """Every metric of one method in one language, by name, the main one first."""
    records = list(task.records[method, language].values())
    if task.kind is Kind.PERPLEXITY:
        nats, tokens, sizes = zip(*((r.scores[NATS], r.tokens, r.bytes) for r in records), strict=True)
        return summarize_perplexity(nats, tokens, sizes) | {"nats_per_token": math.fsum(nats) / sum(tokens)}
    names = [task.metric, *sorted(set(records[0].scores) - {task.metric})]
    found = {name: 100 * float(np.mean([r.scores.get(name, math.nan) for r in records])) for name in names}
    if task.kind is Kind.CHOICE:
        predictions, golds = zip(*((int(r.prediction), int(r.gold[0])) for r in records), strict=True)
        found["macro_f1"] = 100 * macro_f1(predictions, golds)
    return found
