"""The folder of an adapter as a user names it, checked before the weights of any model are read.

Putting it into a model is the business of `adapted_model.py`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..conversion.source import Source
from ..errors import InputError
from ..json_data import parse_json
from .adapter_record import RECORD_NAME, AdapterRecord

CONFIG_NAME, WEIGHTS_NAME = "adapter_config.json", "adapter_model.safetensors"
FOLDER_NAME = "adapter"  # of each training's adapter, in the training's folder
_PICKLED = "adapter_model.bin"
_MERGED = ("LORA", "IA3")  # of PEFT's types: those that change weights, so that a merged model is one of its family
_GENERATIVE = ("CAUSAL_LM", None)  # of PEFT's task types
_REMEDY = f"give the folder of a PEFT adapter, with {CONFIG_NAME} and {WEIGHTS_NAME}"


@dataclass(frozen=True)
class Adapter:
    """An adapter that fits a model, as far as that can be said before it is loaded.

    Attributes:
        folder: as the user named it.
        config: PEFT's `adapter_config.json`.
        record: what it was trained for; None for one that was made elsewhere, which generates its answers.
    """

    folder: Path
    config: Mapping[str, Any]
    record: AdapterRecord | None

    @classmethod
    def open(cls, folder: Path, source: Source) -> Self:
        """Find and check an adapter for the model of `source`, plain or steered.

        Raises InputError: no such folder, a file that is missing or damaged, weights that are no safetensors, a kind of
            adapter that cannot be merged, another base, a head without its labels; or PEFT is not installed.
        """
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; {_REMEDY}")
        if not (folder / CONFIG_NAME).is_file():
            raise InputError(f"{folder}: no {CONFIG_NAME} there; {_REMEDY}")
        if not (folder / WEIGHTS_NAME).is_file():
            if (folder / _PICKLED).exists():
                raise InputError(
                    f"{folder / _PICKLED}: pickled weights, which run code when they are read; save the adapter as "
                    f"{WEIGHTS_NAME}"
                )
            raise InputError(f"{folder}: no {WEIGHTS_NAME} there; {_REMEDY}")
        config, record = _read_config(folder / CONFIG_NAME), AdapterRecord.find(folder)
        if record is None and config.get("task_type") not in _GENERATIVE:
            raise InputError(
                f"{folder}: an adapter of task_type {config['task_type']} without {RECORD_NAME}, which has the labels "
                "of its head and its prompts; take it from the folder that `clas-eval finetune` wrote"
            )
        if record is not None:
            try:
                record.check_fits(source)
            except InputError as error:
                raise InputError(f"{folder}: {error}") from error
        check_peft()
        return cls(folder, config, record)

    @property
    def name(self) -> str:
        """Short, for people: of `finetuned/target-hi/adapter`, which all trainings have, `target-hi`."""
        folder = self.folder.resolve()
        return folder.parent.name if folder.name == FOLDER_NAME else folder.name

    @property
    def labels(self) -> tuple[str, ...]:
        """Of its classification head; none where it has no head."""
        return () if self.record is None else self.record.labels

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its files, in hexadecimal."""
        digest = hashlib.sha256()
        for name in (CONFIG_NAME, RECORD_NAME, WEIGHTS_NAME):
            path = self.folder / name
            if path.is_file():
                digest.update(f"{name}|".encode())
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def tensors(self) -> dict[str, Tensor]:
        """Its weights, by PEFT's names. Raises InputError: the file is damaged, or a value in it is not finite."""
        path = self.folder / WEIGHTS_NAME
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path}: not a safetensors file that can be read ({error}); save it again") from error
        for name, tensor in tensors.items():
            if not bool(tensor.isfinite().all()):
                raise InputError(f"{path}: tensor {name!r} holds values that are not finite; train the adapter again")
        return tensors


def check_peft() -> None:
    """Raises InputError: PEFT is not installed."""
    if find_spec("peft") is None:
        raise InputError("the package peft is not installed: pip install 'clas-models[finetune]'")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); save the adapter again") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: a JSON {type(config).__name__}, expected an object; save the adapter again")
    if (kind := config.get("peft_type")) not in _MERGED:
        raise InputError(f"{path}: peft_type is {kind!r}; only {' and '.join(_MERGED)} are merged into a model")
    return config
