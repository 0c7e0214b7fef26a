"""What every form of a steered checkpoint is to the exporter: four functions, which it calls in this order."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..export_record import ExportRecord
from ..progress import Progress
from ..source import Source
from .comparison import Difference
from .scaling import Scaling


@dataclass(frozen=True, eq=False)
class Export:
    """What a form is made of: a steered source, the strengths in force, and what they do in each language.

    `record` is what goes into `clas_export.json`; `base` is the Hub id or folder of the base model, and `licence` what
    its card names; both are None where nobody knows.
    """

    source: Source
    config: Any
    scalings: tuple[Scaling, ...]
    record: ExportRecord
    base: str | None
    licence: str | None


@dataclass(frozen=True)
class Form:
    """A form of a steered checkpoint.

    `languages` takes what the user named and the configuration, and says which languages it is made for, or raises
    InputError; `check` raises InputError where the form cannot express what the source does, with the configuration in
    force; `write` fills a folder; `compare` loads what stands there and measures how far it is from the steered
    model, or raises VerificationError; `card` is the README; `usage` is how to load it, a few lines of Python or of
    a shell, given the folder's name.
    """

    languages: Callable[[tuple[str, ...], Any], tuple[str, ...]]
    check: Callable[[Source, Any], None]
    write: Callable[[Export, Path, Progress], None]
    compare: Callable[[Export, Path], Difference]
    card: Callable[[Export, Difference], str]
    usage: Callable[[Export, str], list[str]]
