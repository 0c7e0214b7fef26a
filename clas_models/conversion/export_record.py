"""The file that marks a folder as another form of a steered checkpoint, and says what it was made of.

A folded checkpoint is a plain one to everything else, and an adapter folder is no checkpoint at all; by this file the
converter knows them, to replace them when it is told to and to refuse them as a source.
"""

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from ..json_data import from_json, parse_json
from ..modeling.version import VERSION

EXPORT_NAME = "clas_export.json"
ADAPTER_CONFIG = "adapter_config.json"  # PEFT's


@dataclass(frozen=True)
class ExportRecord:
    """What an exported folder holds.

    `format` is a name in the table of formats, `alpha` and `vector_strength` are the strengths of each language in it
    (the latter empty where no vectors are added), `fingerprint` is that of the base weights (`weights.fingerprint`),
    `base_model` the base's Hub id where it is known.
    """

    format: str
    alpha: dict[str, float]
    beta: float
    gamma: float
    bridge_layers: tuple[int, ...]
    fingerprint: str
    base_model: str | None = None
    clas_version: str = VERSION
    vector_layers: tuple[int, ...] = ()
    vector_strength: dict[str, float] = field(default_factory=dict)
    fitted: bool = False

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.alpha)


def read_record(folder: Path) -> ExportRecord | None:
    """The record of an exported folder; None for any other folder, also for one with a file that is not ours."""
    try:
        return from_json(ExportRecord, parse_json((folder / EXPORT_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def refuse_folded(folder: Path, name: str) -> None:
    """Raises InputError for a checkpoint whose weights are steered for good: it would be steered twice."""
    record = read_record(folder)
    if record is not None:
        raise InputError(
            f"{name}: a {record.format} checkpoint, its weights are steered already, as {', '.join(record.languages)}; "
            "give the steered checkpoint that it was made from, or the plain one"
        )


def refuse_adapter(folder: Path, name: str) -> None:
    """Raises InputError for a folder of adapters, or one adapter, where a checkpoint is wanted."""
    if read_record(folder) is not None or (folder / ADAPTER_CONFIG).is_file():
        raise InputError(
            f"{name}: an adapter, not a checkpoint; give the steered checkpoint that it was made from, or load it on "
            "its base model with PEFT"
        )
