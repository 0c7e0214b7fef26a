"""What `tune` decided for each language: `tune.json` as a table."""

import json
import math
from collections.abc import Mapping
from typing import Any

from clas_models.errors import InputError

from ..run_folder import TUNE_NAME
from ..statistics import Interval
from .collect import TaskResults
from .table import MISSING, Cell, Table, Value, columns, count, interval_cells, interval_data, score
from .tables import heading, slug


def tuning_table(task: TaskResults) -> Table | None:
    """One row a language: the alpha that was chosen on one half of the data, and what it does on the other.

    Returns:
        None for another task than the tuned one, and while `tune` has not decided yet.

    Raises:
        InputError: the file is not what `tune` writes.
    """
    file = task.path / TUNE_NAME
    if not file.is_file():
        return None
    try:
        decided = json.loads(file.read_text(encoding="utf-8"))
        if decided["task"] != task.task:
            return None
        rows = [_row(task, code, decision) for code, decision in decided["languages"].items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: not what `tune` writes ({error!r}); run `tune` again with the same --out") from error
    titles = ["language", "α", "chosen on", "gain there", "95 % interval"]
    titles += ["held out", f"base ({task.scale.unit})", "tuned", "gain", "95 % interval", "reason"]
    return Table(
        name=slug(task.run, task.task, "tune"),
        title=f"{heading(task)}: alpha chosen for each language",
        columns=columns(*titles, words=("language", "reason")),
        body=tuple(cells for cells, _ in rows),
        notes=(
            "α is chosen on one half of the examples and kept only where the gain's interval excludes zero, else it is "
            "0; base, tuned and gain are of the other half, which had no part in the choice.",
        ),
        data=tuple(values for _, values in rows),
        summary=decided,
    )


def _row(task: TaskResults, language: str, decision: Mapping[str, Any]) -> tuple[tuple[Cell, ...], dict[str, Value]]:
    places, scale = task.scale.digits, task.scale.factor
    selection, held_out = decision["selection"], decision["held_out"]
    gains = [_interval(half["gain"], scale) for half in (selection, held_out)]
    base, tuned = (float(held_out[name]) * scale for name in ("base", "tuned"))
    alpha = float(decision["chosen"])
    cells = (
        Cell(language),
        Cell(f"{alpha:g}" if decision["kept"] else f"{alpha:g} (not kept)" if alpha else "0", alpha),
        count(int(selection["n"])),
        *interval_cells(gains[0], places),
        count(int(held_out["n"])),
        *(score(base, places), score(tuned, places)),
        *interval_cells(gains[1], places),
        Cell(str(decision["reason"]) or MISSING),
    )
    values: dict[str, Value] = {"language": language, "alpha": alpha, "kept": bool(decision["kept"])}
    for name, half, gain in zip(("selection", "held out"), (selection, held_out), gains, strict=True):
        values |= {f"{name} examples": int(half["n"]), f"{name} base": float(half["base"]) * scale}
        values |= {f"{name} {end}": value for end, value in interval_data(gain, "gain").items()} if gain else {}
    return cells, values | {"held out tuned": tuned, "reason": str(decision["reason"])}


def _interval(values: Mapping[str, float | None] | None, scale: float) -> Interval | None:
    """None where it was not computed; an end may be null where there were too few examples."""
    if values is None or values["mean"] is None:
        return None
    low, high = (math.nan if (end := values[name]) is None else float(end) for name in ("low", "high"))
    return Interval(float(values["mean"]), low, high).times(scale)
