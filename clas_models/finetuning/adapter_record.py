"""What an adapter was trained for: a file beside PEFT's own, so that it is asked what it was taught, on its own base.

PEFT's `adapter_config.json` says which modules an adapter changes, and by a name on which model.  The record says on
which weights, for which task, under which labels and with which prompts.  Loading the adapter into a model is the
business of `adapted_model.py`.  Nothing here loads torch or PEFT.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..atomic import atomic_file
from ..errors import InputError
from ..json_data import from_json, parse_json

if TYPE_CHECKING:
    from ..conversion.source import Source

RECORD_NAME = "clas_adapter.json"
FORMAT = 1
_REMEDY = "take it from the folder that `clas-eval finetune` wrote, or train the adapter again"


@dataclass(frozen=True)
class AdapterRecord:
    """The training of an adapter, as far as it decides how the adapter is used.

    Attributes:
        base: the model that it was trained on, as its user called it.
        base_fingerprint: of that model's weights, see `Source.fingerprint`; a plain model and its steered checkpoints
            have the same one.
        task: its name, as in the evaluation.
        labels: of the classification head, in the order of its logits; none where answers are generated.
        template: the text of a prompt, with a place such as `{premise}` for each field of an example.
        chat_template: whether the tokenizer's chat template was around it.
        max_length: the most tokens of a prompt.
        training: every other setting, for whoever reads it: neurons, hyper-parameters, data.
        format_version: of the file.

    Raises InputError: a fingerprint, a task or a template that is empty, a label twice or a single one, a maximum
    length below 1, another format version.
    """

    base: str
    base_fingerprint: str
    task: str
    labels: tuple[str, ...]
    template: str
    chat_template: bool
    max_length: int
    training: dict[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT

    def __post_init__(self) -> None:
        if self.format_version != FORMAT:
            raise InputError(f"format_version {self.format_version}: this package reads {FORMAT}")
        for name in ("base_fingerprint", "task", "template"):
            if not str(getattr(self, name)).strip():
                raise InputError(f"{name} is empty")
        if len(self.labels) == 1 or len(set(self.labels)) < len(self.labels):
            raise InputError(f"labels {', '.join(self.labels)}: two or more that differ, or none")
        if self.max_length < 1:
            raise InputError(f"max_length is {self.max_length}: 1 or more")

    @property
    def has_head(self) -> bool:
        """Whether it answers by the label with the largest logit; else it generates its answers."""
        return bool(self.labels)

    def save(self, folder: Path) -> None:
        """Write the record into an adapter's folder, whole or not at all; what it replaces is the caller's to guard.

        Raises ValueError or TypeError: `training` holds what JSON does not.
        """
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)
        with atomic_file(folder / RECORD_NAME) as partial:
            partial.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The record in an adapter's folder.

        Raises InputError: there is none, it is not JSON, or a field is missing, unknown or not what it should be.
        """
        path = folder / RECORD_NAME
        try:
            values = parse_json(path.read_text(encoding="utf-8"))
            # A newer format may have other fields, which say less than that it is newer.
            if isinstance(values, dict) and (version := values.get("format_version")) != FORMAT:
                raise InputError(f"format_version {version!r}: this package reads {FORMAT}")
            return from_json(cls, values)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}): {_REMEDY}") from error
        except (TypeError, ValueError) as error:  # of JSON, of its fields, or of their values
            raise InputError(f"{path}: not a usable record of an adapter: {error}; {_REMEDY}") from error

    @classmethod
    def find(cls, folder: Path) -> Self | None:
        """The record in an adapter's folder, or None for an adapter of somebody's own.  Raises InputError as `load`."""
        return cls.load(folder) if (folder / RECORD_NAME).exists() else None

    def check_fits(self, source: "Source") -> None:
        """Raises InputError: the adapter was trained on other weights than those of `source`."""
        if (found := source.fingerprint) != self.base_fingerprint:
            raise InputError(
                f"an adapter for another base: it was trained on {self.base} (fingerprint "
                f"{_short(self.base_fingerprint)}), and {source.name} has {_short(found)}; give the model that it was "
                "trained on, in the same precision, or a checkpoint that was converted from it"
            )


def _short(fingerprint: str) -> str:
    return f"{fingerprint[:12]}…"
