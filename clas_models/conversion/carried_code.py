"""The modeling files that a steered checkpoint carries, so that it loads where this package is not installed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers.dynamic_module_utils import get_relative_import_files

from ..errors import InputError
from ..modeling.family import Family


def code_files(family: Family) -> list[Path]:
    """The file of a family's model classes, and all that it imports from beside it, in the order of their names."""
    first = Path(inspect.getfile(family.causal_lm))
    return sorted({first, *map(Path, get_relative_import_files(first))})


def code_files_in(folder: Path, auto_map: Mapping[str, Any]) -> list[Path]:
    """The modeling files that a checkpoint carries, of whatever version it is: those that its `auto_map` names, and all
    that they import from beside them.

    Raises:
        InputError: one is missing.
    """
    modules = {str(place).partition(".")[0] for place in auto_map.values()}
    named = sorted(path for path in folder.glob("*.py") if path.stem in modules)
    try:
        return sorted({*named, *(Path(found) for path in named for found in get_relative_import_files(path))})
    except FileNotFoundError as error:
        raise InputError(
            f"{error.filename}: missing, another file of the checkpoint imports it; convert it again"
        ) from error
