"""Tables of what interventions do to scores: rows of labels such as a language, columns of interventions.

The form of tables 1 to 5, 7 and 8 of Mondal et al., "Language-specific Neurons Do Not Facilitate Cross-Lingual
Transfer" (2025): the score without an intervention and under each, the best of a row marked; and, which theirs lack,
differences with intervals and tests.  The arithmetic is that of `report/comparison.py`, the forms on disk are in
`intervention_output.py`.  Which runs and rows there are is the business of who asks: `interventions.py` has a row for
each language.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from clas_models.errors import InputError

from ..report.collect import TaskResults
from ..report.comparison import LEVEL, Difference, compare
from ..score_scale import ScoreScale, scale_of
from ..statistics import Interval, holm

NONE = "No Int"
"""The column of the model as it is."""
_SHOWN = {"f1": ("exact_match", "f1"), "mlqa_f1": ("mlqa_exact_match", "mlqa_f1")}
_SAME = 1e-9  # scores that agree to this are the same


@dataclass(frozen=True)
class Score:
    """One kind of score in a cell, as it is shown.

    Attributes:
        value: of the cell's examples.
        interval: the difference to the first column on the same examples, with its bootstrap interval; None in that
            column.
        p: of the difference, not adjusted; None where nothing is tested.
        p_holm: adjusted for all tests of the table.
    """

    value: float
    interval: Interval | None = None
    p: float | None = None
    p_holm: float | None = None

    @property
    def significant(self) -> bool:
        return self.p_holm is not None and self.p_holm < LEVEL


@dataclass(frozen=True)
class Cell:
    """A method in a row.

    Attributes:
        scores: in the order of the table's scales.
        examples: that they are of.
        changed: how many outputs are not those of the first column; None in it, and where outputs are numbers.
    """

    scores: tuple[Score, ...]
    examples: int
    changed: int | None = None


@dataclass(frozen=True)
class Row:
    """What is compared with each other: `labels` say what all cells have in common, `cells` are by column."""

    labels: tuple[str, ...]
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class InterventionTable:
    """One table.

    Attributes:
        title: what its rows have in common, such as a selection.
        heads: titles of the rows' labels.
        columns: of the cells; the first is what the others are compared with.
        scales: the kinds of scores in each cell; the best of a row is that of the first.
        notes: sentences below it.
    """

    title: str
    heads: tuple[str, ...]
    columns: tuple[str, ...]
    scales: tuple[ScoreScale, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def adjusted(self) -> Self:
        """With p values that are adjusted (Holm) for all tests of the table, each kind of score for itself."""
        rows = self.rows
        for kind in range(len(self.scales)):
            tested = [cell.scores[kind].p for row in rows for cell in row.cells.values()]
            values = iter(holm([p for p in tested if p is not None]))
            rows = tuple(
                replace(row, cells={column: _adjusted(cell, kind, values) for column, cell in row.cells.items()})
                for row in rows
            )
        return replace(self, rows=rows)

    @property
    def tests(self) -> int:
        """How many differences are tested, of one kind of score."""
        return sum(cell.scores[0].p is not None for row in self.rows for cell in row.cells.values())

    def best(self, row: Row) -> frozenset[str]:
        """The columns with the best score of a row; none where all are alike."""
        sign = self.scales[0].sign
        values = {column: sign * cell.scores[0].value for column, cell in row.cells.items()}
        best = {column for column, value in values.items() if value >= max(values.values()) - _SAME}
        return frozenset() if len(best) == len(values) else frozenset(best)


def _adjusted(cell: Cell, kind: int, values: Iterator[float]) -> Cell:
    """With the next of the values, where something is tested."""
    score = cell.scores[kind]
    if score.p is None:
        return cell
    return replace(cell, scores=(*cell.scores[:kind], replace(score, p_holm=next(values)), *cell.scores[kind + 1 :]))


def scales_of(main: ScoreScale) -> tuple[ScoreScale, ...]:
    """What a table shows where this is the main score: of answers exact match, and F1 beside it."""
    return tuple(map(scale_of, _SHOWN.get(main.name, (main.name,))))


def rows_of(
    task: TaskResults,
    methods: Mapping[str, str],
    languages: Sequence[str],
    labels: tuple[str, ...] = (),
    untested: Collection[str] | None = None,
) -> list[Row]:
    """A row for each language, from the predictions of a run.

    Args:
        task: of a run that is finished.
        methods: column -> name of a method; the first is what the others are compared with, and has to be the base.
        languages: of the task.
        labels: of every row, before its language.
        untested: languages in which all columns must be alike; by default the anchor, which nothing is written in.

    Raises InputError: a method has no predictions in a language, or the first is not the base.
    """
    first = next(iter(methods.values()))
    if task.base != first:
        raise InputError(f"{task.path}: the run has no predictions of {first}, which interventions are compared with")
    for method in methods.values():
        if missing := [code for code in languages if not task.records.get((method, code))]:
            raise InputError(f"{task.path}: no predictions of {method} in {', '.join(missing)}; start the run again")
    names = tuple(methods.values())
    records = {pair: held for pair, held in task.records.items() if pair[0] in names and pair[1] in languages}
    wanted = replace(task, methods=names, languages=tuple(languages), records=records)
    found = [_differences(replace(wanted, scale=scale)) for scale in scales_of(task.scale)]
    untested = (task.anchor,) if untested is None else untested
    rows = []
    for code in languages:
        of_base = list(records[first, code].values())
        base = tuple(Score(scale.shown(of_base)) for scale in scales_of(task.scale))
        cells = {column: Cell(base, len(of_base)) for column in methods}
        for column, method in list(methods.items())[1:]:
            cells[column] = _cell([by_pair[method, code] for by_pair in found], tested=code not in untested)
        rows.append(Row((*labels, code), cells))
    return rows


def _differences(task: TaskResults) -> dict[tuple[str, str], Difference]:
    comparison = compare(task)
    assert comparison is not None
    return {(name, row.language): found for row in comparison.rows for name, found in row.differences.items()}


def _cell(found: Sequence[Difference], *, tested: bool) -> Cell:
    scores = tuple(Score(each.score, each.interval, each.p if tested else None) for each in found)
    return Cell(scores, found[0].examples, found[0].changed)
