"""Two runs side by side, prediction by prediction: how often another batch size, precision or machine changes one.

Whether a method is better than another is the report's business.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clas_models.errors import InputError

from .run_folder import Record, RunFolder
from .score_scale import scale_of
from .summary import aligned


@dataclass(frozen=True)
class Agreement:
    """One task and method in all languages that both runs have.

    Attributes:
        examples: predictions that both have.
        different: those of them that are not the same.
        largest: the largest difference of a main score between the two.
    """

    task: str
    method: str
    examples: int
    different: int
    largest: float


def compare_runs(one: Path, other: Path) -> list[Agreement]:
    """Every task, and every method that was in force with the same strengths in both.

    Raises InputError: a folder that is not a run's, or two runs without a prediction of the same method and example.
    """
    runs = RunFolder.open(one), RunFolder.open(other)
    agreements = []
    for task in runs[0].settings.tasks:
        scale = scale_of(runs[0].settings.main_score(task))
        for method, described in runs[0].settings.methods.items():
            same = described == runs[1].settings.methods.get(method)
            pairs = list(_pairs(runs, task, method)) if same else []
            if pairs:
                different = sum(before.prediction != after.prediction for before, after in pairs)
                first, second = (scale.values(records) for records in zip(*pairs, strict=True))
                largest = float(abs(first - second).max())
                agreements.append(Agreement(task, method, len(pairs), different, largest))
    if not agreements:
        raise InputError(
            f"{one} and {other}: no prediction of the same example by a method with the same strengths in both"
        )
    return agreements


def _pairs(runs: tuple[RunFolder, RunFolder], task: str, method: str) -> Iterator[tuple[Record, Record]]:
    for language in runs[0].settings.languages[task]:
        first, second = (run.records(task, method, language) for run in runs)
        others = {record.key: record for record in second}
        yield from ((record, others[record.key]) for record in first if record.key in others)


def summarize_agreement(agreements: list[Agreement]) -> str:
    rows = [["task", "method", "predictions", "different", "largest difference of a score"]]
    rows += [
        [each.task, each.method, f"{each.examples:,}", f"{each.different:,}", f"{each.largest:.3g}"]
        for each in agreements
    ]
    return aligned(rows, left=(0, 1))
