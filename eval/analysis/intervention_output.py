"""Tables of interventions in their three forms: Markdown that reads as well in a terminal, CSV and JSON."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clas_models.atomic import atomic_file

from ..report.comparison import LEVEL
from ..report.table import MISSING, Value, difference, escape_markdown, interval, interval_data, plain
from ..score_scale import ScoreScale
from .intervention_tables import Cell, InterventionTable, Row


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
            if score is None or score.interval is None:
                cells.append(MISSING)
                continue
            told = difference(score.interval.mean, places, marked=score.significant).text
            cells.append(escape_markdown(f"{told} {interval(score.interval, places).text}"))
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
