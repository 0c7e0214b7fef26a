"""The steered checkpoint on disk: base weights untouched, what steering adds in a shard of its own, the configuration,
and the code that runs it.

Everything is written into the folder that it is given; making that folder appear under its final name, whole or not
at all, is `staging.py`'s business.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers.dynamic_module_utils import get_relative_import_files

from ..errors import InputError
from ..modeling.family import Family
from ..modeling.fitted import masks_of_categories
from ..modeling.language_detector import LanguageDetector
from ..modeling.masks import check_masks
from ..modeling.tensor_names import (
    ALL_SHARED_MASK,
    DETECTOR_PREFIX,
    FITTED_STRENGTHS,
    MASKS,
    mask_name,
    vectors_name,
)
from ..modeling.version import VERSION
from ..profiling.fitted_strengths import FittedStrengths
from ..profiling.language_vectors import LanguageVectors
from ..profiling.neuron_profile import NeuronProfile
from ..profiling.neuron_quantiles import NeuronQuantiles
from .copying import copy_companions, place, write_json, write_text, write_weights
from .reading import keep_reading
from .source import PROFILE_NAME, QUANTILES_NAME, STRENGTHS_NAME, VECTORS_NAME, Source


@dataclass(frozen=True)
class SteeredCheckpoint:
    """What is written.

    Attributes:
        masks: by layer `shared_mask` and `specific_mask`, bool `[neurons]`.
        fields: the steering fields.
        profile: what the masks are made from; None where no neurons are rescaled.
        vectors: what is added behind layers, floating `[languages, hidden]`.
        vector_data: the vectors of all layers, so that others can be chosen later.
        fitted: strengths in place of beta and gamma, of the layers of the masks.
        quantiles: percentiles of the activations, for whoever studies neurons.
    """

    source: Source
    masks: Mapping[int, tuple[Tensor, Tensor]]
    fields: dict[str, Any]
    profile: NeuronProfile | None
    card: str
    detector: LanguageDetector | None = None
    vectors: Mapping[int, Tensor] = field(default_factory=dict)
    vector_data: LanguageVectors | None = None
    fitted: FittedStrengths | None = None
    quantiles: NeuronQuantiles | None = None

    def __post_init__(self) -> None:
        for layer, pair in self.masks.items():
            try:
                check_masks(layer, *pair, self.source.num_neurons)
            except ValueError as error:
                raise InputError(str(error)) from error
        steered_config(self.source, self.fields)

    def added_tensors(self) -> dict[str, Tensor]:
        """What steering adds, under the names that it has in the checkpoint."""
        tables = self.detector.named_buffers() if self.detector is not None else ()
        tensors = {f"{DETECTOR_PREFIX}{name}": table for name, table in tables}
        for layer, pair in self.masks.items():
            tensors |= {mask_name(layer, name): mask for name, mask in zip(MASKS, pair, strict=True)}
        if self.fitted is not None:
            categories = self.fitted.categories_by_layer()
            for layer, table in self.fitted.tables().items():
                tensors[mask_name(layer, ALL_SHARED_MASK)] = masks_of_categories(categories[layer])[2]
                tensors[mask_name(layer, FITTED_STRENGTHS)] = table
        return tensors | {vectors_name(layer): vectors for layer, vectors in self.vectors.items()}

    def write(self, folder: Path, progress: Callable[[int], Any] | None = None) -> None:
        """Write every file into `folder`, which exists; `progress` is called with the bytes of weights done.

        Raises OSError: the disk is full or not writable.
        """
        write_json(folder / "config.json", steered_config(self.source, self.fields))
        source, added = self.source, self.added_tensors()
        write_weights(folder, source.shards, link=source.from_hub, added=added, done=progress)
        carried = {
            PROFILE_NAME: self.profile,
            QUANTILES_NAME: self.quantiles,
            VECTORS_NAME: self.vector_data,
            STRENGTHS_NAME: self.fitted,
        }
        for name, data in carried.items():
            if data is None:
                (folder / name).unlink(missing_ok=True)  # of another attempt
            elif not (folder / name).is_file():
                data.save(folder / name)
        write_text(folder / "README.md", self.card)
        copy_companions(self.source.folder, folder)
        keep_reading(self.source, folder)
        for path in code_files(self.source.family):
            place(path, folder / path.name, link=False)


def steered_config(source: Source, fields: dict[str, Any]) -> dict[str, Any]:
    """The base's `config.json` with the steering fields, as it goes to disk: languages by their canonical tags.

    Raises InputError: a field cannot be used; the message names the field, the value and what is allowed.
    """
    family = source.family
    config = source.base_fields
    config.update(
        fields,
        model_type=family.model_type,
        architectures=[family.causal_lm.__name__],
        auto_map=family.config.code_map(),  # type: ignore[attr-defined]
        clas_version=VERSION,
    )
    try:
        checked = family.config.from_dict(dict(config))
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from error
    return {**config, **{name: getattr(checked, name) for name in fields}}


def code_files(family: Family) -> list[Path]:
    """What a checkpoint carries: the file of a family's classes and what it imports from beside it, by their names."""
    first = Path(inspect.getfile(family.causal_lm))
    return sorted({first, *map(Path, get_relative_import_files(first))})
