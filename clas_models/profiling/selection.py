"""A selection: which neurons belong to each language, and how that was found.

The data, its checks and its file.  `categories` and `lape` make selections from a profile; `write_tables` makes of one
what is written over its neurons.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from ..errors import InputError
from ..json_data import from_json
from ..modeling.language_tags import matching, own_code
from .neuron_profile import Provenance
from .tensor_file import check_axes, check_names, check_tensor, described_tensors, save_described, stored_languages

_METADATA_KEY = "clas_selection"
_FORMAT = 1


@dataclass(frozen=True)
class Origin:
    """How something was made from a neuron profile: by the function of the name `made_by`, with these `arguments`, as
    JSON holds them, beside the profile.
    """

    made_by: str
    arguments: dict[str, Any]
    profile: Provenance


@dataclass(frozen=True, eq=False)
class Selection:
    """Which neurons belong to each language; one may belong to several, or to none.

    Attributes:
        languages: codes, the first axis of `masks`.
        layers: the model's layer indices, the next axis.
        masks: bool `[languages, layers, neurons]`.
    """

    languages: tuple[str, ...]
    layers: tuple[int, ...]
    masks: Tensor
    origin: Origin

    def __post_init__(self) -> None:
        check_axes(self.languages, self.layers)
        neurons = self.masks.shape[-1] if self.masks.dim() else 0
        check_tensor("masks", self.masks, torch.bool, (len(self.languages), len(self.layers), neurons))

    def counts(self) -> dict[str, int]:
        """How many neurons belong to each language; one that belongs to several counts in each."""
        return dict(zip(self.languages, self.masks.sum(dim=(1, 2)).tolist(), strict=True))

    def indices(self, language: str) -> tuple[Tensor, ...]:
        """A language's neurons in each layer: int64 `[neurons]`, ascending. Raises InputError: an unknown language."""
        return tuple(layer.nonzero().flatten() for layer in self.masks[self.row(language)])

    def row(self, language: str) -> int:
        """The place of a language among `languages`. Raises InputError: an unknown language."""
        found = matching(own_code(language, shortest=2) or language, self.languages)
        if found is None:
            raise InputError(
                f"language {language!r} is not among those that neurons were selected for: choose one of "
                f"{', '.join(self.languages)}, or profile it too"
            )
        return self.languages.index(found)

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all."""
        described = {
            "format_version": _FORMAT,
            "languages": self.languages,
            "layers": self.layers,
            "origin": asdict(self.origin),
        }
        save_described(path, _METADATA_KEY, described, {"masks": self.masks})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file of `save`. Raises InputError: no such file, one of another kind, or one that is damaged."""
        with described_tensors(path, _METADATA_KEY, "selection", "save one first", _FORMAT) as (described, tensors):
            check_names(tensors, {"masks"})
            languages, layers = stored_languages(described["languages"]), tuple(described["layers"])
            return cls(languages, layers, tensors["masks"], from_json(Origin, described["origin"]))
