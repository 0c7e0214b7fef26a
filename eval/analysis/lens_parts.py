"""What the lens has seen of one method in one language, on disk: `RUN/lens/METHOD/LANGUAGE.safetensors`.

A part counts when the predictions of its method and language are there, which are written after it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from clas_models.atomic import fsync_path
from clas_models.errors import InputError
from clas_models.profiling.tensor_file import check_names, check_tensor, described_tensors, save_described

from ..run_folder import RunFolder, folder_of

LENS_NAME = "lens"
_VERSION = 1
_REMEDY = "delete the file and its predictions, and run again"


@dataclass(frozen=True)
class Part:
    """What the lens has seen, on the CPU.

    Attributes:
        native, anchor: float64 `[layers, questions, choices]`, log p a token of the choices' texts in the language of
            the questions, and in the anchor language.
        letters: float32 `[layers, questions, choices]`, logits of the choices' letters.
        gold: int64 `[questions]`.
        states: float32 `[layers, the first questions, hidden]`, of the prompts' last tokens.
    """

    native: Tensor
    anchor: Tensor
    letters: Tensor
    gold: Tensor
    states: Tensor

    def save(self, path: Path) -> None:
        """Raises OSError: it cannot be written."""
        path.parent.mkdir(parents=True, exist_ok=True)
        save_described(path, LENS_NAME, {"format_version": _VERSION}, vars(self))
        fsync_path(path.parent)

    @classmethod
    def load(cls, path: Path, layers: int, questions: int, choices: int) -> Self:
        """Raises InputError: no such file, a damaged one, or one of another shape."""
        with described_tensors(path, LENS_NAME, "part of a lens", _REMEDY, _VERSION) as (_, tensors):
            check_names(tensors, set(cls.__dataclass_fields__))
            shape = (layers, questions, choices)
            for name, dtype in (("native", torch.float64), ("anchor", torch.float64), ("letters", torch.float32)):
                check_tensor(name, tensors[name], dtype, shape)
            check_tensor("gold", tensors["gold"], torch.int64, (questions,))
            states = tensors["states"]
            if states.dtype != torch.float32 or states.ndim != 3 or len(states) != layers:
                raise InputError(f"tensor 'states' is {states.dtype} {list(states.shape)}")
            return cls(**tensors)


def part_path(run: RunFolder, method: str, language: str) -> Path:
    return run.path / LENS_NAME / folder_of(method) / f"{language}.safetensors"


def remove_unfinished(run: RunFolder, task: str) -> None:
    """Remove the parts without predictions: of other settings, or of a language that was not finished."""
    wanted = {
        part_path(run, method, language)
        for method in run.settings.methods
        for language in run.settings.languages[task]
        if run.file(task, method, language).is_file()
    }
    for path in sorted((run.path / LENS_NAME).rglob("*.safetensors")):
        if path not in wanted:
            path.unlink()
