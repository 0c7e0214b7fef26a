"""Files of a source in a new folder: its weights without what steering added, its tokenizer, its licence.

Tensors are copied byte for byte, or changed one at a time, so memory holds the largest of them and not a shard.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..atomic import atomic_file, fsync_path
from ..modeling.tensor_names import is_added
from .companions import companions
from .weights import INDEX_NAME, SINGLE_NAME, Shard

Change = Callable[[Tensor], Tensor]

_CHUNK = 16 * 2**20


def copy_companions(source: Path, folder: Path) -> None:
    """Everything that a checkpoint has beside weights and configuration, see `companions.py`."""
    for path in companions(source):
        target = folder / path.relative_to(source)
        target.parent.mkdir(exist_ok=True)
        place(path, target, link=False)


def place(source: Path, target: Path, *, link: bool) -> None:
    """Copy a file, or give it a second name where the first can never be written to (the Hub's cache)."""
    target.unlink(missing_ok=True)
    if link:
        try:
            os.link(source.resolve(), target)
            return
        except OSError:
            pass  # another file system, or one without hard links: a copy does as well
    shutil.copyfile(source, target)
    fsync_path(target)


def write_weights(
    folder: Path,
    shards: Sequence[Shard],
    *,
    link: bool,
    changes: Mapping[str, Change] | None = None,
    added: Mapping[str, Tensor] | None = None,
    done: Callable[[int], Any] | None = None,
) -> None:
    """Write a source's weights without what steering added to them, and an index where they are several files.

    Args:
        shards: the source's.
        link: whether a file that stays as it is may share its bytes with the source.
        changes: what becomes of the tensors of these names; shape and dtype stay.
        added: tensors that go into one more shard, the last.
        done: is called with the bytes of each of the source's shards, one after the other.

    Raises OSError: the disk is full or not writable.
    """
    total = sum(not all(map(is_added, shard.tensors)) for shard in shards) + bool(added)
    names = iter(
        [SINGLE_NAME] if total == 1 else [f"model-{n:05d}-of-{total:05d}.safetensors" for n in range(1, total + 1)]
    )
    weight_map: dict[str, str] = {}
    size = 0
    for shard in shards:
        kept = {name: info for name, info in shard.tensors.items() if not is_added(name)}
        if kept:
            file_name = next(names)
            changed = {name: change for name, change in (changes or {}).items() if name in kept}
            if changed or len(kept) < len(shard.tensors):
                _rewrite(shard, folder / file_name, changed)
            else:
                place(shard.path, folder / file_name, link=link)
            weight_map.update(dict.fromkeys(kept, file_name))
            size += sum(info.stop - info.start for info in kept.values())
        if done is not None:
            done(shard.size)
    if added:
        file_name = next(names)
        with atomic_file(folder / file_name) as partial:
            save_file(dict(added), partial, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(added, file_name))
        size += sum(tensor.nbytes for tensor in added.values())
    if total > 1:
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
        write_json(folder / INDEX_NAME, index)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    fsync_path(path)


def _rewrite(shard: Shard, target: Path, changes: Mapping[str, Change]) -> None:
    kept = sorted(((n, i) for n, i in shard.tensors.items() if not is_added(n)), key=lambda item: item[1].start)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, info in kept:
        size = info.stop - info.start
        header[name] = {"dtype": info.dtype, "shape": list(info.shape), "data_offsets": [offset, offset + size]}
        offset += size
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with shard.path.open("rb") as source, target.open("wb") as sink:
        sink.write(len(encoded).to_bytes(8, "little") + encoded)
        for name, info in kept:
            if name in changes:
                sink.write(_changed(shard.path, name, changes[name]))
                continue
            source.seek(info.start)
            for start in range(info.start, info.stop, _CHUNK):
                sink.write(source.read(min(_CHUNK, info.stop - start)))
    fsync_path(target)


def _changed(path: Path, name: str, change: Change) -> memoryview:
    with safe_open(path, "pt") as file:
        before = file.get_tensor(name)
    after = change(before)
    if after.shape != before.shape or after.dtype != before.dtype:
        raise ValueError(f"{name}: {before.dtype} {list(before.shape)} became {after.dtype} {list(after.shape)}")
    return after.contiguous().view(torch.uint8).numpy().data
