"""Steered checkpoints on disk: saved, loaded by every Auto class, sharded, offloaded, in any dtype, with overrides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import STEERING, tiny_steered
from detector_helpers import DETECTOR_LANGUAGES, GERMAN, with_detector
from modeling_helpers import (
    LAYERS_ON_DISK,
    MIXED,
    assert_anchor_rows_are_plain,
    bridge_mlps,
)
from older_checkpoints import as_old
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    pipeline,
)

MASKS = [
    f"layers.{index}.mlp.scale.{mask}"
    for index in STEERING["bridge_layers"]
    for mask in ("shared_mask", "specific_mask")
]
AUTO_CLASSES = {
    "model": AutoModel,
    "causal_lm": AutoModelForCausalLM,
    "sequence_classification": AutoModelForSequenceClassification,
    "token_classification": AutoModelForTokenClassification,
    "question_answering": AutoModelForQuestionAnswering,
}
every_auto_class = pytest.mark.parametrize("kind", AUTO_CLASSES)


@pytest.fixture
def folder(steered: Any, tmp_path: Path) -> Path:
    """The fixture `steered`, saved."""
    steered.save_pretrained(tmp_path / "steered")
    return tmp_path / "steered"


def logits(model: Any, tokens: Tensor, language: Any = MIXED) -> Tensor:
    with torch.inference_mode():
        return model(tokens, language=language)[0]


def masks(model: Any) -> dict[str, Tensor]:
    """The masks of any class of a family, by their names inside the decoder."""
    return {key[key.index("layers.") :]: tensor for key, tensor in model.state_dict().items() if key.endswith("_mask")}


def assert_same_masks(model: Any, expected: Any) -> None:
    assert list(masks(model)) == MASKS
    for name, mask in masks(model).items():
        assert mask.dtype == torch.bool
        assert torch.equal(mask, masks(expected)[name])


# ---- what is in the folder


def test_the_file_holds_the_plain_weights_and_the_masks(plain: Any, steered: Any, folder: Path) -> None:
    saved = load_file(folder / "model.safetensors")
    weights = plain.state_dict()
    assert sorted(saved) == sorted([*weights, *(f"model.{name}" for name in MASKS)])
    assert all(torch.equal(saved[key], weights[key]) for key in weights)
    assert all(saved[f"model.{name}"].dtype == torch.bool for name in MASKS)
    assert all(torch.equal(saved[f"model.{name}"], masks(steered)[name]) for name in MASKS)


def test_the_configuration_holds_the_model_type_and_the_steering(family: Any, folder: Path) -> None:
    saved = json.loads((folder / "config.json").read_text())
    assert saved["model_type"] == family.model_type
    assert saved["architectures"] == [family.causal_lm.__name__]
    assert {name: saved[name] for name in STEERING} == STEERING
    assert saved["language"] is None


# ---- loading it again


def test_reloading_is_bit_identical_again_and_again(steered: Any, folder: Path, tokens: Tensor, tmp_path: Path) -> None:
    first = AutoModelForCausalLM.from_pretrained(folder)
    first.save_pretrained(tmp_path / "again")
    second = AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    for loaded in (first, second):
        assert torch.equal(logits(loaded, tokens), logits(steered, tokens))
        assert_same_masks(loaded, steered)
        assert loaded.steering == steered.steering
    assert (tmp_path / "again/config.json").read_text() == (folder / "config.json").read_text()


def test_anchor_rows_of_a_loaded_model_are_those_of_the_plain_one(plain: Any, folder: Path, tokens: Tensor) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    assert_anchor_rows_are_plain(logits(loaded, tokens), plain(tokens).logits)


def test_changed_strengths_are_saved(steered: Any, tokens: Tensor, tmp_path: Path) -> None:
    steered.set_steering(alpha={"de": 0.25, "default": -1.0}, beta=0.7)
    steered.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.steering == steered.steering
    assert torch.equal(logits(loaded, tokens), logits(steered, tokens))


def test_shards(steered: Any, tokens: Tensor, tmp_path: Path) -> None:
    steered.save_pretrained(tmp_path, max_shard_size="40KB")
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(index.values())) == len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert not (tmp_path / "model.safetensors").exists()

    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert_same_masks(loaded, steered)
    assert torch.equal(logits(loaded, tokens), logits(steered, tokens))


@pytest.mark.parametrize("shard_size", ["5GB", "40KB"])
@pytest.mark.parametrize(
    "options",
    [
        {"low_cpu_mem_usage": True},
        {"device_map": "cpu"},
        {"device_map": "auto"},
        {"device_map": {"": "cpu"}},
        {"device_map": {"": "disk"}},
        {"device_map": LAYERS_ON_DISK},
    ],
    ids=lambda options: str(options)[:40],
)
def test_ways_to_place_a_model(
    plain: Any, steered: Any, shard_size: str, options: dict[str, Any], tokens: Tensor, tmp_path: Path
) -> None:
    steered.save_pretrained(tmp_path, max_shard_size=shard_size)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, **options)
    assert torch.equal(logits(loaded, tokens), logits(steered, tokens))
    assert loaded.steering == steered.steering
    loaded.set_steering(alpha=0)
    assert torch.equal(logits(loaded, tokens), logits(plain, tokens, language=None))


def test_layers_really_are_on_disk(folder: Path) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(folder, device_map=LAYERS_ON_DISK)
    assert [mlp.gate_proj.weight.device.type for mlp in bridge_mlps(loaded)] == ["meta", "cpu"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_loading_in_another_dtype(
    plain: Any, steered: Any, folder: Path, dtype: torch.dtype, tokens: Tensor, tmp_path: Path
) -> None:
    plain.save_pretrained(tmp_path / "plain")
    loaded, unsteered = (
        AutoModelForCausalLM.from_pretrained(path, dtype=dtype) for path in (folder, tmp_path / "plain")
    )
    assert loaded.dtype == dtype
    assert_same_masks(loaded, steered)
    assert_anchor_rows_are_plain(logits(loaded, tokens), unsteered(tokens).logits)
    for mlp in bridge_mlps(loaded):
        exact = loaded.config.scale_rule.strengths.scales()
        assert torch.equal(mlp.scale.row_scales, exact if dtype == torch.float64 else exact.float())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_saving_and_reloading_keeps_the_dtype_and_every_bit(
    folder: Path, dtype: torch.dtype, tokens: Tensor, tmp_path: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    model.save_pretrained(tmp_path / "again")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    assert loaded.dtype == dtype
    assert load_file(tmp_path / "again/model.safetensors")[f"model.{MASKS[0]}"].dtype == torch.bool
    assert torch.equal(logits(loaded, tokens), logits(model, tokens))


def test_tied_embeddings(family: Any, tokens: Tensor, tmp_path: Path) -> None:
    steered = tiny_steered(family)
    steered.config.tie_word_embeddings = True
    steered.tie_weights()
    steered.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    assert torch.equal(logits(loaded, tokens), logits(steered, tokens))


def test_a_model_made_without_memory_and_filled_later(family: Any, steered: Any, tokens: Tensor) -> None:
    with torch.device("meta"):
        empty = family.causal_lm(steered.config).eval()
    assert bridge_mlps(empty)[0].scale.row_scales.device.type == "meta"
    filled = empty.to_empty(device="cpu")
    filled.model.rotary_emb.inv_freq.copy_(steered.model.rotary_emb.inv_freq)
    filled.load_state_dict(steered.state_dict())
    assert torch.equal(logits(filled, tokens), logits(steered, tokens))


def test_masks_that_are_missing_are_refused(plain: Any, folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({key: weights[key] for key in plain.state_dict()}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"no 'model\.layers\.2\.mlp\.scale\.shared_mask'"):
        AutoModelForCausalLM.from_pretrained(folder)


# ---- every Auto class


@every_auto_class
def test_a_causal_lm_loads_into_every_auto_class(
    family: Any, steered: Any, folder: Path, kind: str, tokens: Tensor
) -> None:
    loaded, report = AUTO_CLASSES[kind].from_pretrained(folder, output_loading_info=True)
    assert type(loaded) is getattr(family, kind)
    assert not [key for key in report["missing_keys"] if "layers." in key or "embed" in key]
    assert_same_masks(loaded, steered)
    assert loaded.steering == steered.steering

    with loaded.temporary_steering(alpha=0):
        unsteered = logits(loaded, tokens)
    assert_anchor_rows_are_plain(logits(loaded, tokens), unsteered)
    assert torch.equal(logits(loaded, tokens, torch.tensor([0, 1, 0, 4])), logits(loaded, tokens))


@every_auto_class
def test_every_class_is_saved_and_loaded_bit_identically(
    family: Any, folder: Path, kind: str, tokens: Tensor, tmp_path: Path
) -> None:
    model = AUTO_CLASSES[kind].from_pretrained(folder)
    model.save_pretrained(tmp_path / kind)
    loaded, report = AUTO_CLASSES[kind].from_pretrained(tmp_path / kind, output_loading_info=True)
    assert type(loaded) is getattr(family, kind)
    assert not report["missing_keys"] | report["unexpected_keys"]
    assert_same_masks(loaded, model)
    assert torch.equal(logits(loaded, tokens), logits(model, tokens))


def test_the_decoder_gives_the_causal_lm_its_hidden_states(steered: Any, folder: Path, tokens: Tensor) -> None:
    decoder = AutoModel.from_pretrained(folder)
    with torch.inference_mode():
        torch.testing.assert_close(steered.lm_head(logits(decoder, tokens)), logits(steered, tokens))


def test_the_configuration_and_the_tokenizer_of_a_folder(family: Any, folder: Path, tokenizer: Any) -> None:
    tokenizer.save_pretrained(folder)
    assert type(AutoConfig.from_pretrained(folder)) is family.config
    text = "Ein Satz, 一句话, एक वाक्य."
    loaded = AutoTokenizer.from_pretrained(folder)
    assert loaded(text).input_ids == tokenizer(text).input_ids
    assert loaded.decode(loaded(text).input_ids) == text


def test_a_tokenizer_that_names_no_class_is_that_of_the_plain_family(
    plain: Any, folder: Path, tokenizer: Any, tmp_path: Path
) -> None:
    plain.save_pretrained(tmp_path / "plain")
    loaded = []
    for checkpoint in (tmp_path / "plain", folder):
        tokenizer.save_pretrained(checkpoint)
        file = checkpoint / "tokenizer_config.json"
        fields = json.loads(file.read_text())
        file.write_text(json.dumps({name: fields[name] for name in fields if name != "tokenizer_class"}))
        loaded.append(AutoTokenizer.from_pretrained(checkpoint))
    assert type(loaded[0]) is type(loaded[1])
    assert loaded[0]("Ein Satz.").input_ids == loaded[1]("Ein Satz.").input_ids


def test_a_pipeline_from_a_folder(steered: Any, folder: Path, tokenizer: Any) -> None:
    tokenizer.save_pretrained(folder)
    options = {"language": "de", "do_sample": False, "max_new_tokens": 5, "min_new_tokens": 5}
    from_folder = pipeline("text-generation", model=str(folder))
    assert type(from_folder.model) is type(steered)
    in_memory = pipeline("text-generation", model=steered, tokenizer=tokenizer)
    assert from_folder("Guten Tag!", **options) == in_memory("Guten Tag!", **options)


# ---- checkpoints of version 0.1


@every_auto_class
def test_a_checkpoint_of_version_0_1_gives_the_same_bits(
    family: Any, kind: str, tokens: Tensor, tmp_path: Path
) -> None:
    model = with_detector(family)
    model.save_pretrained(tmp_path / "new")
    as_old(tmp_path / "new", tmp_path / "old")
    found, report = AUTO_CLASSES[kind].from_pretrained(tmp_path / "old", output_loading_info=True)
    assert not report["unexpected_keys"] - {"lm_head.weight"}
    expected = AUTO_CLASSES[kind].from_pretrained(tmp_path / "new")
    states = [each.base_model(tokens, language=MIXED)[0] for each in (found, expected)]
    assert torch.equal(*states)
    german = torch.full((1, 9), GERMAN)
    assert found.detect_language(german) == expected.detect_language(german)

    found.save_pretrained(tmp_path / "again")
    again = AUTO_CLASSES[kind].from_pretrained(tmp_path / "again")
    assert torch.equal(again.base_model(tokens, language=MIXED)[0], states[0])
    assert json.loads((tmp_path / "again/config.json").read_text())["detector_languages"] == DETECTOR_LANGUAGES


@pytest.mark.parametrize("overwritten", [True, False])
def test_stored_overwriting_of_version_0_1_is_left_out_with_a_warning(
    family: Any, overwritten: bool, tokens: Tensor, tmp_path: Path, caplog: Any
) -> None:
    model = tiny_steered(family)
    model.save_pretrained(tmp_path / "new")
    found = AutoModelForCausalLM.from_pretrained(as_old(tmp_path / "new", tmp_path / "old", overwritten=overwritten))
    assert torch.equal(logits(found, tokens), logits(model, tokens))
    assert ("overwrite_layers: this version reads no stored overwriting" in caplog.text) is overwritten


# ---- overrides


@pytest.mark.parametrize("kind", ["causal_lm", "sequence_classification"])
@pytest.mark.parametrize(
    "override",
    [{"alpha": -2}, {"alpha": {"hi": 3.0, "default": 0.0}}, {"beta": 1.5}, {"gamma": 0}, {"alpha": 2, "beta": 0.1}],
    ids=str,
)
def test_strengths_are_overridden_on_load(folder: Path, kind: str, override: dict[str, Any], tokens: Tensor) -> None:
    overridden = AUTO_CLASSES[kind].from_pretrained(folder, **override)
    changed = AUTO_CLASSES[kind].from_pretrained(folder)
    assert overridden.steering != changed.steering
    changed.set_steering(**override)
    assert overridden.steering == changed.steering
    assert overridden.model.steering == changed.model.steering
    assert torch.equal(overridden.model(tokens, language=MIXED)[0], changed.model(tokens, language=MIXED)[0])


def test_the_default_language_is_overridden_on_load(steered: Any, folder: Path, tokens: Tensor) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(folder, language="DE")
    assert loaded.config.language == "de"
    assert torch.equal(logits(loaded, tokens, None), logits(steered, tokens, "de"))
    assert torch.equal(logits(loaded, tokens, "zh"), logits(steered, tokens, "zh"))


def test_an_override_travels_when_the_model_is_saved(folder: Path, tokens: Tensor, tmp_path: Path) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(folder, alpha=-2, language="de")
    loaded.save_pretrained(tmp_path / "overridden")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "overridden")
    assert again.steering == loaded.steering
    assert torch.equal(logits(again, tokens, None), logits(loaded, tokens, "de"))


@pytest.mark.parametrize("layers", [[2, 3, 4], [0]])
def test_bridge_layers_without_masks_are_refused(family: Any, tmp_path: Path, layers: list[int]) -> None:
    tiny_steered(family).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"bridge_layers: .*no 'model\.layers\.\d\.mlp\.scale\.shared_mask'"):
        AutoModelForCausalLM.from_pretrained(tmp_path, bridge_layers=layers)


def test_fewer_bridge_layers_are_an_override(family: Any, tmp_path: Path) -> None:
    tiny_steered(family).save_pretrained(tmp_path)
    assert AutoModelForCausalLM.from_pretrained(tmp_path, bridge_layers=[3]).steering.bridge_layers == (3,)
