"""Answers side by side where base and a steered method differ (Table 3 of "CLAS"), also where the scores are the same.

Only for generated text: the answers to a choice are shown by the counts of gains and losses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..run_folder import STEERING
from .comparison import Comparison
from .grid_tables import best_on_average
from .table import Cell, Column, difference, escape_markdown, markdown_rows
from .words import heading

PER_LANGUAGE = 5
IN_MARKDOWN = 12
_SHOWN = 300  # characters of a text in a table of the Markdown report


@dataclass(frozen=True)
class AnswerPair:
    """One example with two answers; `rank` is its place among the gains, the losses or the ties of its language."""

    language: str
    key: str
    question: str
    gold: tuple[str, ...]
    base: str
    other: str
    gain: float
    rank: int


@dataclass(frozen=True)
class SideBySide:
    """The answers of one method beside the base's.

    Attributes:
        pairs: at most `PER_LANGUAGE` a language: gains and losses in turn, the largest first, then ties.
        notes: how many outputs changed.
    """

    title: str
    base: str
    method: str
    pairs: tuple[AnswerPair, ...]
    notes: tuple[str, ...] = ()

    def strongest(self) -> tuple[AnswerPair, ...]:
        """At most `IN_MARKDOWN` pairs: half of them gains and half losses, from as many languages as there are; ties
        where there are fewer.
        """
        ordered = sorted(self.pairs, key=lambda pair: (pair.rank, -abs(pair.gain)))
        gains, losses = ([pair for pair in ordered if sign * pair.gain > 0] for sign in (1, -1))
        half = IN_MARKDOWN // 2
        chosen = gains[: max(half, IN_MARKDOWN - len(losses))] + losses[: max(half, IN_MARKDOWN - len(gains))]
        ties = [pair for pair in ordered if not pair.gain]
        return tuple(chosen + ties[: IN_MARKDOWN - len(chosen)])

    def to_markdown(self) -> str:
        columns = [Column(name, numeric=False) for name in ("language", "question", "gold", self.base, self.method)]
        rows = []
        for pair in self.strongest():
            texts = (pair.question, " / ".join(pair.gold), pair.base, pair.other)
            rows.append((Cell(pair.language), *map(_shortened, texts), difference(pair.gain, 0)))
        lines = markdown_rows([*columns, Column("difference")], rows)
        notes = [f"- {escape_markdown(note)}" for note in self.notes]
        return "\n".join([f"### {escape_markdown(self.title)}", "", *lines, *notes, ""])


def _shortened(value: str) -> Cell:
    flat = " ".join(value.split())
    return Cell(flat if len(flat) <= _SHOWN else flat[: _SHOWN - 1] + "…")


def side_by_side(comparison: Comparison) -> list[SideBySide]:
    """One for each steered method of a plain run, one for the best setting of a grid; [] for other kinds of task."""
    task = comparison.task
    answers = next(iter(task.records.values())).values()
    if task.base is None or not all(isinstance(record.prediction, str) for record in answers):
        return []
    methods: Sequence[str | None] = comparison.methods
    if task.is_grid:
        methods = [best_on_average(comparison)]
    found = []
    for method in methods:
        if method is None or task.parameters(method).get("kind") not in STEERING:
            continue
        pairs = [pair for row in comparison.rows for pair in _pairs(comparison, method, row.language)]
        if pairs:
            title = f"{heading(task)}: {task.base} and {method} where they differ"
            found.append(SideBySide(title, task.base, method, tuple(pairs), (_counted(comparison, method),)))
    return found


def _counted(comparison: Comparison, method: str) -> str:
    cells = {row.language: cell for row in comparison.rows if (cell := row.differences.get(method))}
    told = [
        f"{code} {cell.changed} of {cell.examples} ({cell.gained} better, {cell.lost} worse)"
        for code, cell in cells.items()
    ]
    return (
        f"Outputs that changed: {'; '.join(told)}. Shown are at most {PER_LANGUAGE} a language: gains and losses in "
        "turn, the largest first, then outputs that changed though the score did not."
    )


def _pairs(comparison: Comparison, method: str, language: str) -> list[AnswerPair]:
    task = comparison.task
    name, factor = task.scale.name, task.scale.factor
    base, other = (task.records.get((name, language), {}) for name in (task.base or "", method))
    gains = {key: factor * (other[key].scores[name] - base[key].scores[name]) for key in base if key in other}
    up = sorted((key for key in gains if gains[key] > 0), key=lambda key: (-gains[key], key))
    down = sorted((key for key in gains if gains[key] < 0), key=lambda key: (gains[key], key))
    ties = sorted(key for key in gains if not gains[key] and base[key].prediction != other[key].prediction)
    ranked = sorted([*enumerate(up), *enumerate(down)], key=lambda item: (item[0], -gains[item[1]]))
    ranked += enumerate(ties)
    pairs = []
    for rank, key in ranked[:PER_LANGUAGE]:
        gold, said = tuple(map(str, base[key].gold)), (str(base[key].prediction), str(other[key].prediction))
        pairs.append(AnswerPair(language, key, base[key].shown, gold, *said, gains[key], rank))
    return pairs
