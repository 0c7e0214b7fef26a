"""Vectors in other forms: folded into biases, and as control vectors that llama.cpp and repeng read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import Command
from gguf import GGUFReader
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM

from clas_models.conversion.export_record import EXPORT_NAME
from clas_models.conversion.formats.control_vector import read_directions
from clas_models.conversion.hub_upload import checkpoint_files

from ..support import LLAMA, names, read_weights
from .conftest import with_vectors

TOKENS = torch.arange(27).view(3, 9)


def logits(folder: Path, **arguments: Any) -> torch.Tensor:
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(folder)(TOKENS, **arguments).logits


def test_with_strength_0_the_folded_checkpoint_is_the_base(converter: Command, tmp_path: Path) -> None:
    steered = with_vectors(tmp_path / "steered", bridge_layers=[])
    given = (steered, "--format", "folded", "--language", "zh", "--vector-strength", "0", "--out", tmp_path / "out")
    assert "as zh it is the base model" in converter.made(*given).err
    assert torch.equal(logits(tmp_path / "out"), logits(steered, language="en"))


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize(
    ("dtype", "close"), [(torch.float32, 1e-4), (torch.bfloat16, 0.6)], ids=["float32", "bfloat16"]
)
def test_a_bias_holds_a_vector(
    converter: Command, tmp_path: Path, masks: bool, dtype: torch.dtype, close: float
) -> None:
    """With masks and without them; the plain checkpoint says what the steered one says."""
    steered = with_vectors(tmp_path / "steered", **({} if masks else {"bridge_layers": []}))
    if dtype != torch.float32:
        AutoModelForCausalLM.from_pretrained(steered).to(dtype).save_pretrained(steered)
    out = tmp_path / "out"
    ended = converter.made(steered, "--format", "folded", "--language", "zh", "--vector-strength", "1.5", "--out", out)
    assert "Behind layers 1-2: vector strength zh 1.5" in ended.out
    assert json.loads((out / "config.json").read_text())["mlp_bias"] is True
    model = AutoModelForCausalLM.from_pretrained(out)
    assert (type(model).__name__, model.dtype) == ("LlamaForCausalLM", dtype)
    steered_model = AutoModelForCausalLM.from_pretrained(steered, vector_strength=1.5)
    with torch.no_grad():
        expected, anchor = (steered_model(TOKENS, language=code).logits for code in ("zh", "en"))
        torch.testing.assert_close(model(TOKENS).logits, expected, rtol=0, atol=close)
    assert (expected - anchor).abs().max() > 2 * close
    biases = {name: tensor for name, tensor in read_weights(out).items() if ".mlp." in name and name.endswith("bias")}
    assert len(biases) == 3 * 6
    assert {name for name, bias in biases.items() if bias.any()} == {
        f"model.layers.{layer}.mlp.down_proj.bias" for layer in (1, 2)
    }


def test_a_bias_that_is_there_gets_the_vector_on_top(converter: Command, tmp_path: Path) -> None:
    steered = with_vectors(tmp_path / "steered")
    model = AutoModelForCausalLM.from_pretrained(steered)
    config = type(model.config)(**{**model.config.to_dict(), "mlp_bias": True})
    biased = LLAMA.causal_lm(config)
    biased.load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():
        for layer in biased.model.layers:
            for module in (layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj):
                module.bias.normal_(std=0.2)
    biased.save_pretrained(steered)
    converter.made(steered, "--format", "folded", "--language", "de", "--out", tmp_path / "out")
    torch.testing.assert_close(logits(tmp_path / "out"), logits(steered, language="de"), rtol=0, atol=1e-4)


def test_control_vectors_as_llama_cpp_reads_them(family: Any, converter: Command, tmp_path: Path) -> None:
    strength = {"de": -2.0, "default": 0.5, "zh": 0.0}
    steered = with_vectors(
        tmp_path / "steered", family, bridge_layers=[], vector_layers=[2, 5], vector_strength=strength
    )
    out = tmp_path / "out"
    ended = converter.made(steered, "--format", "control-vector", "--out", out)
    assert "note: strength 0 or nothing to steer: as zh it is the base model" in ended.err
    files = {"README.md", EXPORT_NAME, "de.gguf", "hi.gguf", "zh.gguf"}
    assert names(out) == files == set(checkpoint_files(out))
    assert f'llama-cli -m BASE.gguf --control-vector "{out}/de.gguf"' in ended.out
    vectors = AutoModelForCausalLM.from_pretrained(steered).vectors
    for row, (code, factor) in enumerate((("de", -2.0), ("zh", 0.0), ("hi", 0.5)), start=1):
        reader = GGUFReader(out / f"{code}.gguf")
        assert reader.fields["general.architecture"].contents() == "controlvector"
        assert reader.fields["controlvector.model_hint"].contents() == (family.gguf or "llama")
        found = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
        assert reader.fields["controlvector.layer_count"].contents() == len(found)
        # `direction.N` belongs to the output of layer N, from 0; see llama.cpp's src/llama-adapter.cpp.
        expected = {f"direction.{layer}": factor * vectors[layer][row] for layer in vectors if factor}
        assert found.keys() == expected.keys()
        for name, vector in expected.items():
            assert found[name].dtype == np.float32
            assert found[name].shape == (32,)
            assert torch.equal(torch.from_numpy(found[name]), vector)
    card = ModelCard.load(out / "README.md")
    assert "| vector strength of each language | de -2, zh 0, hi 0.5 |" in card.text
    assert "| vectors are added behind layers | 2,5 of 6 |" in card.text
    one = converter.made(steered, "--format", "control-vector", "--language", "de", "--out", tmp_path / "one")
    assert {"de.gguf"} == {name for name in names(tmp_path / "one") if name.endswith(".gguf")}
    assert "logits differ from the steered model's by at most " in one.out


def test_control_vectors_as_repeng_reads_them(
    converter: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np, "float_", np.float64, raising=False)  # repeng 0.4 is for NumPy 1
    repeng = pytest.importorskip("repeng")
    steered = with_vectors(tmp_path / "steered", bridge_layers=[])
    converter.made(steered, "--format", "control-vector", "--out", tmp_path / "out")
    vector = repeng.ControlVector.import_gguf(tmp_path / "out" / "de.gguf")
    expected = read_directions(tmp_path / "out" / "de.gguf")
    assert vector.directions.keys() == expected.keys() == {1, 2}
    model = repeng.ControlModel(AutoModelForCausalLM.from_pretrained(tmp_path / "steered", vector_strength=0), [1, 2])
    model.set_control(vector)
    with torch.no_grad():
        found = model(input_ids=TOKENS[:1], language="en").logits
    torch.testing.assert_close(found, logits(steered, language="de")[:1], rtol=0, atol=1e-4)


def test_a_folder_of_control_vectors_is_no_model(converter: Command, tmp_path: Path) -> None:
    steered = with_vectors(tmp_path / "steered", bridge_layers=[])
    converter.made(steered, "--format", "control-vector", "--out", tmp_path / "out")
    assert "an adapter, not a checkpoint" in converter.refused(tmp_path / "out", "--out", tmp_path / "again")
    message = converter.refused(tmp_path / "out" / "de.gguf", "--out", tmp_path / "again")
    assert "'controlvector' is not supported" in message
    converter.made(steered, "--format", "control-vector", "--language", "de", "--overwrite", "--out", tmp_path / "out")
    assert "zh.gguf" not in names(tmp_path / "out")
