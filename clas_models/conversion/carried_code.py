"""The modeling files that a steered checkpoint carries, so that it loads where this package is not installed."""

import inspect
from pathlib import Path

from transformers.dynamic_module_utils import get_relative_import_files

from ..modeling.family import Family


def code_files(family: Family) -> list[Path]:
    """The file of a family's model classes, and all that it imports from beside it, in the order of their names."""
    first = Path(inspect.getfile(family.causal_lm))
    return sorted({first, *map(Path, get_relative_import_files(first))})
