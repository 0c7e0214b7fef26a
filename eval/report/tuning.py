"""What `tune` decided, read from its folder, and the table of it.

How it decides is the business of `eval/decision_rule.py`; what that is worth to a reader is said in `findings.py`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from clas_models.errors import InputError
from clas_models.json_data import parse_json

from ..decision_rule import LEVEL
from ..run_folder import TUNE_NAME
from ..statistics import Interval
from .collect import TaskResults
from .grid_tables import AXES
from .table import MISSING, Cell, Table, Value, columns, count, interval_cells, interval_data, p_value, score
from .words import heading, slug

TUNED = {"alpha": "tuned alphas", "vector_strength": "tuned vectors"}
"""What was tuned, by its field, as methods are called."""


@dataclass(frozen=True)
class Tuned:
    """The decision for one language, on the scale of the tables; a gain is positive where it is for the better.

    Attributes:
        field, layer: what was tuned, "alpha" or "vector_strength", and after which layer vectors act.
        chosen: its value that was decided about; `kept` says whether it is in force, `together` whether that was
            decided about languages together.
        chosen_on: the number of examples that it was chosen on.
        candidates: the gain of every value there.
        decided_on, gain_there, p: of the examples that decide, and the adjusted p of the decision; None for a gain that
            was not computed.
        held_out, base, tuned, gain: of the examples that only report, under the value that is in force.
    """

    language: str
    field: str
    layer: int | None
    chosen: float
    kept: bool
    together: bool
    reason: str
    chosen_on: int
    candidates: Mapping[float, Interval]
    decided_on: int
    gain_there: Interval | None
    p: float
    held_out: int
    base: float
    tuned: float
    gain: Interval | None

    @property
    def dial(self) -> str:
        """What was tuned, in a sentence."""
        return self.field.replace("_", " ")

    def told(self, value: float) -> str:
        """`α = 2`, or `strength = 2, layer = 14`."""
        after = "" if self.layer is None else f", {AXES['vector_layers']} = {self.layer}"
        return f"{AXES[self.field]} = {value:g}{after}"

    @classmethod
    def read(cls, language: str, values: Mapping[str, Any], told: Mapping[str, Any], factor: float) -> Self:
        """The decision about a language; `told` is said of all of them.

        Raises ValueError, KeyError, TypeError or AttributeError for what `tune` does not write.
        """
        field, layer = told.get("dial", "alpha"), told.get("layer")
        if field not in ("alpha", "vector_strength") or not isinstance(layer, int | None):
            raise ValueError(f"dial {field!r}, layer {layer!r}")
        there, held_out = values["decided"], values["held_out"]
        gains = {float(alpha): _interval(gain, factor) for alpha, gain in values["candidates"].items()}
        return cls(
            language=language,
            field=field,
            layer=layer,
            chosen=float(values["chosen"]),
            kept=bool(values["kept"]),
            together=bool(values["together"]),
            reason=str(values["reason"]),
            chosen_on=int(values["selection"]["n"]),
            candidates={alpha: gain for alpha, gain in gains.items() if gain},
            decided_on=int(there["n"]),
            gain_there=_interval(there["gain"], factor),
            p=float(there["p"]),
            held_out=int(held_out["n"]),
            base=float(held_out["base"]) * factor,
            tuned=float(held_out["tuned"]) * factor,
            gain=_interval(held_out["gain"], factor),
        )


def read_tuning(task: TaskResults) -> tuple[Tuned, ...] | None:
    """The decisions, language by language.

    Returns:
        None for another task than the tuned one, and while `tune` has not decided yet.

    Raises InputError: the file is not what `tune` writes.
    """
    file = task.path / TUNE_NAME
    if task.settings.command != "tune" or not file.is_file():
        return None
    try:
        decided = parse_json(file.read_text(encoding="utf-8"))
        if decided["task"] != task.task:
            return None
        if any("decided" not in values for values in decided["languages"].values()):
            raise InputError(f"{file}: decided by a rule of older versions; run `tune` again with the same --out")
        return tuple(
            Tuned.read(code, values, decided, task.scale.factor) for code, values in decided["languages"].items()
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{file}: not what `tune` writes ({error!r}); run `tune` again with the same --out") from error


def _interval(values: Mapping[str, float | None] | None, factor: float) -> Interval | None:
    """None where it was not computed; without bounds where there were too few examples for an end."""
    if values is None or values["mean"] is None:
        return None
    low, high = values["low"], values["high"]
    ends = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
    return Interval(float(values["mean"]), *ends).times(factor)


def tuning_table(task: TaskResults, tuning: tuple[Tuned, ...]) -> Table:
    """One row for each language: what was chosen, what decided, and what it does on examples that had no part in it."""
    field, layer = next(((each.field, each.layer) for each in tuning), ("alpha", None))
    after = "" if layer is None else f", vectors after layer {layer}"
    titles = ["language", AXES[field], "chosen on", "decided on", "gain there", "95 % interval", "p"]
    titles += ["held out", f"base ({task.scale.heading})", "tuned", "gain", "95 % interval", "reason"]
    return Table(
        name=slug(task.run, task.task, "tune"),
        title=f"{heading(task)}: {field.replace('_', ' ')} chosen for each language{after}",
        columns=columns(*titles, words=("language", "reason")),
        body=tuple(_cells(task, each) for each in tuning),
        notes=(
            f"{AXES[field]} is chosen on a quarter of the examples, and kept only where half of them decide that the "
            f"gain is more than chance (p ≤ {LEVEL:g}, adjusted for all tests), else it is 0; base, tuned and gain are "
            "of the last quarter, which had no part in either. A gain is positive where it is for the better.",
        ),
        data=tuple(map(_data, tuning)),
        summary={f"gain there, by {field.replace('_', ' ')}": {each.language: _candidates(each) for each in tuning}},
    )


def _candidates(each: Tuned) -> dict[str, dict[str, Value]]:
    return {f"{alpha:g}": interval_data(gain, "gain") for alpha, gain in each.candidates.items()}


def _cells(task: TaskResults, each: Tuned) -> tuple[Cell, ...]:
    places, alpha = task.scale.digits, f"{each.chosen:g}"
    return (
        Cell(each.language),
        Cell(alpha if each.kept else f"{alpha} (not kept)" if each.chosen else "0", each.chosen),
        count(each.chosen_on),
        count(each.decided_on),
        *interval_cells(each.gain_there, places),
        p_value(each.p),
        count(each.held_out),
        *(score(each.base, places), score(each.tuned, places)),
        *interval_cells(each.gain, places),
        Cell(each.reason or MISSING),
    )


def _data(each: Tuned) -> dict[str, Value]:
    values: dict[str, Value] = {"language": each.language, each.field: each.chosen, "kept": each.kept}
    values |= {} if each.layer is None else {"vector_layers": each.layer}
    values |= {"together": each.together, "selection examples": each.chosen_on, "p": each.p}
    parts = (("decided", each.decided_on, each.gain_there), ("held out", each.held_out, each.gain))
    for name, examples, gain in parts:
        values |= {f"{name} examples": examples}
        values |= {f"{name} {end}": value for end, value in interval_data(gain, "gain").items()} if gain else {}
    return values | {"held out base": each.base, "held out tuned": each.tuned, "reason": each.reason}
