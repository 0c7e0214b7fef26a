"""Damaged inputs, made from sound ones: JSON values, bytes, safetensors files, and what stands in a file's place."""

from __future__ import annotations

import json
import math
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from safetensors.torch import load, save

_DEEP = "deep nesting"
_ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 2**31, 2**63, -(2**64), 10**400, 0.5, -0.0, 1e-320, 1e300, math.nan, math.inf,
    -math.inf, "", " ", "a", "en", "de", "auto", "../../etc", "\0", "\ud800", "a\nb", "é" * 300, [], {}, [[]], [None],
    [0, 0], ["en", "en"], {"a": 1}, {"default": None}, {"": {}}, _DEEP,
]  # fmt: skip
_ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32-be", "latin-1", "cp037")

# What may stand where a file should: nothing, a folder, links.
PLACES = ("nothing", "folder", "dangling link", "link to itself")
Content = bytes | str  # bytes, or one of PLACES


def put(path: Path, content: Content) -> None:
    """Bring this about at `path`; a file that has other names keeps what it holds there."""
    path.unlink(missing_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "folder":
        path.mkdir()
    elif content == "dangling link":
        path.symlink_to(path.with_name("nowhere"))
    elif content == "link to itself":
        path.symlink_to(path.name)


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value with one to three places dropped, renamed, doubled, swapped, or holding something odd."""
    value = deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        _mutate(draw, value)
    return value


def _mutate(draw: st.DrawFn, value: Any) -> None:
    parent, key = _place(draw, value)
    if parent is None:
        return
    action = draw(st.sampled_from(["odd", "odd", "odd", "drop", "rename", "swap", "wrap", "number"]))
    if action == "drop":
        del parent[key]
    elif action == "rename" and isinstance(parent, dict):
        parent[draw(st.sampled_from(["", "x", f"{key}s", str(key).upper()]))] = parent.pop(key)
    elif action == "swap":
        other = draw(st.sampled_from(sorted(parent) if isinstance(parent, dict) else range(len(parent))))
        parent[key], parent[other] = parent[other], parent[key]
    elif action == "wrap":
        parent[key] = draw(st.sampled_from([[parent[key]], {"a": parent[key]}, [parent[key]] * 2, str(parent[key])]))
    elif action == "number" and type(parent[key]) in (int, float):
        parent[key] += draw(st.sampled_from([1, -1, 0.5, 2**40, -(2**20)]))
    else:
        parent[key] = deepcopy(draw(st.sampled_from(_ODD)))  # the next change may be within it


def _place(draw: st.DrawFn, value: Any) -> tuple[Any, Any]:
    """A container and a key of it, at any depth; `(None, None)` where there is none."""
    parent: Any = None
    key: Any = None
    while isinstance(value, (dict, list)) and value and (parent is None or draw(st.booleans())):
        parent = value
        key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        value = value[key]
    return parent, key


def dumped(value: Any, **options: Any) -> str:
    """As JSON text; nesting that is too deep for `json.dumps` too."""
    return json.dumps(value, **options).replace(json.dumps(_DEEP), "[" * 200_000 + "]" * 200_000)


@st.composite
def damaged_json(draw: st.DrawFn, value: Any) -> Content:
    """What may stand in place of a JSON file with this value."""
    text = dumped(value)
    action = draw(st.sampled_from(["value"] * 8 + ["key twice", "other value", "encoding", "bytes", "place"]))
    if action == "value":
        return dumped(draw(mutated(value))).encode()
    if action == "key twice" and isinstance(value, dict):
        key = draw(st.sampled_from(sorted(value)))
        return f"{text[:-1]}, {json.dumps(key)}: {dumped(draw(st.sampled_from(_ODD)))}}}".encode()
    if action == "other value":
        return dumped(draw(st.sampled_from(_ODD))).encode()
    if action == "encoding":
        return json.dumps(value, ensure_ascii=False).encode(draw(st.sampled_from(_ENCODINGS)), "replace")
    return draw(damaged_bytes(text.encode()))


@st.composite
def damaged_lines(draw: st.DrawFn, lines: list[Any]) -> Content:
    """What may stand in place of a JSON Lines file with these values."""
    texts = [dumped(line, ensure_ascii=False) for line in lines]
    place = draw(st.integers(0, len(lines) - 1))
    action = draw(st.sampled_from(["value"] * 6 + ["drop", "twice", "swap", "encoding", "ends", "bytes", "bytes"]))
    if action == "value":
        texts[place] = dumped(draw(mutated(lines[place])))
    elif action == "drop":
        del texts[place]
    elif action == "twice":
        texts.insert(place, texts[draw(st.integers(0, len(lines) - 1))])
    elif action == "swap":
        texts.reverse()
    whole = "".join(text + "\n" for text in texts)
    if action == "encoding":
        return whole.encode(draw(st.sampled_from(_ENCODINGS)), "replace")
    if action == "ends":
        return whole.replace("\n", draw(st.sampled_from(["\r\n", "\r", "\n\n", "\u2028", "\0\n"]))).encode()
    return draw(damaged_bytes(whole.encode())) if action == "bytes" else whole.encode()


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> Content:
    """What may stand in place of a file of any kind."""
    action = draw(st.sampled_from(["cut", "change", "change", "insert", "remove", "zeros", "empty", "noise", "place"]))
    if action == "place":
        return draw(st.sampled_from(PLACES))
    if action == "empty":
        return b""
    if action == "noise":
        return draw(st.binary(max_size=64))
    start, stop = sorted(draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    if action == "cut":
        return content[:start]
    if action == "insert":
        return content[:start] + draw(st.binary(min_size=1, max_size=12)) + content[start:]
    if action == "remove":
        return content[:start] + content[min(stop, start + 16) :]
    if action == "zeros":
        return content[:start] + bytes(stop - start) + content[stop:]
    some = draw(st.binary(min_size=1, max_size=6))
    return content[:start] + some + content[start + len(some) :]


@st.composite
def damaged_safetensors(draw: st.DrawFn, content: bytes) -> Content:
    """What may stand in place of a safetensors file: its header, its data, or a tensor is another."""
    start = 8 + int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8:start]), content[start:]
    action = draw(st.sampled_from(["header"] * 4 + ["tensor"] * 4 + ["metadata"] * 4 + ["length", "data", "bytes"]))
    if action == "tensor":
        tensors = load(content)
        name = draw(st.sampled_from(sorted(tensors)))
        _change_tensor(draw, tensors, name)
        return save(tensors, header.get("__metadata__"))
    if action == "metadata" and header.get("__metadata__"):
        key = draw(st.sampled_from(sorted(header["__metadata__"])))
        try:
            within = json.loads(header["__metadata__"][key])
        except ValueError:
            within = header["__metadata__"][key]
        header["__metadata__"][key] = dumped(draw(mutated(within)))
    elif action in ("header", "metadata"):
        header = draw(mutated(header))
    elif action == "length":
        length = draw(st.sampled_from([0, 1, start - 9, start - 7, len(content), 2**31, 2**63, 2**64 - 1]))
        return length.to_bytes(8, "little") + content[8:]
    elif action == "data":
        data = draw(st.sampled_from([b"", data[:-1], data + b"\0", data[: len(data) // 2], data * 2]))
    else:
        return draw(damaged_bytes(content))
    encoded = dumped(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + data


def _change_tensor(draw: st.DrawFn, tensors: dict[str, torch.Tensor], name: str) -> None:
    tensor = tensors[name]
    action = draw(st.sampled_from(["drop", "rename", "dtype", "value", "value", "shape", "longer", "shorter", "copy"]))
    if action in ("drop", "rename"):
        del tensors[name]
    if action == "rename":
        tensors[draw(st.sampled_from([f"{name}s", name.replace("0", "1"), name.upper()]))] = tensor
    elif action == "dtype":
        dtypes = [torch.float64, torch.float16, torch.bool, torch.int64, torch.uint8, torch.int32, torch.float8_e4m3fn]
        tensors[name] = tensor.to(draw(st.sampled_from(dtypes)))
    elif action == "value":
        odd = draw(st.sampled_from([math.nan, math.inf, -1, 0, 1, 2**31, 1e30]))
        whole = tensor.dtype.is_floating_point or math.isfinite(odd)
        tensors[name] = tensor.to(torch.float64).fill_(odd if whole else -1).to(tensor.dtype)
    elif action == "shape":
        shape = draw(st.sampled_from([(-1,), (1, *tensor.shape), (*tensor.shape, 1), tuple(reversed(tensor.shape))]))
        tensors[name] = tensor.reshape(shape).contiguous()
    elif action == "longer":
        tensors[name] = torch.cat([tensor, tensor]) if tensor.dim() else tensor.repeat(2)
    elif action == "shorter":
        tensors[name] = tensor[: draw(st.integers(0, 1))].clone() if tensor.dim() else tensor
    elif action == "copy":
        tensors[f"{name}.copy"] = tensor.clone()


def linked_copy(folder: Path, target: Path) -> Path:
    """The same files under new names, which `put` can replace without a change to the first ones."""
    for path in folder.rglob("*"):
        place = target / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            place.mkdir(exist_ok=True)
        else:
            os.link(path, place)
    return target


@st.composite
def damaged_table(draw: st.DrawFn, content: bytes) -> Content:
    """What may stand in place of a file with a row in each line and tabs between the cells."""
    rows = [line.split("\t") for line in content.decode().splitlines()]
    place = draw(st.integers(0, len(rows) - 1))
    action = draw(st.sampled_from(["drop", "twice", "cell", "cell", "cells", "bytes", "bytes", "bytes"]))
    if action == "bytes":
        return draw(damaged_bytes(content))
    if action == "drop":
        del rows[place]
    elif action == "twice":
        rows.insert(0, rows[place])
    elif action == "cell":
        rows[place][draw(st.integers(0, len(rows[place]) - 1))] = draw(
            st.sampled_from(["", " ", '"', "\0", "\x85", "7"])
        )
    elif action == "cells":
        rows[place] = draw(st.sampled_from([rows[place][:-1], rows[place] * 2, []]))
    return "".join("\t".join(row) + "\n" for row in rows).encode()
