"""What methods put into a model for the length of a block: tables that are written, other masks, or vectors.

Methods that need the same are computed together, and differ in what the engine sets (`engine/conditions.py`).  Which
methods there are is said in `methods.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from clas_models.conversion.source import check_strengths_fit
from clas_models.errors import InputError
from clas_models.modeling.language_tags import matching
from clas_models.modeling.write import Write
from clas_models.profiling.fitted_strengths import FittedStrengths
from clas_models.profiling.known import Known
from clas_models.profiling.selection import Selection
from clas_models.profiling.selections import check_not_empty, select
from clas_models.profiling.write_tables import WriteTables, write_tables

from .engine.conditions import VECTORS, Condition
from .loading import Checkpoint
from .random_masks import Masks, RandomMasks, temporary_masks

if TYPE_CHECKING:
    from .methods import Method


@dataclass(frozen=True)
class Writing:
    """What is written over the activations of a language's neurons: a selection, a value and a key of SITES, each as it
    is written in the one way.
    """

    select: str
    value: str
    site: str


@dataclass(frozen=True)
class Vectors:
    """That vectors act, and on which tokens; after which layers, and how strongly, is in the condition."""

    positions: str


@dataclass(frozen=True)
class Fitted:
    """Strengths of a file, in place of the checkpoint's."""

    file: Path

    @property
    def digest(self) -> str:
        """The first digits of SHA-256 of the strengths. Raises InputError: the file cannot be used."""
        return sha256(FittedStrengths.load(self.file).tensors)[:_DIGITS]


_DIGITS = 16  # of a digest in hexadecimal: enough to tell strengths apart

Change: TypeAlias = Writing | RandomMasks | Vectors | Fitted | None


@dataclass(frozen=True)
class Group:
    """Methods that are computed together, because they differ in their conditions only.

    Attributes:
        methods: at least one.
        tables: what is written and where; None is nothing.
        masks: by layer the shared and the specific mask that are in place of the checkpoint's; None are its own.
        vectors: by layer those that are in place of the checkpoint's, float32 `[languages, hidden]`; None are its own.
        positions: on which tokens vectors act; None is as the checkpoint says.
        fitted: strengths that are in place of the checkpoint's; None are its own.
    """

    methods: tuple[Method, ...]
    tables: WriteTables | None = None
    masks: Masks | None = None
    vectors: Mapping[int, Tensor] | None = None
    positions: str | None = None
    fitted: FittedStrengths | None = None

    @property
    def conditions(self) -> list[Condition]:
        return [method.condition for method in self.methods]

    def digest(self, method: Method) -> str | None:
        """SHA-256 in hexadecimal of the tables, masks or vectors that a method of the group has; None without any."""
        tensors = [mask for pair in (self.masks or {}).values() for mask in pair]
        tensors += [self.vectors[layer] for layer in method.condition.get(VECTORS, ())] if self.vectors else []
        if self.tables is not None:
            tensors += [self.tables.masks, self.tables.values]
        if self.fitted is not None:
            tensors += self.fitted.tensors
        return sha256(tensors) if tensors else None

    def without_vectors(self, languages: Sequence[str], known: Sequence[str]) -> list[str]:
        """Which of these languages the vectors of the group, whose rows are `known`, do not move."""
        moved = [code for row, code in enumerate(known) for table in (self.vectors or {}).values() if table[row].any()]
        return [code for code in languages if matching(code, moved) is None]

    def without_neurons(self, languages: Sequence[str]) -> list[str]:
        """In which of these languages nothing is written by tables that write in others."""
        if self.tables is None:
            return []
        written = [code for code, mask in zip(self.tables.languages, self.tables.masks, strict=True) if mask.any()]
        return [code for code in languages if matching(code, written) is None]

    def in_force(self, model: Any) -> AbstractContextManager[None]:
        """What the group puts into the model for the length of a `with` block; strengths are the engine's."""
        if self.masks is not None:
            return temporary_masks(model, self.masks)
        if self.vectors is not None:
            return model.temporary_vectors(self.vectors, positions=self.positions)
        if self.fitted is not None:
            return model.temporary_fitted(self.fitted.tables(), self.fitted.categories_by_layer())
        if self.tables is None:
            return nullcontext()
        return model.intervening(Write(self.tables.masks, self.tables.values, self.tables.languages))


def sha256(tensors: Sequence[Tensor]) -> str:
    """Of the bytes of tensors, in hexadecimal."""
    content = (tensor.contiguous().view(torch.uint8).numpy().tobytes() for tensor in tensors)
    return hashlib.sha256(b"".join(content)).hexdigest()


def grouped(methods: Sequence[Method], checkpoint: Checkpoint) -> list[Group]:
    """The methods as groups, in the order of their first methods; one that changes nothing goes with vectors.

    Raises InputError: a method needs the profile or the vectors that the checkpoint carries, and those are missing, of
    another model, without a layer, or too old for the site; or it needs masks, and those cannot be used.
    """
    changes = [method.change for method in methods]
    with_vectors = next((change for change in changes if isinstance(change, Vectors)), None)
    together: dict[Change, list[Method]] = {}
    for method in methods:
        together.setdefault(method.change or with_vectors, []).append(method)
    selected = _Selected(checkpoint)
    return [_group(tuple(alike), change, checkpoint, selected) for change, alike in together.items()]


@dataclass
class _Selected:
    """What is read and selected of a checkpoint, once for all methods."""

    checkpoint: Checkpoint
    _selections: dict[str, Selection] = field(default_factory=dict)

    @cached_property
    def known(self) -> Known:
        return self.checkpoint.known()

    def neurons(self, text: str) -> Selection:
        if text not in self._selections:
            self._selections[text] = check_not_empty(select(text, self.known), text)
        return self._selections[text]


def _group(methods: tuple[Method, ...], change: Change, checkpoint: Checkpoint, selected: _Selected) -> Group:
    if isinstance(change, RandomMasks):
        return Group(methods, masks=change.draw(checkpoint))
    if isinstance(change, Vectors):
        return _with_vectors(methods, change, checkpoint)
    if change is None:
        return Group(methods)
    if isinstance(change, Fitted):
        fitted = FittedStrengths.load(change.file)
        check_strengths_fit(fitted, checkpoint.source, change.file)
        return Group(methods, fitted=fitted)
    how = {"value": change.value, "site": change.site}
    leave_out = (checkpoint.anchor_language,)  # nothing is written over its neurons
    neurons, languages = selected.neurons(change.select), checkpoint.config.languages
    return Group(methods, write_tables(selected.known, neurons, languages, **how, leave_out=leave_out))


def _with_vectors(methods: tuple[Method, ...], change: Vectors, checkpoint: Checkpoint) -> Group:
    """The checkpoint's own vectors where they will do, else those of all the layers in its file."""
    config = checkpoint.config
    layers = sorted({layer for method in methods for layer in method.condition.get(VECTORS, ())})
    if outside := [layer for layer in layers if layer >= config.num_hidden_layers]:
        raise InputError(f"layers {outside} for vectors: layers are 0 to {config.num_hidden_layers - 1}")
    own = checkpoint.source.carried_vectors(config.languages, config.anchor_language)
    if not set(layers) <= set(own):
        own = checkpoint.language_vectors().tables(layers, config.languages)
    return Group(methods, vectors={layer: own[layer] for layer in layers}, positions=change.positions)
