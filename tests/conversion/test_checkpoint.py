"""The steered checkpoint on disk: what is refused before it is written, and what is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from clas_models.conversion.checkpoint import SteeredCheckpoint, steered_config
from clas_models.conversion.source import PROFILE_NAME, Source, open_source
from clas_models.conversion.weights import read_shards
from clas_models.errors import InputError
from clas_models.modeling.version import VERSION
from clas_models.profiling.neuron_profile import NeuronProfile

from .support import assert_same_bits, base_only, masks_only, names, read_weights, rewrite_header, save_plain

FIELDS = {"languages": ["en", "de", "zh"], "anchor_language": "en", "bridge_layers": [1, 3], "alpha": 1.0}
FIELDS |= {"beta": 0.4, "gamma": 0.2, "language": None}


def masks(neurons: int = 48) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
    """Every third neuron shared, every fifth of the others specific."""
    index = torch.arange(neurons)
    shared = index % 3 == 0
    return {1: (shared, (index % 5 == 0) & ~shared), 3: (~shared, torch.zeros(neurons, dtype=torch.bool))}


@pytest.fixture
def source(plain_folder: Path, tmp_path: Path) -> Source:
    return open_source(str(plain_folder), tmp_path)


@pytest.fixture
def checkpoint(source: Source, steered_folder: Path) -> SteeredCheckpoint:
    return SteeredCheckpoint(source, masks(), FIELDS, NeuronProfile.load(steered_folder / PROFILE_NAME), "# A card\n")


def write(checkpoint: SteeredCheckpoint, folder: Path) -> Path:
    folder.mkdir()
    checkpoint.write(folder)
    return folder


def test_what_is_written_loads_with_the_masks_given(checkpoint: SteeredCheckpoint, tmp_path: Path) -> None:
    out = write(checkpoint, tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(out)
    for layer, (shared, specific) in masks().items():
        assert torch.equal(model.model.layers[layer].mlp.scale.shared_mask, shared)
        assert torch.equal(model.model.layers[layer].mlp.scale.specific_mask, specific)
    assert model.steering.neurons == {1: (16, 6), 3: (32, 0)}
    assert (out / "README.md").read_text() == "# A card\n"
    assert NeuronProfile.load(out / PROFILE_NAME).languages == ("en", "de", "zh")


def test_masks_have_a_shard_of_their_own_that_every_reader_takes(
    checkpoint: SteeredCheckpoint, tmp_path: Path, plain_folder: Path
) -> None:
    out = write(checkpoint, tmp_path / "out")
    with safe_open(out / "model-00002-of-00002.safetensors", "pt") as file:
        assert set(file.keys()) == set(checkpoint.added_tensors())
        assert file.metadata() == {"format": "pt"}
    assert (out / "model-00001-of-00002.safetensors").read_bytes() == (plain_folder / "model.safetensors").read_bytes()


def test_progress_counts_the_bytes_of_the_weights(checkpoint: SteeredCheckpoint, tmp_path: Path) -> None:
    sharded = open_source(str(save_plain(tmp_path / "sharded", max_shard_size="60KB")), tmp_path)
    (tmp_path / "out").mkdir()
    done: list[int] = []
    replace(checkpoint, source=sharded).write(tmp_path / "out", done.append)
    assert done == [shard.size for shard in sharded.shards]


def test_writing_over_an_unfinished_attempt(checkpoint: SteeredCheckpoint, tmp_path: Path) -> None:
    out = write(checkpoint, tmp_path / "out")
    before = read_weights(out)
    for name in ("config.json", "model-00001-of-00002.safetensors", "tokenizer.json"):
        (out / name).write_bytes((out / name).read_bytes()[:50])
    checkpoint.write(out)
    assert_same_bits(read_weights(out), before)
    AutoModelForCausalLM.from_pretrained(out)


def test_only_files_that_belong_to_a_checkpoint_travel(
    checkpoint: SteeredCheckpoint, tmp_path: Path, plain_folder: Path
) -> None:
    wanted = {"special_tokens_map.json", "added_tokens.json", "merges.txt", "vocab.json", "tokenizer.model", "LICENSE"}
    wanted |= {"chat_template.jinja", "NOTICE.txt", "USE_POLICY.md"}
    others = {"optimizer.pt", "pytorch_model.bin", "notes.txt", "README.md", "modeling_x.py", "neuron_categories.png"}
    for name in wanted | others:
        (plain_folder / name).write_text(name)
    (plain_folder / "tokenizers").mkdir()
    out = write(checkpoint, tmp_path / "out")
    assert wanted <= names(out)
    assert names(out) & others == {"README.md"}
    assert "tokenizers" not in names(out)
    assert (out / "README.md").read_text() == "# A card\n"


def test_weights_beside_masks_are_copied_without_them(
    checkpoint: SteeredCheckpoint, tmp_path: Path, steered_folder: Path
) -> None:
    """As `save_pretrained` writes a steered model: one file, with the masks in between."""
    saved = tmp_path / "saved"
    AutoModelForCausalLM.from_pretrained(steered_folder).save_pretrained(saved)
    steered = open_source(str(saved), tmp_path)
    out = write(replace(checkpoint, source=steered), tmp_path / "out")
    weights = read_weights(out)
    assert_same_bits(base_only(weights), base_only(read_weights(saved)))
    assert_same_bits(masks_only(weights), checkpoint.added_tensors())
    assert len(read_shards(out)) == 2


def test_header_with_its_tensors_in_any_order(
    checkpoint: SteeredCheckpoint, tmp_path: Path, steered_folder: Path
) -> None:
    """The order of names in a header need not be that of the bytes."""
    saved = tmp_path / "saved"
    AutoModelForCausalLM.from_pretrained(steered_folder).save_pretrained(saved)

    def turn_round(header: dict[str, Any]) -> None:
        entries = list(header.items())
        header.clear()
        header.update(reversed(entries))

    rewrite_header(saved / "model.safetensors", turn_round)
    steered = open_source(str(saved), tmp_path)
    out = write(replace(checkpoint, source=steered), tmp_path / "out")
    assert_same_bits(base_only(read_weights(out)), base_only(read_weights(steered_folder)))


@pytest.mark.parametrize("neurons", [47, 49, 1])
def test_masks_of_the_wrong_length(checkpoint: SteeredCheckpoint, neurons: int) -> None:
    with pytest.raises(InputError, match=rf"layer 1: shared_mask is torch.bool \[{neurons}\]; allowed is .* \[48\]"):
        replace(checkpoint, masks=masks(neurons))


def test_second_mask_of_the_wrong_length(checkpoint: SteeredCheckpoint) -> None:
    pair = masks()[1][0], torch.zeros(40, dtype=torch.bool)
    with pytest.raises(InputError, match=r"layer 3: specific_mask is torch.bool \[40\]"):
        replace(checkpoint, masks={1: masks()[1], 3: pair})


def test_masks_that_overlap(checkpoint: SteeredCheckpoint) -> None:
    shared = masks()[1][0]
    with pytest.raises(InputError, match="layer 1: shared_mask and specific_mask overlap"):
        replace(checkpoint, masks={1: (shared, shared)})


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("bridge_layers", [6], "bridge_layers[0]: 6 is out of range; layers are 0 to 5"),
        ("beta", float("nan"), "beta: nan is not finite"),
        ("alpha", {"fr": 1.0}, "alpha: 'fr' is not among the languages"),
        ("languages", ["de"], "anchor_language: 'en' is not among the languages de"),
    ],
)
def test_fields_that_cannot_be_used(checkpoint: SteeredCheckpoint, field: str, value: Any, fault: str) -> None:
    with pytest.raises(InputError) as caught:
        replace(checkpoint, fields={**FIELDS, field: value})
    assert fault in str(caught.value)


def test_config_is_the_base_s_own_text_with_the_fields(source: Source, family: Any, tmp_path: Path) -> None:
    plain = save_plain(tmp_path / family.base, family)
    raw = json.loads((plain / "config.json").read_text())
    written = steered_config(open_source(str(plain), tmp_path), FIELDS)
    changed = {
        "model_type": f"clas_{family.base}",
        "architectures": [family.causal_lm.__name__],
        "auto_map": family.config.code_map(),
        "clas_version": VERSION,
    }
    assert written == {**raw, **FIELDS, **changed}
