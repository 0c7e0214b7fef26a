"""What a user chooses of a fine-tuning, checked; what is evaluated afterwards is in `run_options.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clas_models.errors import InputError
from clas_models.finetuning.training_settings import TrainingSettings

from .teaching import teaching_of

VALUES = ("mean", "p90", "zero", "p10")  # columns of the paper's tables 3 and 7


@dataclass(frozen=True)
class FinetuneOptions:
    """The defaults are the command line's.

    Attributes:
        task: a key of TEACHINGS.
        train: the training file.
        targets: the languages whose transfer is looked at.
        setups: keys of SETUPS.
        select: whose neurons, as `selections.select` reads it.
        random: likewise, of the setup `random`; None is as many as `select` has.
        together: one model for the neurons of all targets.
        source: the language of the training file; None is the checkpoint's anchor.
        settings: a file of settings; None is the paper's for the task.
        changes: settings on top of those, as `name=value`.
        values: what is written over the target's neurons in the evaluation, names of values; none is no intervention.
        site: where values are taken.
    """

    task: str
    train: Path
    targets: tuple[str, ...]
    setups: tuple[str, ...] = ("base", "none", "random", "source", "target", "both")
    select: str = "lape"
    random: str | None = None
    together: bool = False
    source: str | None = None
    settings: Path | None = None
    changes: tuple[str, ...] = ()
    values: tuple[str, ...] = VALUES
    site: str = "gate"

    def training_settings(self) -> TrainingSettings:
        """Raises InputError: the task has no training, or a setting cannot be used."""
        teaching_of(self.task)
        of = TrainingSettings.of_task(self.task) if self.settings is None else TrainingSettings.of_file(self.settings)
        return of.with_values(self.changes)

    def check(self) -> None:
        """Raises InputError: a value that no model or data could make right."""
        self.training_settings()
        if twice := next((name for name in self.values if self.values.count(name) > 1), None):
            raise InputError(f"value {twice!r} is given more than once: name every one once")
