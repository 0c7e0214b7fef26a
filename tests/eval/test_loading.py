"""MODEL checked and identified: what changes a prediction changes the fingerprint, and nothing else does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conversion.support import change_tensors, rewrite_json
from run_helpers import save_plain, steered_fixture  # noqa: F401

from clas_models.errors import InputError
from eval.loading import Checkpoint, open_checkpoint


@pytest.fixture
def copy(steered: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(steered, tmp_path / "copy"))


def refused(model: object, **options: str) -> str:
    with pytest.raises(InputError) as caught:
        open_checkpoint(str(model), **options)
    return str(caught.value)


def test_a_steered_checkpoint_is_known_without_its_weights(steered: Path) -> None:
    checkpoint = open_checkpoint(str(steered))
    assert (checkpoint.is_steered, checkpoint.anchor_language, checkpoint.dtype) == (True, "en", "float32")
    assert [checkpoint.profiled_as(code) for code in ("en", "de", "de-AT", "sw")] == ["en", "de", "de", None]
    assert not checkpoint.load().training


def test_a_plain_checkpoint_is_one_too(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(save_plain(tmp_path / "plain")), dtype="bfloat16")
    assert (checkpoint.is_steered, checkpoint.anchor_language) == (False, "en")
    assert checkpoint.profiled_as("en") is None
    assert checkpoint.load().dtype == torch.bfloat16


def _flip_a_mask(folder: Path) -> None:
    def flip(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.2.mlp.scale.shared_mask"][0] ^= True

    change_tensors(max(folder.glob("model-*.safetensors")), flip)


def _change_a_weight(folder: Path) -> None:
    change_tensors(min(folder.glob("model-*.safetensors")), lambda tensors: tensors["model.norm.weight"].add_(1))


def _change_the_chat_template(folder: Path) -> None:
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text() + " ")


def _add_a_chat_template(folder: Path) -> None:
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("{{ messages }}")


CHANGES: dict[str, Callable[[Path], None]] = {
    "mask": _flip_a_mask,
    "weight": _change_a_weight,
    "chat template": _change_the_chat_template,
    "another chat template": _add_a_chat_template,
    "vocabulary": lambda folder: (folder / "spiece.model").write_bytes(b"pieces"),
    "languages": lambda folder: rewrite_json(folder / "config.json", lambda c: c["languages"].append("sw")),
    "normalisation": lambda folder: rewrite_json(folder / "config.json", lambda c: c.update(rms_norm_eps=1e-3)),
    "end": lambda folder: rewrite_json(folder / "generation_config.json", lambda c: c.update(eos_token_id=[1, 2])),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changes_predictions_changes_the_fingerprint(
    change: Callable[[Path], None], copy: Path, steered: Path
) -> None:
    before = open_checkpoint(str(steered)).fingerprint
    assert open_checkpoint(str(copy)).fingerprint == before
    change(copy)
    assert open_checkpoint(str(copy)).fingerprint != before


def test_strengths_are_not_part_of_the_fingerprint(copy: Path) -> None:
    before = open_checkpoint(str(copy)).fingerprint
    rewrite_json(copy / "config.json", lambda c: c.update(alpha={"de": -1.0, "default": 0.5}, beta=0.1, language="de"))
    assert open_checkpoint(str(copy)).fingerprint == before


def test_answers_end_where_tokenizer_or_generation_configuration_say(copy: Path) -> None:
    rewrite_json(copy / "generation_config.json", lambda c: c.update(eos_token_id=[1, 2]))
    assert open_checkpoint(str(copy)).eos_token_ids == {1, 2, 258}
    (copy / "generation_config.json").unlink()
    assert open_checkpoint(str(copy)).eos_token_ids == {258}


def test_a_damaged_generation_configuration_is_named(copy: Path) -> None:
    (copy / "generation_config.json").write_text("{")
    with pytest.raises(InputError, match=r"generation_config\.json"):
        _ = open_checkpoint(str(copy)).eos_token_ids


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert "a file; give the folder" in refused(tmp_path / "model.gguf")
    assert "no such folder" in refused(tmp_path / "missing")
    assert "no config.json" in refused(tmp_path)


def test_a_device_that_is_not_there_is_refused(steered: Path) -> None:
    assert "device 'abacus'" in refused(steered, device="abacus")


def test_the_profile_must_be_the_checkpoints_own(copy: Path) -> None:
    checkpoint = open_checkpoint(str(copy))
    assert checkpoint.profile().languages == ("en", "de", "zh")
    _change_a_weight(copy)
    assert "a profile of another model" in _profile_error(open_checkpoint(str(copy)))
    (copy / "neuron_profile.safetensors").unlink()
    assert "no neuron_profile.safetensors" in _profile_error(open_checkpoint(str(copy)))


def _profile_error(checkpoint: Checkpoint) -> str:
    with pytest.raises(InputError) as caught:
        checkpoint.profile()
    return str(caught.value)
