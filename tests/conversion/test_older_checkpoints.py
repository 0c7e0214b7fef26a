"""Checkpoints of version 0.1, which had other names for what steering adds, as sources; and vectors in a source."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command
from conftest import byte_tokenizer, tiny_steered
from older_checkpoints import as_old
from transformers import AutoModelForCausalLM

from clas_models.conversion.source import PROFILE_NAME, open_source
from clas_models.modeling.tensor_names import is_added, is_mask

from .support import assert_same_bits, base_only, read_tensors, read_weights


def test_it_has_the_fingerprint_of_its_base(steered_folder: Path, plain_folder: Path, tmp_path: Path) -> None:
    old = as_old(steered_folder, tmp_path / "old", overwritten=True)
    assert any(".mlp.shared_mask" in name for name in read_weights(old))
    fingerprints = {open_source(str(folder), tmp_path).fingerprint for folder in (old, steered_folder, plain_folder)}
    assert len(fingerprints) == 1


def test_its_conversion_is_that_of_a_new_one(steered_folder: Path, converter: Command, tmp_path: Path) -> None:
    old = as_old(steered_folder, tmp_path / "old", overwritten=True)
    given = ["--bridge-layers", "1-2", "--alpha", "-1"]
    ended = converter.made(old, *given, "--out", tmp_path / "from-old")
    assert "note: the neurons that this checkpoint overwrites" in ended.err
    assert "no forward pass needed" in ended.err
    converter.made(steered_folder, *given, "--out", tmp_path / "from-new")
    found, expected = (read_weights(tmp_path / name) for name in ("from-old", "from-new"))
    assert_same_bits(found, expected)
    configs = [(tmp_path / name / "config.json").read_text() for name in ("from-old", "from-new")]
    assert configs[0] == configs[1]


@pytest.mark.parametrize("form", ["folded", "ia3"])
def test_its_exports_are_those_of_a_new_one(family: Any, converter: Command, tmp_path: Path, form: str) -> None:
    tiny_steered(family, detector_languages=["de"]).save_pretrained(tmp_path / "new")
    byte_tokenizer().save_pretrained(tmp_path / "new")
    as_old(tmp_path / "new", tmp_path / "old")
    for name in ("old", "new"):
        given = ("--format", form, "--language", "de", "--out", tmp_path / f"{form}-{name}")
        converter.made(tmp_path / name, *given)
    folders = [tmp_path / f"{form}-{name}" for name in ("old", "new")]
    names = {path.relative_to(folders[0]) for path in folders[0].rglob("*") if path.is_file()}
    assert names == {path.relative_to(folders[1]) for path in folders[1].rglob("*") if path.is_file()}
    assert [path.suffix for path in names].count(".safetensors") == 1
    for path in names:
        if path.suffix == ".safetensors":
            assert_same_bits(read_tensors(folders[0] / path), read_tensors(folders[1] / path))
        elif path.name not in ("README.md", "adapter_config.json"):  # these say the folder's name
            assert (folders[0] / path).read_bytes() == (folders[1] / path).read_bytes(), path


# --- vectors ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_vectors(steered_folder: Path, tmp_path: Path) -> Path:
    """The steered checkpoint with vectors after two layers."""
    model = AutoModelForCausalLM.from_pretrained(steered_folder)
    config = type(model.config).from_dict(
        {**model.config.to_dict(), "vector_layers": [1, 4], "vector_strength": {"de": 0.5, "default": 2.0}}
    )
    with_slots = type(model)(config)
    with_slots.load_state_dict(model.state_dict(), strict=False)
    generator = torch.Generator().manual_seed(3)
    for layer in config.vector_layers:
        vectors = with_slots.model.layers[layer].add.vectors
        vectors[1:] = torch.randn(vectors[1:].shape, generator=generator)
    with_slots.save_pretrained(tmp_path / "vectors")
    byte_tokenizer().save_pretrained(tmp_path / "vectors")
    shutil.copy(steered_folder / PROFILE_NAME, tmp_path / "vectors")
    return tmp_path / "vectors"


def test_vectors_of_a_source_are_kept(with_vectors: Path, converter: Command, tmp_path: Path) -> None:
    converter.made(with_vectors, "--bridge-layers", "2", "--out", tmp_path / "out")
    before, after = read_weights(with_vectors), read_weights(tmp_path / "out")
    names = [f"model.layers.{layer}.add.vectors" for layer in (1, 4)]
    assert_same_bits({name: after[name] for name in names}, {name: before[name] for name in names})
    assert_same_bits(base_only(after), base_only(before))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["vector_layers"], config["vector_strength"]) == ([1, 4], {"de": 0.5, "default": 2.0})
    assert config["vector_positions"] == "last"
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| vector layers | of 6 layers, layers 1,4, as in the source |" in card
    assert "| on which tokens | last |" in card


def test_vectors_of_other_languages_are_left_behind_and_that_is_said(
    with_vectors: Path, converter: Command, tmp_path: Path
) -> None:
    ended = converter.made(with_vectors, "--languages", "de", "--out", tmp_path / "out")
    assert "note: its vectors are not taken over" in ended.err
    assert not [name for name in read_weights(tmp_path / "out") if is_added(name) and "vectors" in name]
    assert "vector_layers" not in json.loads((tmp_path / "out" / "config.json").read_text())


def test_a_source_with_vectors_is_profiled_without_them(
    with_vectors: Path, corpus_file: Path, steered_folder: Path, converter: Command, tmp_path: Path
) -> None:
    converter.made(with_vectors, "--corpus", corpus_file, "--out", tmp_path / "out")
    masks = {name: tensor for name, tensor in read_weights(tmp_path / "out").items() if is_mask(name)}
    expected = {name: tensor for name, tensor in read_weights(steered_folder).items() if is_mask(name)}
    assert_same_bits(masks, expected)
