"""Answers to parallel questions: three languages worked out by hand, and made-up ones with ties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from eval.run_folder import Record

GOLD = (0, 1, 2, 0)
# Twice as likely means nothing here: only the order within a question counts.  The largest is the answer.
SCORES: Mapping[str, Sequence[tuple[float, float, float]]] = {
    "en": ((3, 2, 1), (2, 3, 1), (1, 2, 3), (2, 3, 1)),
    "de": ((3, 1, 2), (2, 3, 1), (3, 2, 1), (1, 3, 2)),
    "sw": ((3, 2, 1), (1, 2, 3), (3, 1, 2), (1, 2, 3)),
}


def record(key: object, scores: Sequence[float], gold: int) -> Record:
    taken = int(np.argmax(scores))
    return Record(str(key), taken, (gold,), {"accuracy": float(taken == gold)}, choice_scores=tuple(map(float, scores)))


def by_hand(languages: Sequence[str] = ("en", "de", "sw")) -> dict[str, dict[str, Record]]:
    return {code: {str(key): record(key, row, GOLD[key]) for key, row in enumerate(SCORES[code])} for code in languages}


def made_up(
    languages: Sequence[str], questions: int, choices: Sequence[int] = (4,), *, level: float = 0.5, seed: int = 0
) -> dict[str, dict[str, Record]]:
    """Rounded scores, so that many choices tie; `choices` are the numbers of choices that questions have in turn."""
    rng = np.random.default_rng(seed)
    sizes = [choices[key % len(choices)] for key in range(questions)]
    gold = [int(rng.integers(size)) for size in sizes]
    shared = [rng.normal(size=size) for size in sizes]
    found: dict[str, dict[str, Record]] = {}
    for code in languages:
        rows = [
            np.round(one + rng.normal(size=one.size) + level * (np.arange(one.size) == right))
            for one, right in zip(shared, gold, strict=True)
        ]
        found[code] = {str(key): record(key, row.tolist(), gold[key]) for key, row in enumerate(rows)}
    return found
