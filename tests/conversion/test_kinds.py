"""Sources that are something else: refused in one line before any work, or carried on with what they have beside."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command
from conftest import TINY, byte_tokenizer
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    T5Config,
)

from .support import (
    LLAMA,
    QWEN2,
    base_only,
    change_tensors,
    file_bytes,
    names,
    read_weights,
    rewrite_json,
    save_plain,
)

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"


def config(folder: Path, **fields: Any) -> None:
    rewrite_json(folder / "config.json", lambda value: value.update(fields))


def another_head(folder: Path, auto_class: Any, *, tied: bool) -> None:
    shutil.rmtree(folder)
    model = auto_class.from_config(QWEN2.base_config(**TINY, tie_word_embeddings=tied))
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)


def without_architecture(folder: Path) -> None:
    another_head(folder, AutoModelForSequenceClassification, tied=True)
    config(folder, architectures=None)


def in_eight_bits(folder: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    change_tensors(folder / "model.safetensors", lambda t: t.update({name: t[name].to(torch.int8)}))


def packed(folder: Path) -> None:
    name = "model.layers.1.mlp.up_proj"

    def pack(tensors: dict[str, torch.Tensor]) -> None:
        del tensors[f"{name}.weight"]
        tensors[f"{name}.qweight"] = torch.zeros(4, 48, dtype=torch.int32)

    change_tensors(folder / "model.safetensors", pack)


def in_float8(folder: Path) -> None:
    change_tensors(
        folder / "model.safetensors",
        lambda t: t.update({name: tensor.to(torch.float8_e4m3fn) for name, tensor in t.items()}),
    )


def adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "owner/base"}))


def adapter_alone(folder: Path) -> None:
    empty(folder)
    adapter(folder)


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def only(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        empty(folder)
        (folder / name).write_bytes(b"{}")

    return make


def checkpoints_of_a_training(folder: Path) -> None:
    shutil.copytree(folder, folder.parent / "copy")
    empty(folder)
    shutil.move(folder.parent / "copy", folder / "checkpoint-500")


def encoder_decoder(folder: Path) -> None:
    T5Config().save_pretrained(folder)


def pointer(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(POINTER) and None


def without_index(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")


def without_shards(folder: Path) -> None:
    shutil.rmtree(folder)
    save_plain(folder, max_shard_size="40KB")
    for path in sorted(folder.glob("model-*"))[1:]:
        path.unlink()


def quantized(method: str, **fields: Any) -> Callable[[Path], None]:
    return lambda folder: config(folder, quantization_config={"quant_method": method, **fields})


CLASSIFIER = "plain: a sequence classifier, such as a reward model (Qwen2ForSequenceClassification), not a causal"
GIVE = "give the one that it was made from"
QUANTIZED = "plain: its weights are quantised already ("
UNQUANTIZED = "give the model as it was before, in bfloat16, float16 or float32"
KINDS: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "reward model, tied": (lambda f: another_head(f, AutoModelForSequenceClassification, tied=True), CLASSIFIER, GIVE),
    "reward model": (lambda f: another_head(f, AutoModelForSequenceClassification, tied=False), CLASSIFIER, GIVE),
    "reward model that does not say so": (without_architecture, "another one ('score.weight')", "it was made from"),
    "token classifier": (lambda f: another_head(f, AutoModelForTokenClassification, tied=True), "a token class", GIVE),
    "answers": (lambda f: another_head(f, AutoModelForQuestionAnswering, tied=False), "marks answers in a text", GIVE),
    "unknown head": (lambda f: config(f, architectures=["LlamaForProcessReward"]), "a model with another head", GIVE),
    "bitsandbytes": (quantized("bitsandbytes", load_in_4bit=True), f"{QUANTIZED}bitsandbytes)", UNQUANTIZED),
    "GPTQ": (quantized("gptq", bits=4), f"{QUANTIZED}gptq)", UNQUANTIZED),
    "AWQ": (quantized("awq", bits=4), f"{QUANTIZED}awq)", UNQUANTIZED),
    "compressed-tensors": (quantized("compressed-tensors"), f"{QUANTIZED}compressed-tensors)", UNQUANTIZED),
    "MLX": (lambda f: config(f, quantization={"bits": 4}), f"{QUANTIZED}quantization in its config.json)", UNQUANTIZED),
    "AutoGPTQ": (lambda f: (f / "quantize_config.json").write_text("{}"), f"{QUANTIZED}quantize_config", UNQUANTIZED),
    "8 bits unsaid": (in_eight_bits, f"{QUANTIZED}tensor 'model.layers.1.mlp.up_proj.weight' is I8)", UNQUANTIZED),
    "packed unsaid": (packed, f"{QUANTIZED}tensor 'model.layers.1.mlp.up_proj.qweight')", UNQUANTIZED),
    "float8 unsaid": (in_float8, "is F8_E4M3)", UNQUANTIZED),
    "float8": (lambda f: config(f, dtype="float8_e4m3fn"), "float8_e4m3fn, in which no", "give the model in bf"),
    "float8, old": (lambda f: config(f, dtype=None, torch_dtype="torch.float8_e5m2"), "as float8_e5m2", "bfloat16"),
    "adapter": (adapter, "plain: an adapter (it has an adapter_config.json)", "base model owner/base (merge"),
    "adapter alone": (adapter_alone, "plain: an adapter, not a checkpoint", "load it on its base model with PEFT"),
    "pipeline": (only("model_index.json"), "a pipeline of several models (model_index.json)", ""),
    "encoder-decoder": (encoder_decoder, "an encoder-decoder, not a causal language model: model type 't5'", ""),
    "vision": (
        lambda f: config(f, model_type="qwen2_vl", vision_config={"depth": 1}),
        "a model that reads more than text: model type 'qwen2_vl' is not supported",
        "supported are llama",
    ),
    "empty": (empty, "no config.json: an empty folder", "give the folder of a downloaded model"),
    "GGUF files": (only("tiny.gguf"), "no config.json, but GGUF files", "such as "),
    "training": (checkpoints_of_a_training, "no config.json, but there is one below it", "checkpoint-500"),
    "publisher's format": (only("params.json"), "weights in their publisher's own format", "as Transformers has it"),
    "pointer": (pointer("model.safetensors"), "model.safetensors: a pointer of Git LFS", "run `git lfs pull`"),
    "pointer, tokenizer": (pointer("tokenizer.json"), "tokenizer.json: a pointer of Git LFS", "run `git lfs pull`"),
    "pointer, pieces": (pointer("tokenizer.model"), "tokenizer.model: a pointer of Git LFS", "run `git lfs pull`"),
    "pointer, config": (pointer("config.json"), "config.json: a pointer of Git LFS", "run `git lfs pull`"),
    "no index": (without_index, "without model.safetensors.index.json", "download that, too"),
    "shards": (without_shards, "safetensors: the shard is missing, the index names it, and so are", "download it"),
    "vocabulary": (
        lambda f: config(f, vocab_size=300),
        "tensor 'lm_head.weight' has the shape [260, 32], but the configuration says [300, 32]",
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "kind", "remedy"), KINDS.values(), ids=KINDS)
def test_something_else_is_refused_before_any_work(
    make: Callable[[Path], Any], kind: str, remedy: str, converter: Command, plain_folder: Path, tmp_path: Path
) -> None:
    make(plain_folder)
    ended = converter(plain_folder, "--out", tmp_path / "out")
    assert (ended.status, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert line.startswith(f"python convert.py: error: {tmp_path}")
    assert kind in line
    assert remedy in line
    assert names(tmp_path) == {"plain"}, "nothing is left"


def test_pointer_that_is_given_as_a_file(converter: Command, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(POINTER)
    assert "model.gguf: a pointer of Git LFS, not the file itself" in converter.refused(tmp_path / "model.gguf")


# --- what is carried on -----------------------------------------------------------------------------------------------


def value_head(tensors: dict[str, torch.Tensor]) -> None:
    tensors["v_head.summary.weight"] = torch.ones(1, 32)
    tensors["v_head.summary.bias"] = torch.ones(1)
    tensors["position_ids"] = torch.arange(8)


def classifier(tensors: dict[str, torch.Tensor]) -> None:
    tensors["score.weight"] = torch.ones(2, 32)


EXTRA: dict[str, tuple[Callable[[Path], Any], int]] = {
    "value head": (lambda folder: change_tensors(folder / "model.safetensors", value_head), 3),
    "layers that are not in use": (lambda folder: config(folder, num_hidden_layers=4), 18),
    "a classifier beside the head": (
        lambda folder: change_tensors(folder / "model.safetensors", classifier),
        1,
    ),
}  # fmt: skip


@pytest.fixture(params=EXTRA.values(), ids=EXTRA)
def with_extra(request: pytest.FixtureRequest, plain_folder: Path) -> tuple[Path, int]:
    make, count = request.param
    make(plain_folder)
    return plain_folder, count


def logits_and_unexpected(folder: Path, **kwargs: Any) -> tuple[torch.Tensor, set[str]]:
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    tokens = torch.arange(20)[None]
    with torch.inference_mode():
        return model.eval()(tokens, **kwargs).logits, info["unexpected_keys"]


def test_tensors_that_are_not_used_travel_along(
    with_extra: tuple[Path, int], converter: Command, corpus_file: Path, tmp_path: Path
) -> None:
    plain, count = with_extra
    out = tmp_path / "out"
    ended = converter.made(plain, "--corpus", corpus_file, "--out", out, "--alpha", "1")
    (note,) = [line for line in ended.err.splitlines() if "note:" in line]
    assert f"note: {plain}: {count} of its tensors have no use there" in note
    expected, unexpected = logits_and_unexpected(plain)
    found, left = logits_and_unexpected(out, language="en")
    assert torch.equal(found, expected)
    assert left == unexpected, "loading the result tells no more than loading the source"
    assert len(left) == count
    first = min(out.glob("model-*.safetensors"))
    assert first.read_bytes() == (plain / "model.safetensors").read_bytes()
    assert not torch.equal(logits_and_unexpected(out, language="de")[0], expected)


def test_other_forms_take_them_along_too(
    with_extra: tuple[Path, int], converter: Command, corpus_file: Path, tmp_path: Path
) -> None:
    plain, count = with_extra
    converter.made(plain, "--corpus", corpus_file, "--out", tmp_path / "steered", "--quiet", "--alpha", "1")
    for form in ("folded", "ia3"):
        ended = converter.made(tmp_path / "steered", "--format", form, "--language", "de", "--out", tmp_path / form)
        assert ended.err.count("note:") == 1
    assert base_only(read_weights(tmp_path / "folded")).keys() == read_weights(plain).keys()
    assert len(logits_and_unexpected(tmp_path / "folded")[1]) == count
    converter.made(tmp_path / "steered", "--bridge-layers", "1", "--out", tmp_path / "again", "--quiet")
    assert base_only(read_weights(tmp_path / "again")).keys() == read_weights(plain).keys()


def test_old_buffers_are_not_worth_a_note(
    converter: Command, plain_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    """Transformers says nothing of them either."""
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    change_tensors(plain_folder / "model.safetensors", lambda tensors: tensors.update({name: torch.ones(4)}))
    ended = converter.made(plain_folder, "--corpus", corpus_file, "--out", tmp_path / "out")
    assert "note:" not in ended.err
    assert name in read_weights(tmp_path / "out")


@pytest.mark.parametrize(
    "architectures", [None, [], ["LlamaModel"], ["MyLlamaForCausalLM"], ["Other", "LlamaForCausalLM"]]
)
def test_architecture_is_not_taken_at_its_word(
    architectures: list[str] | None, converter: Command, plain_folder: Path, tmp_path: Path, steered_folder: Path
) -> None:
    """What has the tensors of a causal language model is one."""
    config(plain_folder, architectures=architectures)
    given = ["--profile", steered_folder / "neuron_profile.safetensors", "--detector-corpus", "none"]
    converter.made(plain_folder, *given, "--out", tmp_path / "out", "--quiet")


def test_head_that_is_the_embedding(converter: Command, corpus_file: Path, tmp_path: Path) -> None:
    """Of two tensors that are one a file may hold either or both."""
    plain = save_plain(tmp_path / "plain", LLAMA, tie_word_embeddings=True)
    weights = read_weights(plain)
    save_file(
        {**weights, "lm_head.weight": weights["model.embed_tokens.weight"].clone()},
        plain / "model.safetensors",
        metadata={"format": "pt"},
    )
    before = file_bytes(plain)
    ended = converter.made(plain, "--corpus", corpus_file, "--out", tmp_path / "out")
    assert "note:" not in ended.err
    assert file_bytes(plain) == before
    expected, _ = logits_and_unexpected(plain)
    assert torch.equal(logits_and_unexpected(tmp_path / "out", language="en")[0], expected)
