"""IA3 adapters, loaded by PEFT itself on the untouched base model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command
from huggingface_hub import ModelCard
from peft import AutoPeftModelForCausalLM, PeftModel
from peft.tuners.ia3 import IA3Layer
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from clas_models.conversion.formats import FORMS
from clas_models.conversion.formats.export import export, prepare
from clas_models.conversion.formats.ia3 import check_base
from clas_models.conversion.formats.options import ExportOptions
from clas_models.errors import InputError, VerificationError

from ..support import assert_same_bits, change_tensors, names, save_plain
from .conftest import save_steered

FLOAT32, BFLOAT16 = torch.float32, torch.bfloat16
BaseOf = Callable[..., Path]


def adapt(model: Path, out: Path, **more: Any) -> Path:
    return export(ExportOptions(str(model), "ia3", out, **more)).out


def with_adapters(base: Path, adapters: Path, *languages: str) -> Any:
    """The base model with these adapters, the first one active."""
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base), adapters / languages[0], adapter_name=languages[0]
    )
    for language in languages[1:]:
        model.load_adapter(adapters / language, adapter_name=language)
    return model.eval()


@torch.inference_mode()
def logits(model: Any, tokens: torch.Tensor, **kwargs: Any) -> torch.Tensor:
    return model(tokens, **kwargs).logits


@pytest.mark.parametrize("tied", [False, True])
def test_adapters_are_the_steered_model_bit_for_bit_in_float32(
    family: Any, tied: bool, base_of: BaseOf, tmp_path: Path, tokens: torch.Tensor
) -> None:
    steered = save_steered(tmp_path / "steered", family, shard="40KB", tie_word_embeddings=tied)
    base = base_of(family, tie_word_embeddings=tied)
    model = with_adapters(base, adapt(steered, tmp_path / "out"), "de", "zh", "hi")
    expected = AutoModelForCausalLM.from_pretrained(steered)
    for language in ("de", "hi", "zh", "de"):
        model.set_adapter(language)
        assert torch.equal(logits(model, tokens), logits(expected, tokens, language=language))
    with model.disable_adapter():
        assert torch.equal(logits(model, tokens), logits(expected, tokens, language="en"))


def test_in_bfloat16_they_differ_by_rounding_alone(
    family: Any, base_of: BaseOf, tmp_path: Path, tokens: torch.Tensor
) -> None:
    """A steered model rounds a factor before it multiplies, PEFT afterwards."""
    steered = save_steered(tmp_path / "steered", family, BFLOAT16)
    model = with_adapters(base_of(family, BFLOAT16), adapt(steered, tmp_path / "out"), "de")
    expected = AutoModelForCausalLM.from_pretrained(steered)
    torch.testing.assert_close(
        logits(model, tokens), logits(expected, tokens, language="de"), rtol=0, atol=0.4, check_dtype=True
    )


@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16])
def test_merged_it_is_the_folded_checkpoint(family: Any, dtype: torch.dtype, base_of: BaseOf, tmp_path: Path) -> None:
    steered = save_steered(tmp_path / "steered", family, dtype)
    model = with_adapters(base_of(family, dtype), adapt(steered, tmp_path / "out"), "de", "hi")
    model.set_adapter("hi")
    folded = export(ExportOptions(str(steered), "folded", tmp_path / "folded", "hi")).out
    expected = AutoModelForCausalLM.from_pretrained(folded).state_dict()
    assert_same_bits(model.merge_and_unload().state_dict(), expected)


def test_exactly_the_bridge_layers_are_adapted(family: Any, base_of: BaseOf, tmp_path: Path) -> None:
    """Layer 1 is not also 11."""
    shape = {"num_hidden_layers": 12}
    steered = save_steered(tmp_path / "steered", family, bridge_layers=[1, 10], **shape)
    model = with_adapters(base_of(family, **shape), adapt(steered, tmp_path / "out"), "de")
    found = {name for name, module in model.named_modules() if isinstance(module, IA3Layer)}
    assert found == {f"base_model.model.model.layers.{layer}.mlp.down_proj" for layer in (1, 10)}
    assert all(module.is_feedforward for module in model.modules() if isinstance(module, IA3Layer))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"de", "zh", "hi"}),
        ({"languages": ("DE", "hi", "de")}, {"de", "hi"}),
        ({"language": "German"}, {"de"}),
        ({"languages": ("zh_Hant", "ger", "zh-CN")}, {"zh", "de"}),
    ],
)
def test_a_folder_for_each_language(
    options: dict[str, Any], expected: set[str], steered_folder: Path, tmp_path: Path
) -> None:
    out = adapt(steered_folder, tmp_path / "out", **options)
    assert names(out) == {"README.md", "clas_export.json", *expected}
    for code in expected:
        assert names(out / code) == {"adapter_config.json", "adapter_model.safetensors"}


def test_vectors_hold_the_three_factors(steered_folder: Path, tmp_path: Path) -> None:
    out = adapt(steered_folder, tmp_path / "out", alpha={"hi": 0.0, "default": 0.5})
    vectors = load_file(out / "de" / "adapter_model.safetensors")
    assert len(vectors) == 2
    for vector in vectors.values():
        assert (vector.dtype, vector.shape) == (FLOAT32, (1, 48))
        assert set(vector.unique().tolist()) == {torch.tensor(x).item() for x in (1.2, 1.0, 0.9)}
    assert_same_bits(vectors, load_file(out / "zh" / "adapter_model.safetensors"))
    unsteered = load_file(out / "hi" / "adapter_model.safetensors")
    assert all(bool((vector == 1).all()) for vector in unsteered.values())


def test_card_shows_its_use(steered_folder: Path, tmp_path: Path) -> None:
    card = ModelCard.load(adapt(steered_folder, tmp_path / "out") / "README.md")
    assert card.data.to_dict() == {
        "language": ["de", "zh", "hi"],
        "license": "apache-2.0",
        "base_model": "owner/base",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["clas", "activation-steering", "multilingual"],
    }
    for words in ('from_pretrained("owner/base")', 'set_adapter("zh")', "merge_and_unload()", "de -2, zh 1.5, hi 1"):
        assert words in card.text


def test_converted_from_a_folder_it_knows_its_base(
    converter: Command, plain_folder: Path, corpus_file: Path, tmp_path: Path, tokens: torch.Tensor
) -> None:
    converter.made(plain_folder, "--corpus", corpus_file, "--bridge-layers", "2,3", "--out", tmp_path / "x-clas")
    ended = converter.made(tmp_path / "x-clas", "--format", "ia3", "--out", tmp_path / "x-ia3")
    scope: dict[str, Any] = {}
    exec("\n".join(line.strip() for line in ended.out.splitlines()[-4:]), scope)
    expected = AutoModelForCausalLM.from_pretrained(tmp_path / "x-clas")
    assert torch.equal(logits(scope["model"].eval(), tokens), logits(expected, tokens, language="de"))
    alone = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "x-ia3" / "de")
    assert torch.equal(logits(alone.eval(), tokens), logits(expected, tokens, language="de"))
    # Its card is for others, who have no such folder.
    assert str(plain_folder) not in (tmp_path / "x-ia3" / "README.md").read_text()


def test_what_differs_is_found(steered_folder: Path, tmp_path: Path) -> None:
    options = ExportOptions(str(steered_folder), "ia3", tmp_path / "out")
    out = export(options).out
    change_tensors(out / "hi" / "adapter_model.safetensors", lambda tensors: next(iter(tensors.values())).mul_(1.1))
    with pytest.raises(VerificationError, match="logits differ"):
        FORMS["ia3"].compare(prepare(options), out)


# --- another base model -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "said"),
    [({"intermediate_size": 64}, "size mismatch"), ({"num_hidden_layers": 2}, "not found in the base model")],
)
def test_peft_refuses_a_base_of_another_shape(
    shape: dict[str, int], said: str, steered_folder: Path, family: Any, tmp_path: Path
) -> None:
    adapters = adapt(steered_folder, tmp_path / "out")
    with pytest.raises((RuntimeError, ValueError), match=said):
        with_adapters(save_plain(tmp_path / "other", family, **shape), adapters, "de")


def test_check_base_tells_models_of_the_same_shape_apart(
    steered_folder: Path, family: Any, base_of: BaseOf, tmp_path: Path
) -> None:
    adapter = adapt(steered_folder, tmp_path / "out") / "de"
    check_base(adapter, base_of(family))
    check_base(adapter, steered_folder)
    other = base_of(family, seed=1)
    with pytest.raises(InputError, match=f"{adapter}: an adapter for another base model than {other}"):
        check_base(adapter, other)


def test_check_base_needs_an_adapter_of_ours(steered_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not an adapter that can be read"):
        check_base(tmp_path, steered_folder)
    adapter = adapt(steered_folder, tmp_path / "out") / "de"
    change_tensors(adapter / "adapter_model.safetensors", lambda tensors: None)  # as PEFT saves it again
    with pytest.raises(InputError, match="does not say which base model it is for"):
        check_base(adapter, steered_folder)


def test_a_model_without_other_languages_has_nothing_to_keep(converter: Command, family: Any, tmp_path: Path) -> None:
    steered = save_steered(tmp_path / "steered", family, languages=["en"], alpha=1.0)
    said = converter.refused(steered, "--format", "ia3", "--out", tmp_path / "out")
    assert said.startswith("the checkpoint names no language beside its anchor; convert the model again")


def test_base_that_nobody_knows_is_left_open(steered_folder: Path, tmp_path: Path) -> None:
    (steered_folder / "README.md").unlink()
    out = adapt(steered_folder, tmp_path / "out")
    assert json.loads((out / "de" / "adapter_config.json").read_text())["base_model_name_or_path"] is None
    assert 'from_pretrained("BASE_MODEL")' in (out / "README.md").read_text()
