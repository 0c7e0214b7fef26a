"""The command `finetune`: train adapters on chosen neurons in one language, and evaluate them in others.

The trainings are the business of `finetuning/`, evaluations that of `runner.py`; here they become one folder:

    OUT/finetune.json                 all settings, and what every training has come to
    OUT/finetune.md, .csv             scores: rows what was trained and the language, columns interventions
    OUT/NAME/adapter, NAME/scores     of each training: an adapter, and the run of its answers

Source: Mondal et al., "Language-specific Neurons Do Not Facilitate Cross-Lingual Transfer" (2025), sections 3.2 and
4.3, tables 3, 7 and 8.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clas_models.atomic import LOCK_NAME, atomic_file, check_place, folder_lock
from clas_models.errors import InputError
from clas_models.finetuning.setups import SETUPS, Training

from .analysis.intervention_output import save_tables, to_markdown
from .analysis.intervention_tables import InterventionTable
from .finetuning.options import FinetuneOptions
from .finetuning.ranks import Ranks
from .finetuning.scores import check_scores, scored, tables_of
from .finetuning.work import FinetuneWork
from .progress import Progress
from .run_options import RunOptions

FINETUNE_NAME = "finetune.json"
_STEM = "finetune"


@dataclass(frozen=True)
class Finetuned:
    """A finished fine-tuning, and the tables of its scores."""

    work: FinetuneWork
    tables: list[InterventionTable]

    def write(self) -> None:
        """Raises OSError: a file cannot be written; none is half there."""
        save_tables(self.work.options.out / _STEM, self.tables, _about(self.work))

    def summary(self) -> str:
        """For the command line."""
        out = self.work.options.out
        adapters = "\n".join(f"  {self.work.folder(each).adapter}" for each in self.work.trained)
        return f"{to_markdown(self.tables)}\nAlso in {out / _STEM}.md, .csv and .json. Adapters:\n{adapters}"


def run_finetune(options: RunOptions, chosen: FinetuneOptions, progress: Progress, ranks: Ranks) -> Finetuned | None:
    """The command `finetune`; None on a process other than the first, which has done its part when all is trained.

    Raises:
        InputError: something cannot be used: model, neurons, training file, settings, data; or what another
            fine-tuning has left would be lost.
        OSError: the disk is full or not writable; it can go on later.
    """
    chosen.check()
    work = FinetuneWork(options, chosen, options.open(), progress)
    work.prepare()
    check_scores(work)
    with _begun(work) if ranks.leads else nullcontext():
        work.announce()
        ranks.wait()
        for training in work.trained:
            work.train(training, leads=ranks.leads)
            ranks.wait()
        if not ranks.leads:
            return None
        answers = {training.name: scored(work, training) for training in work.trainings}
        finetuned = Finetuned(work, tables_of(work, answers))
        finetuned.write()
    return finetuned


@contextmanager
def _begun(work: FinetuneWork) -> Iterator[None]:
    """The folder, locked for the length of a `with` block, with all settings in it.

    Raises InputError: it holds something else, or trainings with other settings.
    """
    out = work.options.out
    check_place(out)
    if out.is_dir() and not (out / FINETUNE_NAME).is_file():
        foreign = {entry.name for entry in out.iterdir()} - {LOCK_NAME}
        if foreign:
            raise InputError(
                f"{out}: not empty ({min(foreign)}) and not the folder of a fine-tuning; give another --out"
            )
    out.mkdir(parents=True, exist_ok=True)
    with folder_lock(out, f"{out}: another fine-tuning is writing to it; wait for it, or give another --out"):
        work.begin()
        with atomic_file(out / FINETUNE_NAME) as partial:
            partial.write_text(json.dumps(_about(work), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        yield


def _about(work: FinetuneWork) -> dict[str, Any]:
    """All settings, and what has been trained by now."""
    return {
        "model": work.checkpoint.name,
        "chosen": _as_json(asdict(work.chosen)),
        "evaluation": _as_json(asdict(work.options)),
        "settings": asdict(work.settings),
        "trainings": {training.name: _told(work, training) for training in work.trainings},
    }


def _as_json(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def _told(work: FinetuneWork, training: Training) -> dict[str, Any]:
    return {"what": SETUPS[training.setup], "targets": training.targets, **work.folder(training).told()}
