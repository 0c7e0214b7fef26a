"""The answers of one method to the same questions in several languages, as arrays; for tasks whose answers are choices.

Only questions that every language has count.  What is computed from the arrays is said in `transfer.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..run_folder import Record
from ..statistics import Array

Records: TypeAlias = Mapping[str, Record]  # by the question's key


@dataclass(frozen=True)
class Answers:
    """Attributes:
    languages, keys: of the rows and the columns.
    predictions: indices of the choices that were taken, int64 `[languages, questions]`.
    gold: indices of the right ones, which are the same in all languages, int64 `[questions]`.
    ranks: of the choices within each question, float64 `[languages, questions, choices]`: 1 is the least likely, ties
        share the mean of their ranks, NaN is a choice that the question does not have.  None where the records do
        not say how likely each choice was.
    chance: the accuracy of guessing; None where the number of choices is not known.
    missing: questions that some language lacks, and that are left out.
    unlike: questions with another right answer or another number of choices in some language, left out too.
    """

    languages: tuple[str, ...]
    keys: tuple[str, ...]
    predictions: NDArray[np.int64]
    gold: NDArray[np.int64]
    ranks: Array | None
    chance: float | None
    missing: int = 0
    unlike: int = 0

    @property
    def right(self) -> NDArray[np.bool_]:
        """`[languages, questions]`."""
        return self.predictions == self.gold

    def on(self, keys: Sequence[str]) -> "Answers":
        """The same on these of the questions, in this order."""
        places = {key: number for number, key in enumerate(self.keys)}
        kept = [places[key] for key in keys]
        ranks = None if self.ranks is None else self.ranks[:, kept]
        return replace(self, keys=tuple(keys), predictions=self.predictions[:, kept], gold=self.gold[kept], ranks=ranks)


def are_choices(records: Iterable[Record]) -> bool:
    """Whether answers and right answers are indices of choices."""
    return all(isinstance(value, int) for record in records for value in (record.prediction, *(record.gold[:1] or "?")))


def parallel_answers(records: Mapping[str, Records], chance: float | None = None) -> Answers | None:
    """The answers in all languages; None where no question is in all of them.

    Args:
        records: by language, of answers that are choices.
        chance: of guessing, where the records do not have a probability for each choice.
    """
    everything = dict.fromkeys(key for by_key in records.values() for key in by_key)
    shared = [key for key in everything if all(key in by_key for by_key in records.values())]
    alike = [key for key in shared if _is_alike([by_key[key] for by_key in records.values()])]
    if not alike:
        return None
    found = [[by_key[key] for key in alike] for by_key in records.values()]
    ranks = _ranks(found)
    if ranks is not None:
        chance = float(np.mean(1 / (~np.isnan(ranks[0])).sum(axis=-1)))
    return Answers(
        languages=tuple(records),
        keys=tuple(alike),
        predictions=np.array([[record.prediction for record in row] for row in found], dtype=np.int64),
        gold=np.array([record.gold[0] for record in found[0]], dtype=np.int64),
        ranks=ranks,
        chance=chance,
        missing=len(everything) - len(shared),
        unlike=len(shared) - len(alike),
    )


def paired_answers(
    first: Mapping[str, Records], other: Mapping[str, Records], chance: float | None = None
) -> tuple[Answers, Answers] | None:
    """The answers of two methods to the questions that both have in all languages that both have; None without any."""
    languages = [code for code in first if code in other]
    one, two = (parallel_answers({code: records[code] for code in languages}, chance) for records in (first, other))
    if one is None or two is None:
        return None
    others = set(two.keys)
    keys = [key for key in one.keys if key in others]
    return (one.on(keys), two.on(keys)) if keys else None


def _is_alike(records: Sequence[Record]) -> bool:
    """Whether one question has the same right answer in all languages, and as many choices where that is known."""
    known = {len(record.choice_scores) for record in records} - {0}
    return len({record.gold[0] for record in records}) == 1 and len(known) < 2


def _ranks(found: list[list[Record]]) -> Array | None:
    """Of every choice within its question; None where a record has no scores, or one that is no number."""
    longest = max(len(record.choice_scores) for record in found[0])
    scores = np.full((len(found), len(found[0]), longest), np.nan)
    for row, records in enumerate(found):
        for column, record in enumerate(records):
            if not record.choice_scores or np.isnan(record.choice_scores).any():
                return None
            scores[row, column, : len(record.choice_scores)] = record.choice_scores
    one, other = scores[..., :, None], scores[..., None, :]
    ranks = (other < one).sum(axis=-1) + ((other == one).sum(axis=-1) + 1) / 2
    return np.where(np.isnan(scores), np.nan, ranks)
