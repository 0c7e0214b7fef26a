"""The steered checkpoint on disk: base weights untouched, masks and detector in a shard of their own, the configuration,
and the code that runs it.

Everything is written into the folder that it is given; making that folder appear under its final name, whole or not
at all, is `staging.py`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from ..atomic import atomic_file
from ..errors import InputError
from ..modeling.language_detector import LanguageDetector
from ..modeling.version import VERSION
from ..profiling.neuron_profile import NeuronProfile
from .carried_code import code_files
from .copying import copy_companions, copy_shard, place, write_json, write_text
from .source import PROFILE_NAME, Source
from .weights import DETECTOR_PREFIX, INDEX_NAME, is_added


@dataclass(frozen=True)
class SteeredCheckpoint:
    """What is written: `masks` by layer as (`shared_mask`, `specific_mask`), `fields` the steering fields, and the
    language detector, if there is one.
    """

    source: Source
    masks: Mapping[int, tuple[Tensor, Tensor]]
    fields: dict[str, Any]
    profile: NeuronProfile
    card: str
    detector: LanguageDetector | None = None

    def __post_init__(self) -> None:
        neurons = self.source.num_neurons
        for layer, pair in self.masks.items():
            for name, mask in zip(("shared_mask", "specific_mask"), pair, strict=True):
                if tuple(mask.shape) != (neurons,):
                    raise InputError(
                        f"layer {layer}: {name} has {list(mask.shape)} entries, the model {neurons} neurons a layer; "
                        "the profile is of another model"
                    )
            if bool((pair[0] & pair[1]).any()):
                raise InputError(f"layer {layer}: shared_mask and specific_mask overlap; a neuron has one category")
        steered_config(self.source, self.fields)

    def added_tensors(self) -> dict[str, Tensor]:
        """The masks and the detector's tables under the names that they have in the checkpoint."""
        tensors = (
            {f"{DETECTOR_PREFIX}{name}": table for name, table in self.detector.named_buffers()}
            if self.detector
            else {}
        )
        for layer, (shared, specific) in self.masks.items():
            tensors[f"model.layers.{layer}.mlp.shared_mask"] = shared
            tensors[f"model.layers.{layer}.mlp.specific_mask"] = specific
        return tensors

    def write(self, folder: Path, progress: Callable[[int], Any] | None = None) -> None:
        """Write every file into `folder`, which exists; `progress` is called with the bytes of weights done.

        Raises:
            OSError: the disk is full or not writable.
        """
        write_json(folder / "config.json", steered_config(self.source, self.fields))
        self._write_weights(folder, progress)
        if not (folder / PROFILE_NAME).is_file():
            self.profile.save(folder / PROFILE_NAME)
        write_text(folder / "README.md", self.card)
        for path in code_files(self.source.family):
            place(path, folder / path.name, link=False)
        copy_companions(self.source.folder, folder)

    def _write_weights(self, folder: Path, progress: Callable[[int], Any] | None) -> None:
        shards = [shard for shard in self.source.shards if not all(map(is_added, shard.tensors))]
        total = len(shards) + 1
        weight_map: dict[str, str] = {}
        for number, shard in enumerate(shards, start=1):
            name = f"model-{number:05d}-of-{total:05d}.safetensors"
            copy_shard(shard, folder / name, link=self.source.from_hub)
            weight_map.update({tensor: name for tensor in shard.tensors if not is_added(tensor)})
            if progress is not None:
                progress(shard.size)
        name = f"model-{total:05d}-of-{total:05d}.safetensors"
        added = self.added_tensors()
        with atomic_file(folder / name) as partial:
            save_file(added, partial, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(added, name))
        weights = (info for shard in shards for name, info in shard.tensors.items() if not is_added(name))
        size = sum(info.stop - info.start for info in weights)
        size += sum(tensor.nbytes for tensor in added.values())
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
        write_json(folder / INDEX_NAME, index)


def steered_config(source: Source, fields: dict[str, Any]) -> dict[str, Any]:
    """The base's `config.json` with the steering fields, as it goes to disk.

    Raises:
        InputError: a field cannot be used; the message names the field, the value and what is allowed.
    """
    family = source.family
    # Overwritten neurons of a steered source are not taken over.
    dropped = ("overwrite_layers", "overwrite")
    config = {key: value for key, value in source.raw_config.items() if key not in dropped}
    config.update(
        fields,
        model_type=family.model_type,
        architectures=[family.causal_lm.__name__],
        auto_map=family.config.code_map(),  # type: ignore[attr-defined]
        clas_version=VERSION,
    )
    try:
        family.config.from_dict(dict(config))
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from error
    return config
