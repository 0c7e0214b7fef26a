"""The folder of one training: what was wanted, the states it goes on from, and the adapter when it is finished.

NAME/training.json   what the training depends on, and when it is finished what it has come to
NAME/states/         the Trainer's, until then
NAME/adapter/        PEFT's files, and what the adapter was trained for
NAME/scores/         a run: what it answers
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from clas_models.atomic import atomic_file
from clas_models.errors import InputError
from clas_models.finetuning.adapter import FOLDER_NAME, WEIGHTS_NAME
from clas_models.finetuning.adapter_record import AdapterRecord
from clas_models.finetuning.neuron_lora import check_masked
from clas_models.finetuning.training import Trained
from clas_models.json_data import flattened, parse_json
from clas_models.keeping import refuse_loss

TRAINING_NAME, STATES_NAME, SCORES_NAME = "training.json", "states", "scores"
_PARTIAL = f".{FOLDER_NAME}.partial"


@dataclass(frozen=True)
class TrainingFolder:
    """One training's folder."""

    path: Path

    @property
    def adapter(self) -> Path:
        return self.path / FOLDER_NAME

    @property
    def states(self) -> Path:
        return self.path / STATES_NAME

    @property
    def scores(self) -> Path:
        return self.path / SCORES_NAME

    def begin(self, wanted: dict[str, Any], *, overwrite: bool) -> None:
        """Make it the folder of such a training; an earlier one like it goes on.

        Raises InputError: it has another training, and `overwrite` was not asked for, or its file is damaged.
        """
        told = self.told()
        if told and told["wanted"] != wanted:
            refuse_loss(
                self.path, f"a training with {_difference(told['wanted'], wanted)} is there", overwrite=overwrite
            )
            for folder in (self.adapter, self.states):  # answers are the run's to replace: a user may keep things there
                shutil.rmtree(folder, ignore_errors=True)
            told = {}
        elif not told and self.adapter.exists():
            raise InputError(f"{self.adapter}: an adapter of no training that is told there; give another --out")
        self.path.mkdir(parents=True, exist_ok=True)
        if not told:
            self._tell({"wanted": wanted})

    def told(self) -> dict[str, Any]:
        """`wanted`, and `trained` once there is an adapter; nothing before it begins."""
        path = self.path / TRAINING_NAME
        if not path.is_file():
            return {}
        try:
            told = parse_json(path.read_text(encoding="utf-8"))
            if not isinstance(told["wanted"], dict):
                raise TypeError("wanted is no object")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: damaged ({error}); remove it and train again, or give another --out") from error
        return dict(told)

    @property
    def is_finished(self) -> bool:
        return self.adapter.is_dir() and "trained" in self.told()

    def finish(self, model: Any, record: AdapterRecord, masks: Mapping[int, Tensor], trained: Trained) -> None:
        """Save the adapter, whole or not at all, and remove the states.

        Raises RuntimeError: what was saved is not zero outside of the masks.
        """
        partial = self.path / _PARTIAL
        shutil.rmtree(partial, ignore_errors=True)
        model.save_pretrained(partial)
        check_masked(load_file(partial / WEIGHTS_NAME), masks)
        record.save(partial)
        shutil.rmtree(self.adapter, ignore_errors=True)
        self._tell({**self.told(), "trained": asdict(trained)})
        partial.rename(self.adapter)
        shutil.rmtree(self.states, ignore_errors=True)

    def _tell(self, told: Mapping[str, Any]) -> None:
        with atomic_file(self.path / TRAINING_NAME) as partial:
            partial.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    """The first setting that differs, as `settings.learning_rate 1e-06, now 0.0002`."""
    flat, now = flattened(before), flattened(after)
    name = next(name for name in {**flat, **now} if flat.get(name) != now.get(name))
    return f"other settings ({name} {flat.get(name, 'not there')}, now {now.get(name, 'not there')})"
