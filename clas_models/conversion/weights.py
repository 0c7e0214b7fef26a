"""Safetensors weights on disk, read without loading them: headers, checks, single tensors, and a fingerprint.

Nothing here needs a model; what a checkpoint's folder means is `source.py`'s business.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import InputError
from ..json_data import parse_json
from ..modeling.tensor_names import current_name, is_added

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"
_FINGERPRINT_BYTES = 4096  # of every tensor
_MAX_HEADER = 100_000_000
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
}  # fmt: skip


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies: `start` and `stop` count bytes from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Shard:
    """One safetensors file and its tensors, checked against the file's size."""

    path: Path
    tensors: dict[str, TensorInfo]

    @property
    def size(self) -> int:
        return self.path.stat().st_size


def read_shard(path: Path) -> Shard:
    """Read and check the header of a safetensors file. Raises InputError: it is cut off, or its header damaged."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 0 < length <= min(size - 8, _MAX_HEADER):
            raise InputError(f"{path}: not a safetensors file, or cut off in its header; download it again")
        raw = file.read(length)
    data = 8 + length
    try:
        header = parse_json(raw)
        tensors = {name: _tensor(entry, data) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: its header is damaged ({error}); download it again") from error
    end = max((tensor.stop for tensor in tensors.values()), default=data)
    if end != size:
        raise InputError(f"{path}: {size} bytes, but its header describes {end}; it is damaged, download it again")
    try:
        with safe_open(path, "pt"):  # the format's own reader: tensors that overlap, an unknown dtype
            pass
    except SafetensorError as error:
        raise InputError(f"{path}: its header is damaged ({error}); download it again") from error
    return Shard(path, tensors)


def _tensor(entry: dict, data: int) -> TensorInfo:
    start, stop = entry["data_offsets"]
    dtype, shape = entry["dtype"], tuple(entry["shape"])
    if dtype in _BITS and math.prod(shape) * _BITS[dtype] != (stop - start) * 8:
        raise ValueError(f"{dtype} {list(shape)} in {stop - start} bytes")
    return TensorInfo(dtype, shape, data + start, data + stop)


def read_shards(folder: Path) -> tuple[Shard, ...]:
    """The weights of a checkpoint's folder, one file or sharded with an index, in the order of their names.

    Raises InputError: there are none, they are a pickle, a shard is missing or damaged, or the index is.
    """
    index, single = folder / INDEX_NAME, folder / SINGLE_NAME
    if single.is_file():
        return (read_shard(single),)
    if not index.is_file():
        pickles = sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for p in folder.glob(pattern))
        if pickles:
            raise InputError(
                f"{folder}: its weights are a pickle ({pickles[0]}), which can run code when it is read and is "
                "refused; save the model again with safetensors (save_pretrained does)"
            )
        if parts := sorted(path.name for path in folder.glob("model-*-of-*.safetensors")):
            raise InputError(f"{folder}: shards ({parts[0]}) without {INDEX_NAME}; download that, too")
        raise InputError(f"{folder}: no weights; expected {SINGLE_NAME}, or shards with {INDEX_NAME}")
    try:
        weight_map = parse_json(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(map(str, set(weight_map.values())))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{index}: not a usable index ({error}); download it again") from error
    if outside := [name for name in names if Path(name).name != name]:
        raise InputError(f"{index}: the shard {outside[0]!r} is not a file of this folder")
    if missing := [name for name in names if not (folder / name).is_file()]:
        more = f", and so are {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"{folder / missing[0]}: the shard is missing, the index names it{more}; download it again")
    shards = [read_shard(folder / name) for name in names]
    where = {tensor: shard.path.name for shard in shards for tensor in shard.tensors}
    if wrong := sorted(tensor for tensor, name in weight_map.items() if where.get(tensor) != name):
        raise InputError(f"{folder / weight_map[wrong[0]]}: tensor {wrong[0]!r} is missing, the index names it")
    return tuple(shards)


def current_names(shards: Iterable[Shard]) -> dict[str, tuple[Shard, str]]:
    """All tensors by the names that this version uses: the shard of each, and its name there."""
    return {current_name(name): (shard, name) for shard in shards for name in shard.tensors}


def read_tensor(
    shards: Sequence[Shard],
    name: str,
    dtype: torch.dtype | None = None,
    shape: tuple[int, ...] | None = None,
    remedy: str = "convert the model again",
) -> Tensor:
    """A tensor, by this version's name. Raises InputError: it is missing, unreadable, or of another dtype or shape."""
    found = current_names(shards).get(name)
    if found is None:
        raise InputError(f"{shards[0].path.parent}: no tensor {name!r}, which its configuration promises; {remedy}")
    path, stored = found[0].path, found[1]
    try:
        with safe_open(path, "pt") as file:
            tensor = file.get_tensor(stored)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: tensor {stored!r} cannot be read ({error}); {remedy}") from error
    expected = (dtype or tensor.dtype, list(tensor.shape if shape is None else shape))
    if expected != (tensor.dtype, list(tensor.shape)):
        raise InputError(
            f"{path}: tensor {stored!r} is {tensor.dtype} {list(tensor.shape)}, expected {expected[0]} {expected[1]}; "
            f"{remedy}"
        )
    return tensor


def fingerprint(shards: Iterable[Shard]) -> str:
    """A digest that tells weights apart: every tensor's name, dtype, shape and first bytes.

    What steering added is left out, and it does not depend on how the tensors are spread over files, so a steered
    checkpoint has its base model's.
    """
    entries = [
        (name, info, shard.path) for shard in shards for name, info in shard.tensors.items() if not is_added(name)
    ]
    digest = hashlib.sha256()
    for name, info, path in sorted(entries, key=lambda entry: entry[0]):
        with path.open("rb") as file:
            file.seek(info.start)
            content = file.read(min(info.stop - info.start, _FINGERPRINT_BYTES))
        digest.update(f"{name}|{info.dtype}|{info.shape}|".encode() + content)
    return digest.hexdigest()
