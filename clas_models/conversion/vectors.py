"""The vectors of a steered source, which new masks leave as they are."""

from collections.abc import Sequence

from torch import Tensor

from ..modeling.tensor_names import vectors_name
from .source import Source
from .weights import read_tensor

VECTOR_FIELDS = ("vector_layers", "vector_strength", "vector_positions")


def carried_vectors(source: Source, languages: Sequence[str], anchor: str) -> dict[int, Tensor]:
    """The vectors of a source by layer, floating `[languages, hidden]`.

    There are none where the source has none, and where the languages or the anchor are others than the source's: a row
    belongs to a language, and says how it differs from the anchor.

    Raises InputError: a tensor is missing, of another shape, or damaged.
    """
    config = source.config
    if not has_vectors(source) or config.languages != list(languages) or config.anchor_language != anchor:
        return {}
    shape = (len(languages), config.hidden_size)
    return {layer: read_tensor(source.shards, vectors_name(layer), shape=shape) for layer in config.vector_layers}


def has_vectors(source: Source) -> bool:
    """Whether a source is steered by vectors, whatever their strength."""
    return source.is_steered and bool(source.config.vector_layers)
