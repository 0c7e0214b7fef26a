"""MODEL as the user named it, checked and identified before its weights are loaded."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from clas_models.command_line import CONVERT, EVAL
from clas_models.conversion.companions import prompt_files
from clas_models.conversion.loading import load_model, load_tokenizer, pick_device, pick_dtype
from clas_models.conversion.source import (
    Source,
    check_profile_fits,
    check_quantiles_fit,
    check_vectors_fit,
    open_source,
)
from clas_models.conversion.weights import current_names, read_tensor
from clas_models.errors import InputError
from clas_models.finetuning.adapted_model import load_adapted
from clas_models.finetuning.adapter import Adapter
from clas_models.finetuning.adapter_record import AdapterRecord
from clas_models.modeling.configuration_clas import STRENGTHS
from clas_models.modeling.language_tags import matching
from clas_models.modeling.tensor_names import DETECTOR_PREFIX, is_added
from clas_models.profiling.known import Known
from clas_models.profiling.language_vectors import LanguageVectors
from clas_models.profiling.neuron_profile import NeuronProfile
from clas_models.profiling.neuron_quantiles import NeuronQuantiles

# Fields of config.json that change no prediction: strengths are part of each method, languages are always named, and
# what version 0.1 stored of overwritten neurons is not read.
_IRRELEVANT = (
    *STRENGTHS, "language", "detector_languages", "detector_floor", "detector_temperature", "detector_handicap",
    "gate_languages", "overwrite_layers", "overwrite", "dtype", "torch_dtype", "architectures", "auto_map",
    "clas_version", "transformers_version", "_name_or_path",
)  # fmt: skip
_DEFAULT_ANCHOR = "en"


@dataclass(frozen=True)
class Checkpoint:
    """A steered or plain checkpoint that can be evaluated.

    Attributes:
        source: its folder, configuration and weights on disk.
        tokenizer: a fast one.
        dtype, device: what its weights are loaded as, and where.
        adapter: what is merged into it when it is loaded.
    """

    source: Source
    tokenizer: Any
    dtype: str
    device: torch.device
    adapter: Adapter | None = None

    @property
    def name(self) -> str:
        return self.source.name if self.adapter is None else f"{self.source.name.rstrip('/')} + {self.adapter.name}"

    @property
    def is_steered(self) -> bool:
        return self.source.is_steered

    @property
    def config(self) -> Any:
        return self.source.config

    @property
    def anchor_language(self) -> str:
        """English for a plain one, which has none."""
        return str(self.config.anchor_language) if self.is_steered else _DEFAULT_ANCHOR

    def profiled_as(self, language: str) -> str | None:
        """Which of the checkpoint's profiled languages a canonical tag stands for: itself, a broader one, or None."""
        return matching(language, self.config.languages) if self.is_steered else None

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the weights, masks and vectors, of an adapter, of what decides how text is read, and of the
        configuration without the strengths.

        Two checkpoints with the same one give the same predictions under the same strengths.
        """
        digest = hashlib.sha256(self.source.fingerprint.encode())
        for name in sorted(current_names(self.source.shards)):
            if is_added(name) and not name.startswith(DETECTOR_PREFIX):
                table = read_tensor(self.source.shards, name).contiguous().view(torch.uint8)
                digest.update(f"{name}|".encode() + table.numpy().tobytes())
        fields = {name: value for name, value in self.source.raw_config.items() if name not in _IRRELEVANT}
        if self.adapter is not None:
            digest.update(f"adapter|{self.adapter.digest}".encode())
        digest.update(json.dumps([fields, sorted(self.eos_token_ids)], sort_keys=True).encode())
        folder = self.source.folder
        for path in prompt_files(folder):
            digest.update(f"{path.relative_to(folder).as_posix()}|".encode() + path.read_bytes())
        return digest.hexdigest()

    @cached_property
    def eos_token_ids(self) -> frozenset[int]:
        """The tokens that end an answer: the tokenizer's, and those of the generation configuration."""
        path = self.source.folder / "generation_config.json"
        found = self.config.eos_token_id
        if path.is_file():
            found = GenerationConfig.from_pretrained(self.source.folder).eos_token_id
        listed = found if isinstance(found, (list, tuple)) else [found]
        return frozenset({self.tokenizer.eos_token_id, *listed} - {None})

    @property
    def answer_end(self) -> int:
        """The token that ends an answer: the tokenizer's own where it is one that the model stops at.

        Raises InputError: no token ends an answer.
        """
        stops, own = self.eos_token_ids, self.tokenizer.eos_token_id
        if not stops:
            raise InputError(f"{self.name}: no token ends an answer; set eos_token_id in its config.json")
        return int(own) if own in stops else min(stops)

    def profile(self) -> NeuronProfile:
        """The profile that a steered checkpoint carries.

        Raises InputError: there is none, it is damaged, or of another model.
        """
        path = self.source.profile_path
        if path is None:
            raise InputError(
                f"{self.name}: no neuron_profile.safetensors in its folder, which language neurons are found in; "
                "convert the model again"
            )
        profile = NeuronProfile.load(path)
        check_profile_fits(profile, self.source, path)
        return profile

    def known(self) -> Known:
        """What selections are made from: the profile that a steered checkpoint carries, and its quantiles, if any.

        Raises InputError: there is no profile, or one of them is damaged or of another model.
        """
        profile, path = self.profile(), self.source.quantiles_path
        if path is None:
            return Known(profile)
        quantiles = NeuronQuantiles.load(path)
        check_quantiles_fit(quantiles, self.source, path)
        return Known(profile, quantiles)

    def language_vectors(self) -> LanguageVectors:
        """The vectors of all layers that a steered checkpoint carries.

        Raises InputError: there are none, they are damaged, or of another model.
        """
        path = self.source.vectors_path
        if path is None:
            raise InputError(
                f"{self.name}: no steering_vectors.safetensors in its folder, which vectors of other layers are taken "
                f"from; make them with {EVAL} vectors, and convert it with {CONVERT} --vectors"
            )
        vectors = LanguageVectors.load(path)
        check_vectors_fit(vectors, self.source, path)
        return vectors

    def trained_for(self, task: str) -> AdapterRecord | None:
        """The record of an adapter that was trained for a task; None without one, and for other tasks."""
        record = None if self.adapter is None else self.adapter.record
        return record if record is not None and record.task == task else None

    def load(self) -> Any:
        """The model with its weights, in eval mode; with an adapter that has a head, a sequence classification.

        Raises InputError: it cannot be loaded, or the adapter does not fit it.
        """
        if self.adapter is not None:
            return load_adapted(self.source, self.adapter.folder, self.dtype, self.device)
        return load_model(self.source, self.dtype, self.device)


def open_checkpoint(model: str, dtype: str = "auto", device: str = "auto", adapter: Path | None = None) -> Checkpoint:
    """Find and check the model that a user names.

    Args:
        model: a folder or a Hub id.
        dtype, device: as for the converter.
        adapter: the folder of one that is merged into it.

    Raises InputError: it is neither, not a supported family, or damaged; the device cannot be used; or the adapter
    cannot, see `Adapter.open`.
    """
    path = Path(model).expanduser()
    if path.is_file():
        raise InputError(f"{model}: a file; give the folder of a checkpoint or a Hub id, or convert a .gguf file first")
    source = open_source(model, scratch=path)
    where = pick_device(device)
    precision = pick_dtype(dtype, where)
    if precision == "auto":
        precision = str(source.raw_config.get("dtype") or source.raw_config.get("torch_dtype") or "float32")
    opened = None if adapter is None else Adapter.open(adapter, source)
    return Checkpoint(source, load_tokenizer(source), precision, where, opened)
