"""Safetensors on disk: whole files are read by their headers, damaged ones are refused, fingerprints tell apart."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from clas_models.conversion.weights import INDEX_NAME, fingerprint, read_shard, read_shards
from clas_models.errors import InputError

from .support import LLAMA, change_tensors, rewrite_header, rewrite_json, save_plain


@pytest.fixture
def shard_file(tmp_path: Path) -> Path:
    tensors = {
        "half": torch.arange(6, dtype=torch.bfloat16).view(2, 3),
        "mask": torch.tensor([True, False, True]),
        "nothing": torch.empty(0, 4),
        "scalar": torch.tensor(2.5, dtype=torch.float64),
    }
    path = tmp_path / "a.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    return path


def test_tensors_are_where_the_header_says(shard_file: Path) -> None:
    shard = read_shard(shard_file)
    raw = shard_file.read_bytes()
    assert shard.size == len(raw)
    found = {name: raw[info.start : info.stop] for name, info in shard.tensors.items()}
    assert found == {
        name: bytes(tensor.reshape(-1).view(torch.uint8).tolist()) for name, tensor in load_file(shard_file).items()
    }
    assert (shard.tensors["half"].dtype, shard.tensors["half"].shape) == ("BF16", (2, 3))
    assert shard.tensors["scalar"].shape == ()


@pytest.mark.parametrize("size", [0, 5, 8, 9, 40, -1])
def test_file_that_is_cut_off(shard_file: Path, size: int) -> None:
    shard_file.write_bytes(shard_file.read_bytes()[:size])
    with pytest.raises(InputError, match=r"a\.safetensors: .*download it again"):
        read_shard(shard_file)


def test_file_that_is_too_long(shard_file: Path) -> None:
    size = shard_file.stat().st_size
    shard_file.write_bytes(shard_file.read_bytes() + b"\0")
    with pytest.raises(InputError, match=rf"{size + 1} bytes, but its header describes {size}"):
        read_shard(shard_file)


def test_file_that_is_something_else(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(InputError, match="not a safetensors file"):
        read_shard(path)


def overlap(header: dict[str, Any]) -> None:
    header["copy"] = dict(header["half"])


def leave_a_gap(header: dict[str, Any]) -> None:
    del header["half"]


def swap_bounds(header: dict[str, Any]) -> None:
    header["half"]["data_offsets"].reverse()


@pytest.mark.parametrize(
    "change",
    [
        overlap,
        leave_a_gap,
        swap_bounds,
        lambda header: header["half"].update(shape=[3, 3]),
        lambda header: header["half"].update(shape=[-2, -3]),
        lambda header: header["half"].update(shape="23"),
        lambda header: header["half"].update(dtype="F77"),
        lambda header: header["half"].update(dtype=[]),
        lambda header: header["half"].update(data_offsets=[0]),
        lambda header: header["half"].pop("data_offsets"),
        lambda header: header.update(half=7),
    ],
)
def test_header_that_is_damaged(shard_file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    rewrite_header(shard_file, change)
    with pytest.raises(InputError, match=r"a\.safetensors: its header is damaged .*download it again"):
        read_shard(shard_file)


@pytest.mark.parametrize("header", [b"[1, 2]  ", b'{"half": ', b"\xff\xfe{}    "])
def test_header_that_is_not_an_object(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(InputError, match="its header is damaged"):
        read_shard(path)


def test_shards_hold_every_tensor_once(tmp_path: Path) -> None:
    single = read_shards(save_plain(tmp_path / "single"))
    sharded = read_shards(save_plain(tmp_path / "sharded", max_shard_size="60KB"))
    assert len(single) == 1
    assert len(sharded) > 3
    names = [name for shard in sharded for name in shard.tensors]
    assert sorted(names) == sorted(single[0].tensors)
    assert [shard.path.name for shard in sharded] == sorted(shard.path.name for shard in sharded)


def test_shard_that_is_missing(tmp_path: Path) -> None:
    folder = save_plain(tmp_path / "model", max_shard_size="60KB")
    missing = sorted(folder.glob("*.safetensors"))[1]
    missing.unlink()
    with pytest.raises(InputError, match=f"{missing.name}: the shard is missing"):
        read_shards(folder)


def test_index_that_names_a_tensor_which_is_not_there(tmp_path: Path) -> None:
    folder = save_plain(tmp_path / "model", max_shard_size="60KB")
    rewrite_json(
        folder / INDEX_NAME, lambda index: index["weight_map"].update(ghost="model-00001-of-00005.safetensors")
    )
    with pytest.raises(InputError, match=r"model-00001-of-00005\.safetensors: tensor 'ghost' is missing"):
        read_shards(folder)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "not a usable index"),
        ("[]", "not a usable index"),
        ('{"weight_map": ["a"]}', "not a usable index"),
        ('{"weight_map": {"a": ["b"]}}', "not a usable index"),
        ('{"weight_map": {"a": 1}}', "the shard is missing"),
        ('{"weight_map": {"a": "../model.safetensors"}}', "is not a file of this folder"),
        ('{"weight_map": {"a": "/etc/hostname"}}', "is not a file of this folder"),
    ],
)
def test_index_that_cannot_be_used(tmp_path: Path, content: str, fault: str) -> None:
    (tmp_path / INDEX_NAME).write_text(content)
    with pytest.raises(InputError, match=fault):
        read_shards(tmp_path)


def test_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no weights; expected model\.safetensors, or shards"):
        read_shards(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.pt", "last.ckpt"])
def test_pickle_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / name)
    with pytest.raises(InputError, match=rf"a pickle \({name}\), which can run code .* safetensors"):
        read_shards(tmp_path)


def test_fingerprint_does_not_depend_on_the_files(tmp_path: Path, steered_folder: Path) -> None:
    single = fingerprint(read_shards(save_plain(tmp_path / "single")))
    sharded = fingerprint(read_shards(save_plain(tmp_path / "sharded", max_shard_size="60KB")))
    steered = fingerprint(read_shards(steered_folder))
    assert single == sharded == steered


def rename(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.norm.other"] = tensors.pop("model.norm.weight")


def reshape(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.norm.weight"] = tensors["model.norm.weight"].view(1, -1)


def reinterpret(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.norm.weight"] = tensors["model.norm.weight"].view(torch.int32)


def touch(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.layers.4.self_attn.k_proj.weight"].view(-1)[0] += 1e-3


@pytest.mark.parametrize("change", [rename, reshape, reinterpret, touch, lambda tensors: tensors.pop("lm_head.weight")])
def test_fingerprint_tells_weights_apart(tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    plain = save_plain(tmp_path / "plain", LLAMA)
    other = Path(shutil.copytree(plain, tmp_path / "other"))
    change_tensors(other / "model.safetensors", change)
    assert fingerprint(read_shards(other)) != fingerprint(read_shards(plain))


def test_index_is_not_read_where_there_is_a_single_file(tmp_path: Path) -> None:
    folder = save_plain(tmp_path / "model")
    (folder / INDEX_NAME).write_text(json.dumps({"weight_map": {"a": "gone.safetensors"}}))
    assert [shard.path.name for shard in read_shards(folder)] == ["model.safetensors"]
