"""Strengths that were fitted: one for every language, layer and category of neurons, and how they were found.

The data, its checks and its file.  Fitting is the evaluation's business, which has tasks; what strengths do to a neuron
that of `modeling/steering.py`.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from ..errors import InputError
from ..json_data import from_json
from ..modeling.steering import CATEGORIES
from .neuron_profile import Provenance
from .seen_text import checked_hashes
from .tensor_file import check_axes, check_names, check_tensor, described_tensors, save_described

METADATA_KEY = "clas_strengths"
FORMAT = 1
TENSORS = ("strengths", "categories")


@dataclass(frozen=True, eq=False)
class FittedStrengths:
    """s of the rule `1 + alpha * s[language, layer, category]`.

    Attributes:
        languages: codes, the anchor's among them; the second axis of `strengths` beside its last row.
        layers: the model's indices of the layers that are steered, the first axis.
        num_model_layers: how many layers the whole model has.
        strengths: float32 `[layers, languages + 1, 4]`, the columns as in CATEGORIES; the last row is for all other
            languages, 0 where nothing was fitted for them; the anchor's is 0.
        categories: uint8 `[layers, neurons]`, of every neuron its place in CATEGORIES.
        alpha: by language and "default", what was decided about them: 1 where they are in force, 0 where not.
        provenance: on what they were fitted; its `corpus` is the tasks.
        fit: how, in words and numbers that JSON can hold.
        lines: hashes of the lines of the text, see `seen_text.py`.

    Raises InputError: a tensor of another dtype or shape, one that is not finite, an anchor that is steered.
    """

    languages: tuple[str, ...]
    anchor: str
    layers: tuple[int, ...]
    num_model_layers: int
    strengths: Tensor
    categories: Tensor
    alpha: Mapping[str, float]
    provenance: Provenance
    fit: Mapping[str, Any] = field(default_factory=dict)
    lines: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        check_axes(self.languages, self.layers, self.num_model_layers)
        if self.anchor not in self.languages:
            raise InputError(f"anchor {self.anchor!r} not among the languages {', '.join(self.languages)}")
        shape = (len(self.layers), len(self.languages) + 1, len(CATEGORIES))
        check_tensor("strengths", self.strengths, torch.float32, shape)
        check_tensor("categories", self.categories, torch.uint8, (len(self.layers), self.num_neurons))
        if not bool(self.strengths.isfinite().all()):
            raise InputError("tensor 'strengths' holds values that are not finite")
        if bool(self.strengths[:, self.languages.index(self.anchor)].any()):
            raise InputError(f"the strengths of the anchor {self.anchor} are not 0; it is never steered")
        if int(self.categories.max()) >= len(CATEGORIES):
            raise InputError(f"category {int(self.categories.max())}: 0 to {len(CATEGORIES) - 1} are known")
        for name in ("alpha", "fit"):
            if not isinstance(getattr(self, name), Mapping):
                raise InputError(f"{name} {getattr(self, name)!r:.80}: expected an object")
        if strange := [code for code in self.alpha if code not in (*self.languages, "default")]:
            raise InputError(f"alpha of {', '.join(map(str, strange))}, not among the languages")
        if not all(type(value) in (int, float) and math.isfinite(value) for value in self.alpha.values()):
            raise InputError(f"alpha {dict(self.alpha)}: expected numbers")

    @property
    def num_neurons(self) -> int:
        """Of a layer."""
        return self.categories.shape[-1] if self.categories.dim() else 0

    @property
    def numbers(self) -> int:
        """How many are stored beside the categories."""
        return self.strengths.numel()

    @property
    def tensors(self) -> list[Tensor]:
        """What is steered and how strongly, in one order."""
        return [self.strengths, self.categories]

    def tables(self) -> dict[int, Tensor]:
        """By layer float32 `[languages + 1, 4]`."""
        return {layer: self.strengths[row].contiguous() for row, layer in enumerate(self.layers)}

    def categories_by_layer(self) -> dict[int, Tensor]:
        """By layer uint8 `[neurons]`."""
        return {layer: self.categories[row].contiguous() for row, layer in enumerate(self.layers)}

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all."""
        described = {
            "format_version": FORMAT,
            "languages": self.languages,
            "anchor": self.anchor,
            "layers": self.layers,
            "num_model_layers": self.num_model_layers,
            "alpha": dict(self.alpha),
            "provenance": asdict(self.provenance),
            "fit": dict(self.fit),
            "lines": sorted(self.lines),
        }
        save_described(path, METADATA_KEY, described, {name: getattr(self, name) for name in TENSORS})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file of `save`. Raises InputError: no such file, one of another kind, or one that is damaged."""
        remedy = "make one with `clas-eval fit`"
        with described_tensors(path, METADATA_KEY, "file of fitted strengths", remedy, FORMAT) as (described, tensors):
            check_names(tensors, set(TENSORS))
            return cls(
                languages=tuple(described["languages"]),
                anchor=described["anchor"],
                layers=tuple(described["layers"]),
                num_model_layers=described["num_model_layers"],
                alpha=described["alpha"],
                provenance=from_json(Provenance, described["provenance"]),
                fit=described["fit"],
                lines=checked_hashes(described["lines"]),
                **tensors,
            )
