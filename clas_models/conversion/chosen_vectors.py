"""The vectors of a checkpoint: after which layers, how strongly, on which tokens, and what to tell of them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..modeling.language_tags import matching
from ..modeling.positions import ALL
from ..profiling.bridge_layers import format_layers, parse_layers
from ..profiling.language_vectors import LAST, MEAN, LanguageVectors
from ..profiling.vector_layers import AUTO, VectorLayers, choose_vector_layers
from .fields import chosen_strength
from .in_force import acts
from .options import ConversionOptions
from .source import VECTORS_NAME, Source

FIELDS = ("vector_layers", "vector_strength", "vector_positions")
UNMEASURED = 0.0  # a strength that helps one model, language or task harms another
_GIVE = "give some with --vectors"
_STATES = {LAST: "the state of the last token", MEAN: "the mean over the tokens but the first"}


@dataclass(frozen=True, eq=False)
class ChosenVectors:
    """The rule `Add` in a checkpoint, as it is planned.

    Attributes:
        layers: where, and why there.
        tables: by layer floating `[languages, hidden]`.
        fields: those of the configuration.
        data: what they are made from; None of a source that carries only tables.
        without: languages of the checkpoint that have no vector.
        left_out: languages of the vectors that the checkpoint does not have.
    """

    layers: VectorLayers
    tables: Mapping[int, Tensor]
    fields: Mapping[str, Any]
    data: LanguageVectors | None = None
    without: Sequence[str] = field(default_factory=list)
    left_out: Sequence[str] = field(default_factory=list)

    @property
    def act(self) -> bool:
        """Whether any row is moved: a fresh checkpoint moves none."""
        return acts(self.fields["vector_strength"])

    def warnings(self) -> Iterator[str]:
        """What a user may not have meant."""
        if self.without:
            yield f"no vector for {', '.join(self.without)}: rows in these languages are not moved"
        if self.left_out:
            yield f"vectors of {', '.join(self.left_out)} are left out: the checkpoint does not have these languages"

    def summary(self) -> Iterator[str]:
        """Where they are from, where they act, and why."""
        if self.data is not None:
            yield f"Vectors: {_measured_on(self.data)}"
        yield f"Added behind {self.layers.reason}; on tokens: {self.fields['vector_positions']}"

    def facts(self) -> Iterator[tuple[str, str]]:
        """For a table: what they were measured on, and how much of what parallel texts differ by they are."""
        if self.data is None:
            yield "measured on", "not known: the vectors are the source's, as they are"
            return
        yield "measured on", _measured_on(self.data)
        for layer in self.layers.layers:
            shares = self.data.explained[:, self.data.layers.index(layer)].tolist()
            listed = (f"{code} {share:.0%}" for code, share in zip(self.data.languages, shares, strict=True))
            yield f"share of what parallel texts differ by, behind layer {layer}", ", ".join(listed)


def plan_vectors(
    options: ConversionOptions, source: Source, data: LanguageVectors | None, languages: Sequence[str]
) -> ChosenVectors | None:
    """The vectors of a checkpoint with these languages; None where there are none, or none that fit them.

    Args:
        data: from `vector_step.py`.

    Raises InputError: an option cannot be used.
    """
    anchor = options.anchor_among(languages)
    kept = options.vectors is None and source.has_vectors
    fields = _fields(options, source, data, kept, [code for code in languages if code != anchor])
    if kept and options.vector_layers is None and (tables := source.carried_vectors(languages, anchor)):
        layers = VectorLayers(tuple(tables), f"{name_layers(tables)}, as in the source")
        without = [] if data is None else data.without(languages)
        return ChosenVectors(layers, tables, {**fields, "vector_layers": list(tables)}, data, without)
    if data is None or matching(anchor, [data.anchor]) is None or len(data.without(languages)) == len(languages) - 1:
        if options.says_how_vectors_act or options.vectors is not None:
            raise InputError(f"{source.name}: has no vectors for these languages; {_GIVE}")
        return None
    spec = options.vector_layers or (format_layers(source.config.vector_layers) if kept else AUTO)
    layers = choose_vector_layers(data, spec)
    tables = data.tables(layers.layers, languages)
    precision = source.dtype or "float32"
    if large := [layer for layer, table in tables.items() if not table.to(getattr(torch, precision)).isfinite().all()]:
        raise InputError(f"layer {large[0]}: vectors that are too large for {precision}; choose other layers")
    return ChosenVectors(
        layers,
        tables,
        {**fields, "vector_layers": list(layers.layers)},
        data,
        data.without(languages),
        [code for code in data.languages if matching(code, languages) is None],
    )


def early_fields(options: ConversionOptions, source: Source, opened: object, others: Sequence[str]) -> dict[str, Any]:
    """What can be checked of the fields before anything is measured; `opened` as `open_vectors` gives it.

    Raises InputError: layers that cannot be meant, an option for vectors where there are none, or vectors of the user's
    and none of the languages has one.
    """
    if opened is None and options.vector_layers is not None and source.has_vectors:
        raise InputError(f"{source.name}: carries no {VECTORS_NAME}, so other layers need --vectors")
    if opened is None and not source.has_vectors:
        if options.says_how_vectors_act:
            raise InputError(f"{source.name}: has no vectors whose layers, strength or tokens could be chosen; {_GIVE}")
        return {}
    data = opened if isinstance(opened, LanguageVectors) else None
    fields = _fields(options, source, data, options.vectors is None and source.has_vectors, others)
    if (spec := options.vector_layers) is not None and spec != AUTO:
        fields["vector_layers"] = list(parse_layers(spec, source.num_layers, "vector layers"))
        if data is not None:
            choose_vector_layers(data, spec)
    if options.vectors is not None and data is not None and data.without(others) == list(others):
        raise InputError(
            f"--vectors {options.vectors}: vectors of {', '.join(data.languages)}, and the checkpoint has "
            f"{', '.join(others)}; none of these has one"
        )
    return fields


def _fields(
    options: ConversionOptions, source: Source, data: LanguageVectors | None, kept: bool, others: Sequence[str]
) -> dict[str, Any]:
    """All but the layers."""
    before = source.config.vector_strength if kept else UNMEASURED
    positions = source.config.vector_positions if kept else LAST if data is not None and data.state == LAST else ALL
    return {
        "vector_strength": chosen_strength(options.vector_strength, before, others),
        "vector_positions": options.vector_positions or positions,
    }


def _measured_on(data: LanguageVectors) -> str:
    pairs = sorted(set(data.pairs.tolist()))
    number = f"{pairs[0]}" if len(pairs) == 1 else f"{pairs[0]} to {pairs[-1]}"
    return (
        f"{', '.join(data.provenance.corpus)}, {number} pairs of texts in {data.anchor} and each of "
        f"{' '.join(data.languages)}; a text stands for {_STATES[data.state]}"
    )


def name_layers(layers: Collection[int]) -> str:
    """`layer 14`, `layers 12-16`."""
    return f"layer{'s' * (len(layers) > 1)} {format_layers(layers)}"
