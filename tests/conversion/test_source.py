"""What MODEL may be: a folder of a supported family with whole weights; all else is refused before any work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_plain, tiny_steered
from transformers import GPT2Config, Qwen3Config

from clas_models import FAMILIES
from clas_models.conversion.source import PROFILE_NAME, open_source
from clas_models.errors import InputError

from .support import LLAMA, QWEN2, change_tensors, read_tensors, rewrite_json, save_plain


def refusal(folder: Path) -> str:
    """Why a folder cannot be opened."""
    with pytest.raises(InputError) as caught:
        open_source(str(folder), folder / "scratch")
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_plain_folder(tmp_path: Path, family: Any) -> None:
    source = open_source(str(save_plain(tmp_path / "plain", family)), tmp_path)
    assert (source.family, source.is_steered, source.from_hub) == (family, False, False)
    assert (source.num_layers, source.num_neurons) == (6, 48)
    assert source.profile_path is None
    assert type(source.config) is family.base_config


def test_steered_folder_and_the_profile_that_it_carries(steered_folder: Path, tmp_path: Path) -> None:
    source = open_source(str(steered_folder), tmp_path)
    assert source.is_steered
    assert source.profile_path == steered_folder / PROFILE_NAME
    assert source.fingerprint == open_source(str(save_plain(tmp_path / "plain")), tmp_path).fingerprint
    (steered_folder / PROFILE_NAME).unlink()
    assert source.profile_path is None


def test_plain_folder_carries_no_profile_even_if_a_file_has_the_name(plain_folder: Path, tmp_path: Path) -> None:
    (plain_folder / PROFILE_NAME).touch()
    assert open_source(str(plain_folder), tmp_path).profile_path is None


def test_home_is_expanded(plain_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(plain_folder.parent))
    assert open_source("~/plain", tmp_path).folder == plain_folder


@pytest.mark.parametrize("config", [GPT2Config(n_layer=1), Qwen3Config(num_hidden_layers=1)])
def test_model_of_another_family_is_refused_with_those_supported(tmp_path: Path, config: Any) -> None:
    config.save_pretrained(tmp_path)
    message = refusal(tmp_path)
    assert f"model type '{config.model_type}' is not supported" in message
    assert all(f"{family.base} and {family.model_type}" in message for family in FAMILIES.values())


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "no config.json"),
        ("{'a': 1}", "config.json: not JSON"),
        ("", "config.json: not JSON"),
        ("[]", "config.json: a JSON list, expected an object"),
        ("{}", "model type None is not supported"),
        ('{"model_type": ["llama"]}', r"model type ['llama'] is not supported"),
        ('{"model_type": "llama", "hidden_size": "wide"}', "config.json: not a usable configuration: "),
    ],
)
def test_config_that_cannot_be_used(plain_folder: Path, content: str | None, fault: str) -> None:
    (plain_folder / "config.json").unlink()
    if content is not None:
        (plain_folder / "config.json").write_text(content)
    assert fault in refusal(plain_folder)


def test_config_that_is_not_utf8(plain_folder: Path) -> None:
    (plain_folder / "config.json").write_bytes(b'{"model_type": "\xff"}')
    assert "config.json: not JSON" in refusal(plain_folder)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"intermediate_size": 64}, "'model.layers.0.mlp.gate_proj.weight' has the shape [48, 32], but .* [64, 32]"),
        ({"hidden_size": 64}, "'model.layers.0.mlp.gate_proj.weight' has the shape [48, 32], but .* [48, 64]"),
        ({"num_hidden_layers": 7}, "no tensor 'model.layers.6."),
    ],
)
def test_weights_that_do_not_fit_the_config(plain_folder: Path, fields: dict[str, int], fault: str) -> None:
    rewrite_json(plain_folder / "config.json", lambda config: config.update(fields))
    first, _, second = fault.partition(".*")
    message = refusal(plain_folder)
    assert first in message
    assert second in message


def test_decoder_without_a_head_is_refused(tmp_path: Path) -> None:
    tiny_plain(LLAMA).model.save_pretrained(tmp_path)
    assert "only causal language models can be converted" in refusal(tmp_path)


def test_mask_of_the_wrong_length(steered_folder: Path) -> None:
    path = sorted(steered_folder.glob("model-*.safetensors"))[-1]
    name = min(read_tensors(path))
    change_tensors(path, lambda tensors: tensors.update({name: torch.zeros(40, dtype=torch.bool)}))
    assert f"mask '{name}' has the shape [40], expected [48]" in refusal(steered_folder)


def test_a_tensor_that_the_model_has_no_use_for_is_told(plain_folder: Path) -> None:
    change_tensors(plain_folder / "model.safetensors", lambda tensors: tensors.update(more=torch.zeros(3)))
    assert open_source(str(plain_folder), plain_folder).unused == ("more",)


@pytest.mark.parametrize(("value", "message"), [(torch.nan, "are not finite"), (1.0, "of the anchor en is not 0")])
def test_vectors_that_cannot_be(tmp_path: Path, value: float, message: str) -> None:
    tiny_steered(LLAMA, vector_layers=[1]).save_pretrained(tmp_path)
    name = "model.layers.1.add.vectors"
    change_tensors(tmp_path / "model.safetensors", lambda tensors: tensors[name].fill_(value))
    source = open_source(str(tmp_path), tmp_path)
    with pytest.raises(InputError, match=f"'{name}': layer 1: .*{message}"):
        source.carried_vectors(source.config.languages, "en")


@pytest.mark.parametrize("content", ["{", "[" * 200_000, "[]"])
def test_damaged_generation_config(plain_folder: Path, content: str) -> None:
    (plain_folder / "generation_config.json").write_text(content)
    assert "generation_config.json: not a generation configuration" in refusal(plain_folder)


@pytest.mark.parametrize("family", [LLAMA, QWEN2])
def test_more_layers_than_tensors(tmp_path: Path, family: Any) -> None:
    """Qwen2's configuration would make a list of them."""
    rewrite_json(save_plain(tmp_path, family) / "config.json", lambda config: config.update(num_hidden_layers=10**12))
    assert "num_hidden_layers is 1000000000000, the weights are" in refusal(tmp_path)


@pytest.mark.parametrize("change", [lambda c: c.update(alpha="much"), lambda c: c.update(bridge_layers=[9])])
def test_steered_config_that_cannot_be_used(steered_folder: Path, change: Callable[[Any], Any]) -> None:
    rewrite_json(steered_folder / "config.json", change)
    assert "config.json: not a usable configuration: " in refusal(steered_folder)


def test_file_that_is_not_gguf(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"GG")
    assert "a file, but not GGUF; give the folder" in refusal(path)


@pytest.mark.parametrize(
    "name", ["nowhere", "a/b/c", "/nowhere/at/all", "a b/c", "./nowhere", "../x", "a--b/c", "a/b..c"]
)
def test_neither_a_path_nor_a_hub_id(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder or file, and not a Hub id of the form owner/name"):
        open_source(name, tmp_path)


def test_config_keeps_what_this_package_does_not_know(plain_folder: Path, tmp_path: Path) -> None:
    rewrite_json(plain_folder / "config.json", lambda config: config.update(note={"from": "elsewhere"}))
    source = open_source(str(plain_folder), tmp_path)
    assert source.raw_config == json.loads((plain_folder / "config.json").read_text())
    assert source.raw_config["note"] == {"from": "elsewhere"}
