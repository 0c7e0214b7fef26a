"""Tables of what interventions do to scores: rows of labels such as a language, columns of interventions.

The form of tables 1 to 5, 7 and 8 of Mondal et al., "Language-specific Neurons Do Not Facilitate Cross-Lingual
Transfer" (2025): the score without an intervention and under each, the best of a row marked; and, which theirs lack,
differences with intervals and tests.  The arithmetic is that of `report/comparison.py`.  Which runs and rows there are
is the business of who asks: `interventions.py` has a row for each language.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from clas_models.atomic import atomic_file
from clas_models.errors import InputError

from ..report.collect import TaskResults
from ..report.comparison import LEVEL, Difference, compare
from ..report.table import MISSING, Value, difference, escape_markdown, interval, interval_data, plain
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
        rows = list(self.rows)
        for kind in range(len(self.scales)):
            tested = [
                (place, column, p)
                for place, row in enumerate(rows)
                for column, cell in row.cells.items()
                if (p := cell.scores[kind].p) is not None
            ]
            for (place, column, _), p in zip(tested, holm([p for *_, p in tested]), strict=True):
                cell = rows[place].cells[column]
                scores = list(cell.scores)
                scores[kind] = replace(scores[kind], p_holm=p)
                rows[place] = replace(
                    rows[place], cells={**rows[place].cells, column: replace(cell, scores=tuple(scores))}
                )
        return replace(self, rows=tuple(rows))

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


def scales_of(main: ScoreScale) -> tuple[ScoreScale, ...]:
    """What a table shows where this is the main score: of answers exact match, and F1 beside it."""
    return tuple(map(scale_of, _SHOWN.get(main.name, (main.name,))))


def rows_of(
    task: TaskResults, methods: Mapping[str, str], languages: Sequence[str], labels: tuple[str, ...] = ()
) -> list[Row]:
    """A row for each language, from the predictions of a run.

    Args:
        task: of a run that is finished.
        methods: column -> name of a method; the first is what the others are compared with, and has to be the base.
        languages: of the task; in the anchor nothing is tested.
        labels: of every row, before its language.

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
    rows = []
    for code in languages:
        of_base = list(records[first, code].values())
        base = tuple(Score(scale.shown(of_base)) for scale in scales_of(task.scale))
        cells = {column: Cell(base, len(of_base)) for column in methods}
        for column, method in list(methods.items())[1:]:
            cells[column] = _cell([by_pair[method, code] for by_pair in found], tested=code != task.anchor)
        rows.append(Row((*labels, code), cells))
    return rows


def _differences(task: TaskResults) -> dict[tuple[str, str], Difference]:
    comparison = compare(task)
    assert comparison is not None
    return {(name, row.language): found for row in comparison.rows for name, found in row.differences.items()}


def _cell(found: Sequence[Difference], *, tested: bool) -> Cell:
    scores = tuple(Score(each.score, each.interval, each.p if tested else None) for each in found)
    return Cell(scores, found[0].examples, found[0].changed)


def save_tables(place: Path, tables: Sequence[InterventionTable], about: Mapping[str, Any]) -> None:
    """Write `place`.md, .csv and .json, each whole or not at all; the last has `about`, too, what the tables are of."""
    described = json.dumps({**about, "tables": to_json(tables)}, indent=1, ensure_ascii=False)
    texts = {"json": f"{described}\n", "csv": to_csv(tables), "md": to_markdown(tables)}
    for ending, text in texts.items():
        with atomic_file(place.with_name(f"{place.name}.{ending}")) as partial:
            partial.write_text(text, encoding="utf-8", newline="")


def to_markdown(tables: Sequence[InterventionTable]) -> str:
    """Each table as the paper has it, then the differences to its first column; the columns one below the other."""
    parts = []
    for table in tables:
        parts += [f"### {escape_markdown(table.title)}", *_scores_part(table)]
        for kind, scale in enumerate(table.scales):
            parts += _differences_part(table, kind, scale)
        if table.notes:
            parts.append("\n".join(f"- {escape_markdown(note)}" for note in table.notes))
    return "\n\n".join(parts) + "\n"


def _scores_part(table: InterventionTable) -> list[str]:
    told = table.scales[0].heading
    beside = "".join(f" (in brackets {scale.heading})" for scale in table.scales[1:])
    rows = [[*table.heads, "examples", *table.columns]]
    for row in table.rows:
        best = table.best(row)
        counts = sorted({cell.examples for cell in row.cells.values()})
        cells = [_shown(row.cells.get(column), table.scales, marked=column in best) for column in table.columns]
        rows.append([*map(escape_markdown, row.labels), "-".join(map(str, counts)), *cells])
    return [f"{escape_markdown(told + beside)}. The best of a row is bold.", _aligned(rows, len(table.heads))]


def _shown(cell: Cell | None, scales: Sequence[ScoreScale], *, marked: bool) -> str:
    if cell is None:
        return MISSING
    first, *others = (scale.formatted(score.value) for scale, score in zip(scales, cell.scores, strict=True))
    text = first + "".join(f" ({other})" for other in others)
    return f"**{text}**" if marked else text


def _differences_part(table: InterventionTable, kind: int, scale: ScoreScale) -> list[str]:
    """Of the rows in which something is tested."""
    others = table.columns[1:]
    places = scale.digits_in_terminal
    rows = [[*table.heads, *others]]
    for row in table.rows:
        if all(cell.scores[kind].p is None for cell in row.cells.values()):
            continue
        cells = []
        for column in others:
            score = row.cells[column].scores[kind] if column in row.cells else None
            mean = score.interval.mean if score and score.interval else None
            told = difference(mean, places, marked=bool(score and score.significant)).text
            cells.append(escape_markdown(f"{told} {interval(score.interval if score else None, places).text}"))
        rows.append([*map(escape_markdown, row.labels), *cells])
    test = "McNemar's exact test" if scale.is_binary else "a paired permutation test"
    told = (
        f"{scale.difference[0].upper()}{scale.difference[1:]}, to {table.columns[0]}, with the paired bootstrap's 95 % "
        f"interval over examples; * is p < {LEVEL} by {test}, adjusted (Holm) for {table.tests} comparisons."
    )
    return [escape_markdown(told), _aligned(rows, len(table.heads))] if len(rows) > 1 else []


def _aligned(rows: Sequence[Sequence[str]], labels: int) -> str:
    """A Markdown table that reads as well unrendered: labels to the left, numbers to the right."""
    widths = [max(3, *(len(row[place]) for row in rows)) for place in range(len(rows[0]))]
    rule = ["-" * width if place < labels else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    lines = []
    for row in (rows[0], rule, *rows[1:]):
        cells = [
            text.ljust(width) if place < labels else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def to_csv(tables: Sequence[InterventionTable]) -> str:
    """A line for each cell and kind of score, with all digits that tell anything; a missing value is empty."""
    lines = [
        {"table": table.title, **dict(zip(table.heads, row.labels, strict=True)), **values}
        for table in tables
        for row in table.rows
        for values in _values(table, row)
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for line in lines for name in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: plain(value) for name, value in line.items()} for line in lines)
    return text.getvalue()


def to_json(tables: Sequence[InterventionTable]) -> list[dict[str, Any]]:
    """The same, table by table, for `json.dumps`."""
    return [
        {
            "title": table.title,
            "columns": list(table.columns),
            "scores": [scale.name for scale in table.scales],
            "tests": table.tests,
            "rows": [
                {**dict(zip(table.heads, row.labels, strict=True)), "cells": plain(list(_values(table, row)))}
                for row in table.rows
            ],
            "notes": list(table.notes),
        }
        for table in tables
    ]


def _values(table: InterventionTable, row: Row) -> list[dict[str, Value]]:
    best = table.best(row)
    return [
        {
            "intervention": column,
            "score": scale.name,
            "examples": cell.examples,
            "value": score.value,
            **interval_data(score.interval),
            "changed": cell.changed,
            "p": score.p,
            "p_holm": score.p_holm,
            "best": column in best,
        }
        for column, cell in row.cells.items()
        for scale, score in zip(table.scales, cell.scores, strict=True)
    ]
