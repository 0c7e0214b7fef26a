"""The tables by which transformers and PEFT know a model: they look up the name of its class, or its model type.

Such tables decide whether `Trainer` shifts the labels that it smooths, whether a pipeline or a harness takes a model
for a causal one, and which modules an adapter changes where nobody says.  They list plain families; here a steered one
gets the entries of its base.  What Auto classes load is another matter: `families.py`.
"""

import sys
from typing import Any

from transformers.models.auto import modeling_auto

from .family import Family


def join_tables(family: Family) -> None:
    """Enter a family's classes beside those of its base in transformers' tables of class names."""
    tables = [table for name, table in vars(modeling_auto).items() if name.endswith("MAPPING_NAMES")]
    for steered in family.by_auto_class.values():
        plain = next(cls.__name__ for cls in steered.__mro__ if cls.__module__.startswith("transformers.models."))
        for table in tables:
            if table.get(family.base) == plain:
                table.setdefault(family.model_type, steered.__name__)


def join_peft_tables(base: str, steered: str) -> None:
    """Enter a steered model type beside its base in PEFT's tables of defaults, where PEFT is in use."""
    modules = (sys.modules.get(f"peft.{name}") for name in ("utils.constants", "tuners.adaption_prompt.config"))
    for module in modules:
        for name, table in _public_tables(module):
            if name.startswith("TRANSFORMERS_MODEL") and base in table:
                table.setdefault(steered, table[base])


def _public_tables(module: Any) -> list[tuple[str, dict[str, Any]]]:
    return [] if module is None else [(name, item) for name, item in vars(module).items() if isinstance(item, dict)]
