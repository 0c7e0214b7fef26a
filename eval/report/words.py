"""How the report names things: tasks, methods with their strengths, files, lists of languages."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..run_folder import BASE
from .collect import TaskResults

_SYMBOLS = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "vector_strength": "strength",
    "vector_layers": "layer",
    "vector_positions": "tokens",
}


def slug(*parts: object) -> str:
    """A file name's stem, of letters, digits, dots and hyphens."""
    return "-".join(re.sub(r"[^a-z0-9.]+", "-", str(part).lower()).strip("-.") or "x" for part in parts)


def heading(task: TaskResults) -> str:
    return f"{task.task}, {task.model_name}"


def made_with(parameters: Mapping[str, Any]) -> str:
    """What was in force: `α = de -2, otherwise 1; β = 0.4`; `unsteered` for the base."""
    told = [f"{_SYMBOLS.get(name, name)} = {_value(value)}" for name, value in parameters.items() if name != "kind"]
    return ("; " if any(isinstance(value, Mapping) for value in parameters.values()) else ", ").join(told) or (
        "unsteered" if parameters.get("kind") == BASE else "as it is"
    )


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        codes = [f"{code} {_value(each)}" for code, each in value.items() if code != "default"]
        return ", ".join([*codes, *([f"otherwise {_value(value['default'])}"] if "default" in value else [])])
    if isinstance(value, list):
        return "/".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def listed(codes: Sequence[str], everything: Sequence[str]) -> str:
    """Languages in a sentence: their codes, or how many they are where they are all and more than three."""
    if len(codes) > 3 and set(codes) == set(everything):
        return f"all {len(codes)} languages"
    return ", ".join(codes)


def numbers(values: Sequence[float], decimals: int) -> str:
    """`6`, or `6 to 9.5`; rounded up, so that no more is promised than was seen."""
    unit = 10.0**-decimals
    ends = [f"{math.ceil(value / unit - 1e-9) * unit:.{decimals}f}" for value in (min(values), max(values))]
    shown = [end.rstrip("0").rstrip(".") if "." in end else end for end in ends]
    return shown[0] if shown[0] == shown[1] else " to ".join(shown)
