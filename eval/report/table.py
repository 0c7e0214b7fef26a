"""A table that is ready to be shown, and its three forms on disk: Markdown, CSV and JSON.

What stands in it is decided by `tables.py` and `grid_tables.py`; the HTML form is the page's template.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from ..statistics import Interval

if TYPE_CHECKING:
    from .comparison import Across, Difference

MISSING = "–"
CHANGED = "outputs changed"
# What Markdown, or the HTML within it, would take for markup: the underscore of a name and the brackets of an interval
# are none.
_MARKUP = re.compile(r"[\\`*|$~]|(?<!\w)_|_(?!\w)|\](?=[(\[:])|<(?=[\w/!?])|&(?=[\w#]+;)")
_DIGITS = 6  # in CSV and JSON, so that the last bits of a sum do not show

Value: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True)
class Cell:
    """What is shown, and what a column is sorted by."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Column:
    title: str
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """A table in both of its readings.

    Attributes:
        name: stem of its file names.
        body, foot: what is shown; the foot takes no part in sorting.
        notes: sentences below the table.
        data: the same and more as plain values, a dict for each row: the CSV file and the rows in JSON.
        summary: values about the whole table, for JSON.
        long: too long for the Markdown report, which then names the CSV file instead.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    body: tuple[tuple[Cell, ...], ...]
    foot: tuple[tuple[Cell, ...], ...] = ()
    notes: tuple[str, ...] = ()
    data: tuple[Mapping[str, Value], ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    long: bool = False

    def trimmed(self) -> Table:
        """Without the columns and the last rows in which nothing is known."""
        foot = tuple(row for row in self.foot if any(cell.text not in ("", MISSING) for cell in row[1:]))
        rows = (*self.body, *foot)
        kept = [
            number
            for number in range(len(self.columns))
            if not rows or any(row[number].text not in ("", MISSING) for row in rows)
        ]

        def pick(row: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(row[number] for number in kept)

        return replace(self, columns=pick(self.columns), body=tuple(map(pick, self.body)), foot=tuple(map(pick, foot)))

    def to_markdown(self) -> str:
        lines = [f"### {escape_markdown(self.title)}", ""]
        if self.long:
            lines += [f"{len(self.body)} rows, in `tables/{self.name}.csv`.", ""]
        else:
            lines += markdown_rows(self.columns, [*self.body, *self.foot])
        lines += [f"- {escape_markdown(note)}" for note in self.notes]
        return "\n".join([*lines, ""] if self.notes else lines)

    def to_csv(self) -> str:
        """One line for each row of `data`; a missing value is empty."""
        names = list(dict.fromkeys(name for row in self.data for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: plain(value) for name, value in row.items()} for row in self.data)
        return text.getvalue()

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "rows": [plain(row) for row in self.data],
            "summary": plain(self.summary),
            "notes": list(self.notes),
        }


def markdown_rows(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> list[str]:
    """The lines of a Markdown table, and an empty one after it."""
    head = _markdown_row([column.title for column in columns])
    rule = "|" + "|".join("---:" if column.numeric else "---" for column in columns) + "|"
    return [head, rule, *(_markdown_row([cell.text for cell in row]) for row in rows), ""]


def _markdown_row(texts: Sequence[str]) -> str:
    return "| " + " | ".join(escape_markdown(text) for text in texts) + " |"


def escape_markdown(text: str) -> str:
    """In one line, and shown as it is: neither Markdown nor the HTML in it is markup any more."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def plain(value: Any) -> Any:
    """For CSV and JSON: rounded, and None for what is not finite."""
    if isinstance(value, float):
        return round(value, _DIGITS) + 0.0 if math.isfinite(value) else None  # + 0.0: no negative zero
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def columns(*titles: str, words: Collection[str] = ("language",)) -> tuple[Column, ...]:
    """Columns of numbers, but for those in `words`."""
    return tuple(Column(title, numeric=title not in words) for title in titles)


def count(value: int) -> Cell:
    return Cell(str(value), value)


def score(value: float | None, decimals: int) -> Cell:
    return Cell(MISSING) if value is None or not math.isfinite(value) else Cell(f"{value:.{decimals}f}", value)


def changed(of: Difference | Across) -> Cell:
    """How many outputs are not the base's, of how many; missing where outputs are numbers."""
    return Cell(MISSING) if of.changed is None else Cell(f"{of.changed} of {of.examples}", of.changed)


def difference(value: float | None, decimals: int, *, marked: bool = False) -> Cell:
    """With its sign, as in the paper's tables; an asterisk marks a significant one."""
    if value is None:
        return Cell(MISSING)
    rounded = round(value, decimals) + 0.0
    sign = "+" if rounded > 0 else ""
    return Cell(f"{sign}{rounded:.{decimals}f}{'*' if marked else ''}", value)


def interval(value: Interval | None, decimals: int) -> Cell:
    """The two ends; sorted by the lower one."""
    if value is None or not math.isfinite(value.low):
        return Cell(MISSING)
    low, high = (difference(end, decimals).text for end in (value.low, value.high))
    return Cell(f"[{low}, {high}]", value.low)


def interval_cells(value: Interval | None, decimals: int, *, marked: bool = False) -> tuple[Cell, Cell]:
    """A difference and its interval."""
    return difference(value.mean if value else None, decimals, marked=marked), interval(value, decimals)


def interval_data(value: Interval | None, mean: str = "difference") -> dict[str, Value]:
    """The same as plain values, under the names `mean`, low and high."""
    ends = (value.mean, value.low, value.high) if value else (None, None, None)
    return dict(zip((mean, "low", "high"), ends, strict=True))


def p_value(value: float | None) -> Cell:
    if value is None:
        return Cell(MISSING)
    return Cell("< 0.001" if value < 0.001 else f"{value:.3f}", value)


def p_sentence(value: float | None) -> str:
    """`p = 0.048`, `p < 0.001` or `p undefined`, for a note."""
    if value is None:
        return "p undefined"
    shown = p_value(value).text
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"
