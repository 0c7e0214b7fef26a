"""Consistency and transfer of every method as differences to the base, with intervals: over all languages, and by each.

Only wording and layout; the numbers come from `transfer_numbers.py`.
"""

from collections.abc import Mapping

from ..analysis.transfer import QUANTITIES, overall
from ..analysis.transfer_difference import ABOVE_CHANCE, ALL, TransferDifference
from ..statistics import Interval
from .collect import TaskResults
from .table import Cell, Table, Value, columns, difference, interval, interval_cells, interval_data
from .transfer_numbers import RECEIVED, digits_of, factor_of, received, shown, title_of
from .words import heading, slug


def _of(found: TransferDifference, where: str, name: str) -> Interval | None:
    """In the unit that is shown."""
    interval = found.intervals.get((where, name))
    return interval.times(factor_of(name)) if interval else None


def differences_table(task: TaskResults, differences: Mapping[str, TransferDifference]) -> Table:
    body, data, notes = [], [], []
    for method, found in differences.items():
        sides = [overall(measures, task.anchor) for measures in (found.first, found.other)]
        partly = found.above_chance != found.first.languages
        for name in QUANTITIES:
            whole, above = (_of(found, where, name) for where in (ALL, ABOVE_CHANCE))
            if whole is None:
                continue
            digits = digits_of(name)
            before, after = (shown(name, side[name][0]) for side in sides)
            rest = interval_cells(above if partly else None, digits)
            label = Cell(title_of(name, task.anchor))
            body.append((Cell(method), label, before, after, *interval_cells(whole, digits), *rest))
            of_above = {f"above chance {key}": value for key, value in interval_data(above).items()}
            sizes = {"languages": len(found.first.languages), "questions": found.questions}
            numbers = {"base": before.value, "score": after.value}
            data.append({"method": method, "quantity": name, **sizes, **numbers, **interval_data(whole), **of_above})
        notes.append(
            f"{method}: {found.questions} questions that both have in {len(found.first.languages)} languages."
            + (f" Better than guessing with both: {', '.join(found.above_chance) or 'none'}." if partly else "")
        )
    titles = (f"{task.base}", "method’s", "difference", "95 % interval", "above chance: difference", "interval")
    return Table(
        name=slug(task.run, task.task, "transfer-differences"),
        title=f"{heading(task)}: consistency and transfer, difference to {task.base}",
        columns=columns("method", "quantity", *titles, words=("method", "quantity")),
        body=tuple(body),
        notes=(
            "Intervals of the paired bootstrap over questions, which are drawn once for all languages and both "
            "methods; not corrected for the number of quantities.",
            *notes,
        ),
        data=tuple(data),
    ).trimmed()


def by_language_table(task: TaskResults, differences: Mapping[str, TransferDifference]) -> Table:
    body, data = [], []
    for method, found in differences.items():
        for code in found.first.languages:
            intervals = {name: _of(found, code, name) for name in QUANTITIES}
            body.append((Cell(code), Cell(method), *(_combined(name, each) for name, each in intervals.items())))
            row: dict[str, Value] = {"language": code, "method": method}
            for name, each in intervals.items():
                row |= {f"{name} {key}": value for key, value in interval_data(each).items()}
            data.append(row)
    return Table(
        name=slug(task.run, task.task, "transfer-differences-by-language"),
        title=f"{heading(task)}: consistency and transfer by language, difference to {task.base}",
        columns=columns(
            "language", "method", *(received(name, task.anchor) for name in QUANTITIES), words=("language", "method")
        ),
        body=tuple(body),
        notes=(RECEIVED,),
        data=tuple(data),
    ).trimmed()


def _combined(name: str, value: Interval | None) -> Cell:
    digits = digits_of(name)
    mean = difference(value.mean if value else None, digits)
    ends = interval(value, digits)
    return Cell(f"{mean.text} {ends.text}", mean.value) if ends.value is not None else mean
