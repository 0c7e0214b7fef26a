"""The check at the end: a sound checkpoint passes, and one with anything changed does not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clas_models.conversion.checkpoint import SteeredCheckpoint
from clas_models.conversion.source import PROFILE_NAME, open_source
from clas_models.conversion.verification import verify
from clas_models.errors import InputError, VerificationError
from clas_models.profiling.categories import categorize
from clas_models.profiling.neuron_profile import NeuronProfile

from .support import LLAMA, QWEN2, change_tensors, names, rewrite_json, save_plain

FIELDS = {"languages": ["en", "de", "zh"], "anchor_language": "en", "bridge_layers": [2, 3], "alpha": 1.0}
FIELDS |= {"beta": 0.4, "gamma": 0.2, "language": None}


@pytest.fixture
def checkpoint(plain_folder: Path, steered_folder: Path, tmp_path: Path) -> SteeredCheckpoint:
    profile = NeuronProfile.load(steered_folder / PROFILE_NAME)
    masks = {layer: categorize(profile).masks(layer) for layer in (2, 3)}
    return SteeredCheckpoint(open_source(str(plain_folder), tmp_path), masks, FIELDS, profile, "")


def write(checkpoint: SteeredCheckpoint, folder: Path) -> Path:
    folder.mkdir()
    checkpoint.write(folder)
    return folder


def test_sound_checkpoint(checkpoint: SteeredCheckpoint, tmp_path: Path) -> None:
    before = set(Path.cwd().iterdir())
    out = write(checkpoint, tmp_path / "out")
    verify(out, checkpoint)
    assert set(Path.cwd().iterdir()) == before
    assert names(out) == names(write(checkpoint, tmp_path / "unverified"))


@pytest.mark.parametrize(
    ("family", "dtype", "overrides"),
    [
        (LLAMA, torch.bfloat16, {"tie_word_embeddings": True}),
        (QWEN2, torch.float16, {"tie_word_embeddings": True}),
        (QWEN2, torch.float64, {}),
        (LLAMA, torch.float32, {"attention_bias": True, "num_key_value_heads": 1}),
        (LLAMA, torch.float32, {"vocab_size": 5, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}),
    ],
)
def test_sound_checkpoint_of_any_make(
    checkpoint: SteeredCheckpoint, tmp_path: Path, family: Any, dtype: torch.dtype, overrides: dict[str, Any]
) -> None:
    plain = save_plain(tmp_path / "make", family, dtype, max_shard_size="40KB", **overrides)
    made = replace(checkpoint, source=open_source(str(plain), tmp_path))
    verify(write(made, tmp_path / "out"), made)


@pytest.mark.parametrize("fields", [{"alpha": 0.0}, {"beta": 0.0, "gamma": 0.0}, {"alpha": {"de": 1, "default": 0}}])
def test_strengths_that_steer_nothing_are_sound(
    checkpoint: SteeredCheckpoint, tmp_path: Path, fields: dict[str, Any]
) -> None:
    made = replace(checkpoint, fields={**FIELDS, **fields})
    verify(write(made, tmp_path / "out"), made)


def test_masks_that_hold_no_neuron_are_sound(checkpoint: SteeredCheckpoint, tmp_path: Path) -> None:
    empty = {
        layer: (torch.zeros_like(shared), torch.zeros_like(shared)) for layer, (shared, _) in checkpoint.masks.items()
    }
    made = replace(checkpoint, masks=empty)
    verify(write(made, tmp_path / "out"), made)


def change_a_weight(out: Path) -> None:
    change(out, 1, lambda tensors: tensors["model.layers.0.mlp.up_proj.weight"][0, 0].add_(1))


def flip_a_mask(out: Path) -> None:
    change(out, 2, lambda tensors: tensors["model.layers.3.mlp.scale.shared_mask"][7].logical_not_())


def drop_a_mask(out: Path) -> None:
    name = "model.layers.3.mlp.scale.shared_mask"
    change(out, 2, lambda tensors: tensors.pop(name))
    rewrite_json(out / "model.safetensors.index.json", lambda index: index["weight_map"].pop(name))


def forget_a_bridge_layer(out: Path) -> None:
    rewrite_json(out / "config.json", lambda config: config.update(bridge_layers=[3]))


def change(out: Path, number: int, action: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    change_tensors(out / f"model-{number:05d}-of-00002.safetensors", action)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (change_a_weight, "the weights written differ from those of"),
        (flip_a_mask, "the tensor 'model.layers.3.mlp.scale.shared_mask' came back changed"),
        (drop_a_mask, r"cannot be loaded .*bridge_layers.*model\.layers\.3\.mlp\.scale\.shared_mask"),
        (forget_a_bridge_layer, r"unexpected_keys on loading: \['model.layers.2.mlp.scale.shared_mask'"),
    ],
)
def test_damage_is_noticed(
    checkpoint: SteeredCheckpoint, tmp_path: Path, damage: Callable[[Path], Any], fault: str
) -> None:
    out = write(checkpoint, tmp_path / "out")
    damage(out)
    with pytest.raises(VerificationError, match=fault):
        verify(out, checkpoint)


def test_steering_that_changes_nothing_is_noticed(checkpoint: SteeredCheckpoint, tmp_path: Path) -> None:
    """Bridge layers whose neurons reach nothing."""
    plain = Path(shutil.copytree(checkpoint.source.folder, tmp_path / "dumb"))
    for layer in (2, 3):
        name = f"model.layers.{layer}.mlp.down_proj.weight"
        change_tensors(plain / "model.safetensors", lambda tensors, name=name: tensors[name].zero_())
    made = replace(checkpoint, source=open_source(str(plain), tmp_path))
    out = write(made, tmp_path / "out")
    with pytest.raises(VerificationError, match="steering changes nothing"):
        verify(out, made)


@pytest.mark.parametrize(
    ("tensor", "place"),
    [
        ("model.embed_tokens.weight", "the embedding"),
        ("model.layers.0.self_attn.o_proj.weight", "layer 0"),
        ("model.layers.4.mlp.down_proj.weight", "layer 4"),
        ("lm_head.weight", "the head"),
    ],
)
def test_values_that_are_not_finite_name_the_place(
    checkpoint: SteeredCheckpoint, tmp_path: Path, tensor: str, place: str
) -> None:
    plain = Path(shutil.copytree(checkpoint.source.folder, tmp_path / "infinite"))
    change_tensors(plain / "model.safetensors", lambda tensors: tensors[tensor].fill_(float("nan")))
    made = replace(checkpoint, source=open_source(str(plain), tmp_path))
    out = write(made, tmp_path / "out")
    with pytest.raises(InputError, match=f"values that are not finite .* from {place} on; check the weights"):
        verify(out, made)
