"""A safetensors file of tensors and what describes them: written whole or not at all, checked when it is read."""

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..atomic import atomic_file
from ..errors import InputError
from ..json_data import parse_json
from ..modeling.language_tags import own_code

_MOST_LAYERS = 10_000  # a number beyond it is none of a model


def save_described(path: Path, key: str, described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write tensors, and what describes them as JSON in the metadata's field `key`."""
    with atomic_file(path) as partial:
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()}, partial, {key: json.dumps(described)}
        )


@contextmanager
def described_tensors(
    path: Path, key: str, what: str, remedy: str, *versions: int
) -> Iterator[tuple[dict[str, Any], dict[str, Tensor]]]:
    """The description and the tensors of a file of `save_described`.

    Whatever cannot be used of them within the block is said to be the file's fault; `what` it should be and the
    `remedy` are words of the message, `versions` the format versions that are read.

    Raises InputError: no such file, another kind of file, or one that is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such {what}; {remedy}")
    try:
        with safe_open(path, "pt") as file:
            described = parse_json((file.metadata() or {}).get(key, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if not isinstance(described, dict):
            raise InputError(f"it is a safetensors file, but not a {what}")
        if (version := described.get("format_version")) not in versions:
            raise InputError(f"format version {version}, this package reads {', '.join(map(str, versions))}")
        yield described, tensors
    except (InputError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: not a usable {what}: {error}") from error


def stored_languages(codes: Sequence[str]) -> tuple[str, ...]:
    """Languages as canonical tags, for files of earlier versions, which wrote them as they were typed, in lower case.

    Where two would become one, all stay as they are.

    Raises TypeError: not a list of texts.
    """
    if not isinstance(codes, list | tuple) or not all(isinstance(code, str) for code in codes):
        raise TypeError(f"languages {codes!r:.80}: not a list of codes")
    tags = tuple(own_code(code, shortest=2) or code for code in codes)
    return tags if len(set(tags)) == len(tags) else tuple(codes)


def check_names(tensors: Mapping[str, Tensor], expected: Set[str]) -> None:
    """Raises InputError: other tensors than these."""
    if set(tensors) != expected:
        raise InputError(f"it holds the tensors {sorted(tensors)}, expected {sorted(expected)}")


def check_tensor(name: str, tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """Raises InputError: another dtype or shape."""
    if tensor.dtype != dtype or tuple(tensor.shape) != shape:
        raise InputError(f"tensor {name!r} is {tensor.dtype} {list(tensor.shape)}, expected {dtype} {list(shape)}")


def check_axes(languages: tuple[str, ...], layers: tuple[int, ...], num_layers: int | None = None) -> None:
    """Raises InputError: languages or layers that cannot be the axes of a tensor."""
    if any(not isinstance(code, str) for code in languages) or any(type(layer) is not int for layer in layers):
        raise InputError(f"languages {list(languages)}, layers {list(layers)}: expected codes and whole numbers")
    if len(set(languages)) != len(languages) or not languages:
        raise InputError(f"languages {list(languages)}: each once, and at least one")
    if list(layers) != sorted(set(layers)) or not layers:
        raise InputError(f"layers {list(layers)}: ascending, each once, and at least one")
    if layers[0] < 0:
        raise InputError(f"layers {list(layers)}: counted from 0")
    if num_layers is not None and not (type(num_layers) is int and layers[-1] < num_layers <= _MOST_LAYERS):
        raise InputError(f"layers {list(layers)} of a model with {num_layers!r} layers")
