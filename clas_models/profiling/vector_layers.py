"""After which layers vectors are added: named by the user, or chosen from the vectors themselves, without labels."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError
from .bridge_layers import format_layers, parse_layers
from .language_vectors import LanguageVectors

AUTO = "auto"


@dataclass(frozen=True)
class VectorLayers:
    """The layers, ascending, and why."""

    layers: tuple[int, ...]
    reason: str  # one line


def choose_vector_layers(vectors: LanguageVectors, spec: str = AUTO) -> VectorLayers:
    """`spec` is `auto`, or the layers themselves: `14`, `12-16`, `12,14`.

    Raises InputError: `spec` cannot be read, or names a layer that the model or the vectors lack.
    """
    if spec.strip() == AUTO:
        return _choose(vectors)
    layers = parse_layers(spec, vectors.num_model_layers, "vector layers")
    if missing := [layer for layer in layers if layer not in vectors.layers]:
        raise InputError(
            f"vector layers {spec!r}: the vectors are of layers {format_layers(vectors.layers)}, not of "
            f"{format_layers(missing)}"
        )
    return VectorLayers(layers, f"{_summary(vectors, layers)}; named by the user")


def explained_percent(vectors: LanguageVectors, layer: int) -> float:
    """See `LanguageVectors.explained`; the mean over the languages, in per cent."""
    return 100 * float(vectors.explained[:, vectors.layers.index(layer)].mean())


def _choose(vectors: LanguageVectors) -> VectorLayers:
    """The layer of the middle half in which vectors explain most, the first if several tie."""
    number = vectors.num_model_layers
    middle = [layer for layer in vectors.layers if number / 4 <= layer < 3 * number / 4] or vectors.layers
    best = max(middle, key=lambda layer: (explained_percent(vectors, layer), -layer))
    return VectorLayers((best,), f"{_summary(vectors, [best])}; the most in the middle half")


def _summary(vectors: LanguageVectors, layers: Sequence[int]) -> str:
    shares = ", ".join(f"{explained_percent(vectors, layer):.1f} %" for layer in layers)
    name = "layers" if len(layers) > 1 else "layer"
    return f"{name} {format_layers(layers)}: vectors are {shares} of what parallel texts differ by"
