"""GGUF files: what is in one comes out of the converter; a damaged or foreign one is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command
from conftest import byte_tokenizer, tiny_plain
from gguf import GGUFWriter, TokenType
from transformers import AutoModelForCausalLM, AutoTokenizer

from clas_models import FAMILIES
from clas_models.conversion.gguf_source import dequantize, is_gguf
from clas_models.conversion.staging import staging_folder

from .support import LLAMA, ROWS, Fate, assert_same_bits, base_only, names, read_weights, run_elsewhere

REAL = Path.home() / ".cache" / "clas-models" / "SmolLM2-135M-Instruct.gguf"
PARTS = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def tiny(family: Any = LLAMA, **overrides: Any) -> Any:
    # Two tokens more than there are bytes and special tokens, because readers of the format want a list of merges.
    return tiny_plain(family, vocab_size=262, **overrides)


def write_gguf(
    path: Path, model: Any, architecture: str, leave_out: str = "", more: Callable[[GGUFWriter], Any] | None = None
) -> Path:
    """The model in float32 with the byte tokenizer, as llama.cpp writes it; `more` adds to it."""
    config, writer = model.config, GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    tokenizer = byte_tokenizer()
    special = set(tokenizer.all_special_tokens)
    tokens = [*tokenizer.convert_ids_to_tokens(list(range(260))), "zz", "qq"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in special else TokenType.NORMAL for token in tokens])
    writer.add_token_merges(["z z", "q q"])
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_unk_token_id(tokenizer.unk_token_id)
    for name, tensor in model.state_dict().items():
        if name != leave_out:
            writer.add_tensor(_gguf_name(name), _gguf_layout(name, tensor, config, architecture).numpy())
    if more is not None:
        more(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _gguf_name(name: str) -> str:
    part = next(part for part in PARTS if part in name)
    return name.replace(part, PARTS[part]).replace("model.layers.", "blk.")


def _gguf_layout(name: str, tensor: torch.Tensor, config: Any, architecture: str) -> torch.Tensor:
    """The format stores the two halves of a Llama head's rotation interleaved."""
    heads = {".q_proj.": config.num_attention_heads, ".k_proj.": config.num_key_value_heads}
    for part, count in heads.items():
        if architecture == "llama" and part in name:
            return tensor.view(count, 2, -1, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape).contiguous()
    return tensor


@pytest.mark.parametrize("architecture", sorted(family.gguf for family in FAMILIES.values() if family.gguf))
def test_file_converts_with_its_own_weights_and_tokenizer(
    converter: Command, corpus_file: Path, tmp_path: Path, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tiny(FAMILIES[architecture])
    write_gguf(tmp_path / "tiny.gguf", plain, architecture)
    monkeypatch.chdir(tmp_path)
    ended = converter.made("tiny.gguf", "--corpus", corpus_file, "--quiet")
    assert (ended.out, ended.err) == ("tiny-clas\n", "")
    out = tmp_path / "tiny-clas"
    assert_same_bits(base_only(read_weights(out)), dict(plain.state_dict()))
    tokenizer = AutoTokenizer.from_pretrained(out)
    for text in ROWS[0].values():
        assert tokenizer(text)["input_ids"] == byte_tokenizer()(text)["input_ids"]
    tokens = torch.tensor([[72, 97, 108, 108, 111]])
    with torch.inference_mode():
        logits = AutoModelForCausalLM.from_pretrained(out)(tokens, language="en").logits
        assert torch.equal(logits, plain(tokens).logits)
    assert not {"dequantized", "tiny.gguf"} & names(out)
    assert "base_model" not in (out / "README.md").read_text()


def test_tied_embeddings_and_another_precision(converter: Command, corpus_file: Path, tmp_path: Path) -> None:
    plain = tiny(tie_word_embeddings=True)
    write_gguf(tmp_path / "tiny.gguf", plain, "llama", leave_out="lm_head.weight")
    options = ["--dtype", "bfloat16", "--out", tmp_path / "out"]
    converter.made(tmp_path / "tiny.gguf", "--corpus", corpus_file, *options)
    expected = {name: tensor.bfloat16() for name, tensor in plain.state_dict().items() if name != "lm_head.weight"}
    assert_same_bits(base_only(read_weights(tmp_path / "out")), expected)


def test_weights_are_dequantized_once(converter: Command, corpus_file: Path, tmp_path: Path) -> None:
    gguf = write_gguf(tmp_path / "tiny.gguf", tiny(), "llama")
    given = [gguf, "--corpus", corpus_file, "--out", tmp_path / "out"]
    run_elsewhere(given, Fate(tmp_path, words="weights:"))
    (kept,) = (staging_folder(tmp_path / "out") / "dequantized").iterdir()
    again = converter.made(*given)
    assert "Converting and de-quantizing" not in again.err
    assert "profile: finished by an earlier attempt" in again.err
    assert not kept.exists()


def test_changed_file_is_not_mistaken_for_the_one_before(tmp_path: Path) -> None:
    gguf = write_gguf(tmp_path / "tiny.gguf", tiny(), "llama")
    first = dequantize(gguf, tmp_path / "scratch", "auto")
    gguf.unlink()
    write_gguf(gguf, tiny(seed=1), "llama")
    second = dequantize(gguf, tmp_path / "scratch", "auto")
    assert first != second
    assert_same_bits(read_weights(second), dict(tiny(seed=1).state_dict()))


def cut(share: float) -> Callable[[bytes], bytes]:
    return lambda raw: raw[: int(len(raw) * share)]


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda raw: raw[:4], "a damaged GGUF file"),
        (lambda raw: raw[:20], "a damaged GGUF file"),
        (lambda raw: raw[:3000], "a damaged GGUF file"),
        (cut(0.5), "a damaged GGUF file"),
        (lambda raw: raw[:-1], "a damaged GGUF file"),
        (lambda raw: raw.replace(b"general.architecture", b"general.architexture"), "architecture None"),
        (lambda raw: raw.replace(b"blk.3.ffn_up.weight", b"blk.3.ffn_xx.weight"), "layers.3.mlp.up_proj.weight'"),
        (lambda raw: raw.replace(b"z z", b"z q"), "cannot be read as a GGUF model"),
    ],
)
def test_damaged_file(
    converter: Command, corpus_file: Path, tmp_path: Path, damage: Callable[[bytes], bytes], fault: str
) -> None:
    gguf = write_gguf(tmp_path / "tiny.gguf", tiny(), "llama")
    raw = gguf.read_bytes()
    gguf.write_bytes(damage(raw))
    assert gguf.read_bytes() != raw
    ended = converter(gguf, "--corpus", corpus_file, "--out", tmp_path / "out", "--quiet")
    assert (ended.status, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert fault in line
    assert "tiny.gguf" in line
    assert names(tmp_path) == {"tiny.gguf", "rows.jsonl"}


def test_other_architecture(converter: Command, corpus_file: Path, tmp_path: Path) -> None:
    gguf = write_gguf(tmp_path / "tiny.gguf", tiny(), "gptneox")
    message = converter.refused(gguf, "--corpus", corpus_file, "--out", tmp_path / "out")
    assert "tiny.gguf: GGUF architecture 'gptneox' is not supported; supported are llama, qwen2" in message
    assert names(tmp_path) == {"tiny.gguf", "rows.jsonl"}


TEMPLATES = [{"name": "default", "template": "{{ messages }}"}, {"name": "tool_use", "template": "tools {{ tools }}"}]


def test_every_chat_template_comes_along(converter: Command, corpus_file: Path, tmp_path: Path) -> None:
    gguf = write_gguf(tmp_path / "tiny.gguf", tiny(), "llama", more=lambda writer: writer.add_chat_template(TEMPLATES))
    converter.made(gguf, "--corpus", corpus_file, "--out", tmp_path / "out", "--quiet")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.chat_template == {each["name"]: each["template"] for each in TEMPLATES}
    chat = [{"role": "user", "content": "x"}]
    assert tokenizer.apply_chat_template(chat, chat_template="tool_use", tokenize=False) == "tools None"


@pytest.mark.parametrize(
    ("name", "more", "fault"),
    [
        ("tiny-00001-of-00003.gguf", None, "one part of a GGUF file that is split into 3; join them"),
        ("tiny.gguf", lambda w: w.add_uint16("split.count", 2), "one part of a GGUF file that is split into 2; join"),
        ("tiny.gguf", lambda w: w.add_type("adapter"), "a GGUF file of the type 'adapter', not a model; give the"),
        ("tiny.gguf", lambda w: w.add_expert_count(8), "a mixture of experts, which is not supported"),
        ("tiny.gguf", lambda w: w.add_tensor("cls.output.weight", torch.ones(2, 32).numpy()), "a classifier; give"),
    ],
)
def test_something_else_is_refused_by_its_header(
    converter: Command, tmp_path: Path, name: str, more: Callable[[GGUFWriter], Any] | None, fault: str
) -> None:
    gguf = write_gguf(tmp_path / name, tiny(), "llama", more=more)
    message = converter.refused(gguf, "--out", tmp_path / "out")
    assert message.startswith(f"{gguf}: {fault}")
    assert names(tmp_path) == {name}


def test_whole_file_may_say_that_it_is_one_of_one(converter: Command, corpus_file: Path, tmp_path: Path) -> None:
    whole = write_gguf(
        tmp_path / "tiny-00001-of-00001.gguf", tiny(), "llama", more=lambda w: w.add_uint16("split.count", 1)
    )
    converter.made(whole, "--corpus", corpus_file, "--out", tmp_path / "out", "--quiet")


def test_vocabulary_alone(converter: Command, tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "vocab.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert "without weights, a vocabulary alone" in converter.refused(tmp_path / "vocab.gguf", "--out", tmp_path / "o")


def test_full_disk_while_the_weights_are_written(corpus_file: Path, tmp_path: Path) -> None:
    gguf = write_gguf(tmp_path / "tiny.gguf", tiny(), "llama")
    given = [gguf, "--corpus", corpus_file, "--out", tmp_path / "out", "--quiet"]
    ended = run_elsewhere(given, Fate(tmp_path, largest_file=200_000))
    assert ended.status == 2
    (line,) = ended.err.splitlines()
    assert "File too large (os error 27); free or choose another disk" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("content", "answer"), [(b"GGUF\3\0\0\0", True), (b"GGML", False), (b"", False)])
def test_files_are_told_apart_by_their_first_bytes(tmp_path: Path, content: bytes, answer: bool) -> None:
    (tmp_path / "file").write_bytes(content)
    assert is_gguf(tmp_path / "file") is answer


@pytest.mark.real
@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL.name} is not in the cache")
def test_real_file(tmp_path: Path) -> None:
    folder = dequantize(REAL, tmp_path, "auto", quiet=True)
    model, tokenizer = (C.from_pretrained(folder) for C in (AutoModelForCausalLM, AutoTokenizer))
    tokens = model.generate(**tokenizer("The capital of France is", return_tensors="pt"), max_new_tokens=3)
    assert "Paris" in tokenizer.decode(tokens[0])
