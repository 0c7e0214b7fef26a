"""The command `transfer`: consistency and transfer between languages of one run, without a report.

What stands in the tables is said in `report/transfer.py`.
"""

import json
from dataclasses import replace
from pathlib import Path

from clas_models.atomic import atomic_file
from clas_models.errors import InputError
from clas_models.keeping import refuse_loss

from .report.collect import collect
from .report.table import Table
from .report.transfer import TransferPart, transfer_part
from .summary import aligned

FORMATS = (".csv", ".json")


def transfer(run: Path, out: Path | None, *, overwrite: bool = False) -> str:
    """Tables of every task whose answers are choices.

    Args:
        run: the folder of a run.
        out: where all numbers go, as its name ends: `.json` has every table, `.csv` a row for each task, method and
            ordered pair of languages.  None gives the tables as text.
        overwrite: replace a file that is there.

    Returns:
        What the command prints: the tables, or where they are.

    Raises:
        InputError: not the folder of a run, or one without choices in two languages; a file of another kind, or one
            that is there and may not be replaced.
        OSError: the file cannot be written.
    """
    if out is not None:
        if out.suffix not in FORMATS:
            raise InputError(f"{out}: no {' or '.join(FORMATS)} file; give --out a name that ends so")
        refuse_loss(out, "exists already" if out.exists() else "", overwrite=overwrite)
    parts = {task.task: transfer_part(task) for task in collect([run])}
    if not any(part.pairs for part in parts.values()):
        told = [note for part in parts.values() for note in part.notes]
        raise InputError(f"{run}: {told[0] if told else 'no task whose answers are choices, such as xnli or belebele'}")
    if out is None:
        return "\n\n".join(_text(part) for part in parts.values() if part.pairs)
    with atomic_file(out) as path:
        path.write_text(_csv(parts) if out.suffix == ".csv" else _json(parts), encoding="utf-8", newline="\n")
    return str(out)


def _text(part: TransferPart) -> str:
    """All tables but that of pairs, which is long."""
    shown = [table for table in (*part.tables, *part.details) if table is not part.pairs]
    return "\n\n".join(_lines(table) for table in shown)


def _lines(table: Table) -> str:
    rows = [[column.title for column in table.columns], *([cell.text for cell in row] for row in table.body)]
    words = [number for number, column in enumerate(table.columns) if not column.numeric]
    return "\n".join([table.title, aligned(rows, left=words), *(f"- {note}" for note in table.notes)])


def _json(parts: dict[str, TransferPart]) -> str:
    tables = [{"task": task, **table.to_json()} for task, part in parts.items() for table in part.all_tables]
    return json.dumps({"tables": tables}, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _csv(parts: dict[str, TransferPart]) -> str:
    pairs = {task: part.pairs for task, part in parts.items() if part.pairs}
    rows = [{"task": task, **row} for task, table in pairs.items() for row in table.data]
    return replace(next(iter(pairs.values())), data=tuple(rows)).to_csv()
