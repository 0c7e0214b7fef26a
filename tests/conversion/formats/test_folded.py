"""A folded checkpoint is a plain one: loaded without this package's classes, it gives the steered model's logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command
from conftest import STEERING
from huggingface_hub import ModelCard
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from clas_models import FAMILIES
from clas_models.conversion.export_record import EXPORT_NAME, read_record
from clas_models.conversion.formats import FORMS
from clas_models.conversion.formats.comparison import Difference
from clas_models.conversion.formats.export import export, prepare
from clas_models.conversion.formats.options import ExportOptions
from clas_models.errors import InputError, VerificationError

from ..support import assert_same_bits, base_only, change_tensors, names, read_weights
from .conftest import save_steered

FLOAT32, BFLOAT16, FLOAT16 = torch.float32, torch.bfloat16, torch.float16
# Largest difference of logits of about 10, run in the stored precision: rounding, in and after two of six layers.
CLOSE = {FLOAT32: 1e-4, FLOAT16: 0.05, BFLOAT16: 0.4}


def fold(model: Path, out: Path, language: str = "de", **more: Any) -> Path:
    return export(ExportOptions(str(model), "folded", out, language, **more)).out


def logits(folder: Path, tokens: torch.Tensor, **kwargs: Any) -> torch.Tensor:
    with torch.inference_mode():
        return AutoModelForCausalLM.from_pretrained(folder)(tokens, **kwargs).logits


def folded_by_hand(weight: torch.Tensor, masks: tuple[torch.Tensor, torch.Tensor], alpha: float) -> torch.Tensor:
    """The rule of the paper, column by column, in float64, rounded once."""
    factor = 1 + alpha * (STEERING["beta"] * masks[0].double() - STEERING["gamma"] * masks[1].double())
    return (weight.double() * factor.float().double()).float().to(weight.dtype)


@pytest.mark.parametrize(
    ("dtype", "shard", "tied"),
    [
        (FLOAT32, "1GB", False),
        (FLOAT32, "40KB", True),
        (BFLOAT16, "20KB", False),
        (BFLOAT16, "1GB", True),
        (FLOAT16, "1GB", False),
    ],
)
def test_it_gives_the_steered_model_s_logits(
    family: Any, dtype: torch.dtype, shard: str, tied: bool, tmp_path: Path, tokens: torch.Tensor
) -> None:
    steered = save_steered(tmp_path / "steered", family, dtype, shard, tie_word_embeddings=tied)
    out = fold(steered, tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(out)
    assert type(model).__module__ == f"transformers.models.{family.base}.modeling_{family.base}"
    assert model.dtype == dtype
    expected, anchor = (logits(steered, tokens, language=code) for code in ("de", "en"))
    with torch.inference_mode():
        found = model(tokens).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=CLOSE[dtype])
    assert (expected - anchor).abs().max() > 4 * CLOSE[dtype], "so close would be anything"


@pytest.mark.parametrize(("dtype", "shard"), [(FLOAT32, "1GB"), (BFLOAT16, "20KB")])
def test_only_down_proj_of_bridge_layers_changes_and_is_rounded_once(
    family: Any, dtype: torch.dtype, shard: str, tmp_path: Path
) -> None:
    steered = save_steered(tmp_path / "steered", family, dtype, shard)
    before = read_weights(steered)
    after = read_weights(fold(steered, tmp_path / "out"))
    expected = base_only(before)
    for layer in STEERING["bridge_layers"]:
        mlp = f"model.layers.{layer}.mlp."
        masks = before[f"{mlp}scale.shared_mask"], before[f"{mlp}scale.specific_mask"]
        expected[f"{mlp}down_proj.weight"] = folded_by_hand(expected[f"{mlp}down_proj.weight"], masks, -2.0)
    assert_same_bits(after, expected)


@pytest.mark.parametrize("shard", ["1GB", "40KB"])
def test_folder_is_that_of_a_plain_checkpoint(family: Any, shard: str, tmp_path: Path) -> None:
    steered = save_steered(tmp_path / "steered", family, shard=shard)
    out = fold(steered, tmp_path / "out")
    weights = {name for name in names(out) if name.startswith("model")}
    assert names(out) - weights == {
        "README.md", "LICENSE", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
        EXPORT_NAME,
    }  # fmt: skip
    assert (weights == {"model.safetensors"}) == (shard == "1GB")
    config = json.loads((out / "config.json").read_text())
    assert config["model_type"] == family.base
    plain = family.base_config().to_dict().keys()
    assert not {*STEERING, "language", "detector_languages", "auto_map", "clas_version"} & config.keys() - plain
    assert "clas" not in json.dumps(config).lower()
    assert AutoTokenizer.from_pretrained(out)("Wasser") == AutoTokenizer.from_pretrained(steered)("Wasser")


def test_it_answers_as_the_steered_model(steered_folder: Path, tmp_path: Path, tokens: torch.Tensor) -> None:
    models = [AutoModelForCausalLM.from_pretrained(p) for p in (fold(steered_folder, tmp_path / "out"), steered_folder)]
    found, expected = (
        model.generate(tokens, max_new_tokens=12, do_sample=False, **kwargs)
        for model, kwargs in zip(models, ({}, {"language": "de"}), strict=True)
    )
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("language", "strengths", "same_as"),
    [
        ("hin_Deva", {}, {"language": "hi"}),
        ("de-at", {}, {"language": "de"}),
        ("de", {"alpha": 1.0}, {"language": "hi"}),
        ("de", {"alpha": {"de": 1.5, "default": 0.0}}, {"language": "zh"}),
        ("hi", {"alpha": {"de": 1.5}}, {"language": "hi"}),  # the checkpoint's own default
    ],
)
def test_strength_in_force(
    language: str, strengths: dict[str, Any], same_as: dict[str, str], tmp_path: Path, tokens: torch.Tensor, family: Any
) -> None:
    steered = save_steered(tmp_path / "steered", family)
    found = logits(fold(steered, tmp_path / "out", language, **strengths), tokens)
    torch.testing.assert_close(found, logits(steered, tokens, **same_as), rtol=0, atol=CLOSE[FLOAT32])


def test_beta_and_gamma_can_be_given(steered_folder: Path, tmp_path: Path, tokens: torch.Tensor) -> None:
    found = logits(fold(steered_folder, tmp_path / "out", beta=0.1, gamma=-0.3), tokens)
    with torch.inference_mode():
        model = AutoModelForCausalLM.from_pretrained(steered_folder, beta=0.1, gamma=-0.3)
        torch.testing.assert_close(found, model(tokens, language="de").logits, rtol=0, atol=CLOSE[FLOAT32])


def test_card_says_what_it_is(steered_folder: Path, tmp_path: Path) -> None:
    out = fold(steered_folder, tmp_path / "out")
    card = ModelCard.load(out / "README.md")
    assert card.data.to_dict() == {
        "language": ["de"],
        "license": "apache-2.0",
        "base_model": "owner/base",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["clas", "activation-steering", "multilingual"],
    }
    for words in ("steered as `de` for good", "| alpha | de -2 |", "0.4, 0.2", "2-3 of 6", "AutoModelForCausalLM"):
        assert words in card.text
    record = read_record(out)
    assert record is not None
    assert (record.format, record.alpha, record.bridge_layers) == ("folded", {"de": -2.0}, (2, 3))


def test_what_differs_is_found(steered_folder: Path, tmp_path: Path) -> None:
    options = ExportOptions(str(steered_folder), "folded", tmp_path / "out", "de")
    out = export(options).out
    weights, work = out / "model.safetensors", prepare(options)
    change_tensors(weights, lambda tensors: tensors["model.layers.2.mlp.down_proj.weight"][:, 5].mul_(1.5))
    with pytest.raises(VerificationError, match="logits differ"):
        FORMS["folded"].compare(work, out)
    change_tensors(weights, lambda tensors: tensors["model.layers.2.mlp.up_proj.weight"][0].mul_(1.5))
    with pytest.raises(VerificationError, match="weights beside the folded ones differ"):
        FORMS["folded"].compare(work, out)


def test_half_precision_that_overflows_is_refused(family: Any, tmp_path: Path) -> None:
    steered = save_steered(tmp_path / "steered", family, FLOAT16)
    with pytest.raises(InputError, match=r"too large for torch.float16 once folded; give a smaller strength"):
        fold(steered, tmp_path / "out", alpha=1e7)
    assert names(tmp_path) == {"steered"}


def test_command_line_tells_the_difference_and_how_to_load(
    converter: Command, steered_folder: Path, tmp_path: Path
) -> None:
    ended = converter.made(steered_folder, "--format", "folded", "--language", "de", "--out", tmp_path / "out")
    lines = [line.strip() for line in ended.out.splitlines()]
    assert "In layers 2-3: alpha de -2; beta 0.4; gamma 0.2" in lines
    assert sum(line.startswith("Checked: logits differ from the steered model's by at most") for line in lines) == 1
    scope: dict[str, Any] = {}
    exec("\n".join(lines[-3:]), scope)
    assert scope["model"].config.model_type in FAMILIES
    quiet = converter.made(
        steered_folder, "--format", "folded", "--language", "de", "--out", tmp_path / "out", "--overwrite", "--quiet"
    )
    assert (quiet.out, quiet.err) == (f"{tmp_path / 'out'}\n", "")


def test_alpha_0_is_the_base_model_and_said(
    converter: Command, steered_folder: Path, tmp_path: Path, tokens: torch.Tensor
) -> None:
    ended = converter.made(
        steered_folder, "--format", "folded", "--language", "de", "--alpha", "0", "--out", tmp_path / "out"
    )
    assert "note: strength 0 or nothing to steer: as de it is the base model, unsteered" in ended.err
    assert torch.equal(logits(tmp_path / "out", tokens), logits(steered_folder, tokens, language="en"))


def test_record_of_another_kind_is_none(tmp_path: Path) -> None:
    for content in ("", "[]", "{}", '{"format": "folded", "bridge_layers": 3}', '{"bridge_layers": []}'):
        (tmp_path / EXPORT_NAME).write_text(content)
        assert read_record(tmp_path) is None


def test_shards_without_weights_of_their_own_are_left_out(family: Any, tmp_path: Path) -> None:
    steered = save_steered(tmp_path / "steered", family)
    tensors = read_weights(steered)
    masks = {name: tensor for name, tensor in tensors.items() if "_mask" in name}
    (steered / "model.safetensors").unlink()
    files = {"model-00001-of-00002.safetensors": base_only(tensors), "model-00002-of-00002.safetensors": masks}
    for name, part in files.items():
        save_file(part, steered / name, metadata={"format": "pt"})
    weight_map = {tensor: name for name, part in files.items() for tensor in part}
    index = {"metadata": {}, "weight_map": weight_map}
    (steered / "model.safetensors.index.json").write_text(json.dumps(index))
    out = fold(steered, tmp_path / "out")
    assert {name for name in names(out) if name.startswith("model")} == {"model.safetensors"}


def test_difference_that_is_no_number_is_one() -> None:
    with pytest.raises(VerificationError, match="nan"):
        Difference(absolute=float("nan"), largest=2.0, effect=3.0).check(1.0, Path("out"))
