"""A researcher's own masks as a file, and what a checkpoint remembers of them.

A safetensors file with the names that masks have in a checkpoint, and nothing else: for each layer `i` that shall be
steered `model.layers.{i}.mlp.scale.shared_mask` and `model.layers.{i}.mlp.scale.specific_mask`, both bool `[neurons]`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self, TypeAlias

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..atomic import atomic_file
from ..errors import InputError
from ..json_data import from_json, parse_json
from ..modeling.masks import check_masks
from ..modeling.tensor_names import MASKS, mask_name

RECORD_NAME = "clas_masks.json"
_FORM = f"a file holds {mask_name(3, MASKS[0])} and {MASKS[1]}, bool [neurons], for layer 3, and so on"


@dataclass(frozen=True)
class MaskRecord:
    """Where masks come from that were not made from a profile: the name of a file, and its SHA-256 in hexadecimal."""

    file: str
    sha256: str

    def __str__(self) -> str:
        return f"the user's own, from {self.file} (SHA-256 {self.sha256})"

    def write(self, folder: Path) -> None:
        """Into a checkpoint, so that a conversion from it can say that it does not take these masks over."""
        with atomic_file(folder / RECORD_NAME) as path:
            path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether the masks of a checkpoint are somebody's own."""
        return (folder / RECORD_NAME).is_file()

    @classmethod
    def of(cls, folder: Path) -> Self | None:
        """The record of a checkpoint; None where its masks are nobody's own, or nobody can read it."""
        try:
            return from_json(cls, parse_json((folder / RECORD_NAME).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


OwnMasks: TypeAlias = tuple[dict[int, tuple[Tensor, Tensor]], MaskRecord]


def save_masks(path: Path, masks: Mapping[int, tuple[Tensor, Tensor]]) -> None:
    """Write masks, by layer the shared and the specific one; whole or not at all. Raises ValueError: they overlap."""
    tensors: dict[str, Tensor] = {}
    for layer, pair in masks.items():
        check_masks(layer, *pair, pair[0].numel())
        tensors |= {mask_name(layer, name): mask.contiguous() for name, mask in zip(MASKS, pair, strict=True)}
    with atomic_file(path) as partial:
        save_file(tensors, partial, {"format": "pt"})


def load_masks(path: Path, num_layers: int, neurons: int) -> OwnMasks:
    """The masks of a file for a model of so many layers, with `neurons` in each, ascending by layer.

    Raises InputError: no such file, one with anything else in it, a mask without its fellow, of another dtype or shape,
    two that overlap, or no neuron in any of them.
    """
    if not path.is_file():
        raise InputError(f"--masks {path}: no such file; {_FORM}")
    pairs = {layer: tuple(mask_name(layer, name) for name in MASKS) for layer in range(num_layers)}
    try:
        with safe_open(path, "pt") as file:
            found = set(file.keys())
            if strange := sorted(found.difference(*pairs.values())):
                raise InputError(f"{strange[0]!r} is no mask of a model with {num_layers} layers; {_FORM}")
            chosen = {layer: names for layer, names in pairs.items() if found.intersection(names)}
            if missing := sorted({name for names in chosen.values() for name in names} - found):
                raise InputError(f"no {missing[0]!r}, though the layer's other mask is there; {_FORM}")
            masks = {layer: (file.get_tensor(one), file.get_tensor(two)) for layer, (one, two) in chosen.items()}
        for layer, pair in masks.items():
            check_masks(layer, *pair, neurons)
        if not any(bool(mask.any()) for pair in masks.values() for mask in pair):
            raise InputError("no neuron is in any mask, so nothing would be steered; put some in")
    except (InputError, SafetensorError, ValueError, RuntimeError, OSError) as error:
        raise InputError(f"--masks {path}: {error}") from error
    return masks, MaskRecord(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
