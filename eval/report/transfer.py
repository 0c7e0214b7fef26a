"""Consistency and transfer between languages, for every task whose answers are choices: all that a section says.

Table 1 and Figure 1 of "Language-Specific Latent Process": a row for each method, differences to the base with
intervals, pairs of languages as heat maps, and every number by language and by pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..analysis.language_families import by_script_and_family, script_and_family
from ..run_folder import folder_of
from .charts import Chart, Choice, HeatMap
from .collect import TaskResults
from .table import Table
from .transfer_differences import by_language_table, differences_table
from .transfer_numbers import MethodTransfer, differences, has_choices, method_transfers
from .transfer_tables import languages_table, methods_table, pairs_table
from .words import heading, slug


@dataclass(frozen=True)
class TransferPart:
    """What a section says about it.

    Attributes:
        tables, details: first and last in the section; `pairs` is the last of the details.
        notes: where there is nothing to say, and why.
    """

    tables: tuple[Table, ...] = ()
    choices: tuple[Choice, ...] = ()
    details: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def all_tables(self) -> tuple[Table, ...]:
        return *self.tables, *self.details

    @property
    def pairs(self) -> Table | None:
        """A row for each method and ordered pair of languages."""
        return self.details[-1] if self.details else None


def transfer_part(task: TaskResults) -> TransferPart:
    """Empty for a task whose answers are no choices.

    A grid gets no differences and no maps: many settings of one method are compared by their rows.
    """
    if not has_choices(task):
        return TransferPart()
    if len(task.languages) < 2:
        return TransferPart(notes=("Consistency and transfer between languages need at least two languages.",))
    methods = method_transfers(task)
    if not methods:
        note = "No question has been answered in all languages yet, so nothing is said about transfer between them."
        return TransferPart(notes=(note,))
    table, details = methods_table(task, methods), [languages_table(task, methods), pairs_table(task, methods)]
    if task.is_grid:
        return TransferPart(details=(table, *details))
    found, maps = differences(task), pair_maps(task, methods)
    return TransferPart(
        tables=(table, *([differences_table(task, found)] if found else [])),
        choices=(maps,) if maps.charts else (),
        details=(*([by_language_table(task, found)] if found else []), *details),
    )


def pair_maps(task: TaskResults, methods: Sequence[MethodTransfer]) -> Choice:
    """Figure 1: positive transfer of every pair, and consistency; related languages stand together.

    Maps of one quantity have the same colours, so that methods can be compared.
    """
    found: dict[str, Chart] = {}
    for relation, title in (("positive", "positive transfer"), ("consistency", "consistency")):
        pairs = {each.name: each.measures.pairs(relation)[0] for each in methods}
        known = [float(value) for values in pairs.values() for value in values.flat if not np.isnan(value)]
        low, high = min(known, default=0.0), max(known, default=1.0)
        for place, each in enumerate(methods, start=1):
            if np.isnan(pairs[each.name]).all():
                continue
            order = by_script_and_family(each.answers.languages)
            values = each.measures.of(order).pairs(relation)[0]
            found[f"{title}, {each.name}"] = HeatMap(
                name=slug(task.run, task.task, relation, place, folder_of(each.name)),
                title=f"{heading(task)}: {title}, {each.name}",
                x_label="from ↓ to →" if relation == "positive" else "",
                rows=tuple(_row(each, code) for code in order),
                columns=order,
                values=tuple(tuple(None if np.isnan(value) else float(value) for value in row) for row in values),
                unit=title,
                decimals=2,
                higher_is_better=True,
                ends=(low, high) if low < high else (low - 0.5, high + 0.5),
            )
    return Choice(slug(task.run, task.task, "pairs"), found, next(iter(found), ""))


def _row(each: MethodTransfer, code: str) -> str:
    near = f" ({each.near[code]})" if code in each.near else ""
    return f"{code} · {', '.join(script_and_family(code))}{near}"
