"""Checkpoints with vectors: alone or beside masks, from a file or measured, chosen again without a forward pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bare_environment import make_bare_environment
from command import Command
from conftest import byte_tokenizer, tiny_plain
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from clas_models.conversion.source import PROFILE_NAME, VECTORS_NAME
from clas_models.conversion.staging import staging_folder
from clas_models.conversion.weights import fingerprint, read_shards
from clas_models.modeling.tensor_names import vectors_name
from clas_models.profiling.corpora import load_corpus
from clas_models.profiling.language_vectors import LanguageVectors
from clas_models.profiling.vector_measuring import measure_vectors

from .support import (
    LLAMA,
    ROWS,
    Fate,
    assert_same_bits,
    base_only,
    checkpoint_files,
    masks_only,
    names,
    read_weights,
    run_elsewhere,
    save_plain,
    write_corpus,
)  # fmt: skip

QUICK = ("--detector-corpus", "none")  # the built-in corpus would take seconds
FIGURES = {"neuron_categories.png", "neuron_categories.svg"}


@pytest.fixture
def measured(plain_folder: Path, corpus_file: Path, tmp_path: Path) -> Path:
    """A file of vectors of the model in `plain_folder`, of last tokens."""
    model = AutoModelForCausalLM.from_pretrained(plain_folder)
    own = fingerprint(read_shards(plain_folder))
    vectors = measure_vectors(model, byte_tokenizer(), load_corpus(str(corpus_file)), "en", fingerprint=own)
    vectors.save(tmp_path / "measured.safetensors")
    return tmp_path / "measured.safetensors"


def config(folder: Path) -> Any:
    return json.loads((folder / "config.json").read_text())


def tables(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in read_weights(folder).items() if name.endswith(".add.vectors")}


def expected(file: Path, layers: list[int], languages: list[str]) -> dict[str, torch.Tensor]:
    found = LanguageVectors.load(file).tables(layers, languages)
    return {vectors_name(layer): table for layer, table in found.items()}


# ---- what is made


def test_vectors_of_a_corpus_alone(plain_folder: Path, corpus_file: Path, converter: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = converter.made(plain_folder, "--vectors", corpus_file, "--vector-layers", "1,4", "--out", out)
    files = (checkpoint_files() | {VECTORS_NAME}) - {PROFILE_NAME, *FIGURES}
    assert names(out) - set(out.glob("model-*")) >= files
    assert {name for name in names(out) if not name.startswith("model-")} == files
    found = config(out)
    assert (found["languages"], found["bridge_layers"], found["vector_layers"]) == (["en", "de", "zh"], [], [1, 4])
    assert (found["vector_strength"], found["vector_positions"]) == (0.0, "all")
    assert LanguageVectors.load(out / VECTORS_NAME).state == "mean"
    assert_same_bits(tables(out), expected(out / VECTORS_NAME, [1, 4], found["languages"]))
    assert_same_bits(base_only(read_weights(out)), read_weights(plain_folder))
    assert "Added behind layers 1,4: vectors are " in ended.out
    assert "In force: vector strength 0 for every language, so nothing is steered: this is the base model" in ended.out
    assert "vector strength 1: text gets " in ended.out
    card = (out / "README.md").read_text()
    for fact in (
        "# plain with steering vectors",
        "| vector strength | 0 |",
        "| on which tokens | all |",
        "| measured on | rows.jsonl, 4 pairs of texts in en and each of de zh; a text stands for the mean over the",
        "| share of what parallel texts differ by, behind layer 4 | de ",
        "model.set_steering(vector_strength=…)",
        'language="de")     # vector strength 0: as the base model',
    ):
        assert fact in card
    assert "alpha" not in card


def test_vectors_of_a_file_act_on_the_tokens_that_they_were_measured_at(
    plain_folder: Path, measured: Path, converter: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    strength = ["--vector-strength", "de=-2,default=1.5"]
    ended = converter.made(plain_folder, *QUICK, "--vectors", measured, *strength, "--vector-layers", "2", "--out", out)
    assert (out / VECTORS_NAME).read_bytes() == measured.read_bytes()
    assert config(out)["vector_positions"] == "last"
    assert config(out)["vector_strength"] == {"de": -2.0, "default": 1.5}
    assert "In force: vector strength de -2, 1.5 for every other language" in ended.out
    model, plain = AutoModelForCausalLM.from_pretrained(out), tiny_plain(LLAMA)
    tokens = byte_tokenizer()("Die Katze", return_tensors="pt")["input_ids"].repeat(4, 1)
    mask = torch.ones_like(tokens)
    with torch.inference_mode():
        found = model(tokens, attention_mask=mask, language=["en", "de", "zh", "fr"]).logits
        same = [torch.equal(row, other) for row, other in zip(found, plain(tokens).logits, strict=True)]
        assert same == [True, False, False, True]
        model.set_vectors(LanguageVectors.load(measured).tables([2], ["en", "de", "zh"]), strength=-2, positions="last")
        assert torch.equal(model(tokens, attention_mask=mask, language="de").logits[1], found[1])


def test_the_layer_is_chosen_by_what_the_vectors_explain(
    plain_folder: Path, measured: Path, converter: Command, tmp_path: Path
) -> None:
    converter.made(plain_folder, *QUICK, "--vectors", measured, "--out", tmp_path / "out")
    shares = LanguageVectors.load(measured).explained.mean(0)
    assert config(tmp_path / "out")["vector_layers"] == [2 + int(shares[2:5].argmax())]
    assert "; the most in the middle half" in (tmp_path / "out" / "README.md").read_text()


def test_a_checkpoint_of_clas_keeps_all_that_it_has(
    steered_folder: Path, measured: Path, converter: Command, tmp_path: Path
) -> None:
    """Also masks that the profile would not give: here of other layers and another statistic."""
    first, out = tmp_path / "first", tmp_path / "out"
    options = ["--bridge-layers", "1,3", "--statistic", "frequency", "--alpha", "de=-2,default=1", "--gamma", "0.3"]
    converter.made(steered_folder, *options, "--out", first)
    ended = converter.made(first, *QUICK, "--vectors", measured, "--vector-layers", "2", "--out", out)
    assert_same_bits(masks_only(read_weights(out)), masks_only(read_weights(first)))
    assert (out / PROFILE_NAME).read_bytes() == (first / PROFILE_NAME).read_bytes()
    vectors = {"vector_layers": [2], "vector_strength": 0.0, "vector_positions": "last"}
    assert config(out) == {**config(first), **vectors}
    assert "In force: vector strength 0 for every language, so no vector is added; alpha de -2, 1 for " in ended.out
    assert "| masks | those of the source, as they are |" in (out / "README.md").read_text()
    assert "# first with CLAS and steering vectors" in (out / "README.md").read_text()
    plain = converter.made(steered_folder, *QUICK, "--vectors", measured, "--out", tmp_path / "default")
    assert "Agreement: two halves of the samples" in plain.out
    assert "; as in the source" in plain.out
    assert_same_bits(masks_only(read_weights(tmp_path / "default")), masks_only(read_weights(steered_folder)))


def test_both_at_once_and_one_after_the_other_are_the_same(
    plain_folder: Path, measured: Path, corpus_file: Path, converter: Command, tmp_path: Path
) -> None:
    given = [*QUICK, "--vectors", measured, "--vector-layers", "1", "--vector-strength", "2"]
    profiled = ["--corpus", corpus_file, "--alpha", "1"]
    converter.made(plain_folder, *given, *profiled, "--out", tmp_path / "both")
    converter.made(plain_folder, *given, "--out", tmp_path / "vectors")
    ended = converter.made(tmp_path / "vectors", *profiled, "--out", tmp_path / "then")
    assert "alpha 1, vector strength 2: text gets " in ended.out
    converter.made(plain_folder, *profiled, "--out", tmp_path / "masks")
    converter.made(tmp_path / "masks", *given, "--out", tmp_path / "last")
    for other in ("then", "last"):
        assert config(tmp_path / other) == config(tmp_path / "both")
        assert_same_bits(read_weights(tmp_path / other), read_weights(tmp_path / "both"))


def test_other_layers_and_strengths_without_a_forward_pass(
    plain_folder: Path, measured: Path, converter: Command, tmp_path: Path
) -> None:
    first, out = tmp_path / "first", tmp_path / "out"
    converter.made(
        plain_folder, *QUICK, "--vectors", measured, "--vector-layers", "2", "--vector-strength", "2", "--out", first
    )
    ended = converter.made(first, "--vector-layers", "0,5", "--vector-positions", "generated", "--out", out)
    assert "row/s" not in ended.err
    assert_same_bits(tables(out), expected(measured, [0, 5], ["en", "de", "zh"]))
    fields = {"vector_layers": [0, 5], "vector_positions": "generated"}
    assert config(out) == {**config(first), **fields}
    converter.made(out, "--vector-strength", "de=3", "--out", tmp_path / "third")
    assert config(tmp_path / "third") == {**config(out), "vector_strength": {"de": 3.0, "default": 2.0}}
    assert_same_bits(read_weights(tmp_path / "third"), read_weights(out))


def test_languages_without_a_vector_and_vectors_without_a_language_are_named(
    plain_folder: Path, measured: Path, converter: Command, tmp_path: Path
) -> None:
    rows = [{"en": row["en"], "de": row["de"], "hi": row["zh"]} for row in ROWS]
    corpus = write_corpus(tmp_path / "hindi.jsonl", rows)
    ended = converter.made(plain_folder, "--corpus", corpus, *QUICK, "--vectors", measured, "--out", tmp_path / "out")
    assert "warning: no vector for hi: rows in these languages are not moved" in ended.err
    assert "warning: vectors of zh are left out: the checkpoint does not have these languages" in ended.err
    (table,) = tables(tmp_path / "out").values()
    assert (table != 0).any(1).tolist() == [False, True, False]
    # They come back where the language does: the file has them.
    converter.made(tmp_path / "out", "--corpus", tmp_path / "rows.jsonl", "--out", tmp_path / "again")
    (table,) = tables(tmp_path / "again").values()
    assert (table != 0).any(1).tolist() == [False, True, True]


def test_measured_vectors_are_kept_for_the_next_attempt(
    plain_folder: Path, corpus_file: Path, converter: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = [plain_folder, "--vectors", corpus_file, "--out", out]
    run_elsewhere(arguments, Fate(tmp_path, words="weights:"))
    assert names(staging_folder(out)) >= {VECTORS_NAME, "vectors_request.json"}
    again = converter.made(*arguments, "--vector-strength", "1")
    assert "vectors: finished by an earlier attempt" in again.err
    assert "row/s" not in again.err
    assert "vectors_request.json" not in names(out)
    run_elsewhere([*arguments[:-1], tmp_path / "other"], Fate(tmp_path, words="weights:"))
    converter.made(plain_folder, "--corpus", corpus_file, "--out", tmp_path / "other")
    assert VECTORS_NAME not in names(tmp_path / "other"), "of an attempt at something else"


@pytest.mark.slow
def test_without_the_package(plain_folder: Path, measured: Path, converter: Command, tmp_path: Path) -> None:
    """The carried code alone gives the same bits, in batches of several languages."""
    out = tmp_path / "out"
    options = ["--vector-strength", "2", "--vector-positions", "all"]
    converter.made(plain_folder, *QUICK, "--vectors", measured, *options, "--out", out)
    script = (
        "import sys, torch; from safetensors.torch import save_file; from transformers import AutoModelForCausalLM\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code=True).eval()\n"
        "with torch.inference_mode():\n"
        "    logits = model(torch.arange(18).view(2, 9), language=['en', 'de']).logits\n"
        "save_file({'logits': logits}, sys.argv[2])"
    )
    environment = tmp_path / "bare"
    environment.mkdir()
    done = make_bare_environment(environment).run(script, out, tmp_path / "logits.safetensors")
    assert done.returncode == 0, done.stderr
    logits = load_file(tmp_path / "logits.safetensors")["logits"]
    with torch.no_grad():
        model, tokens = AutoModelForCausalLM.from_pretrained(out), torch.arange(18).view(2, 9)
        assert torch.equal(logits, model(tokens, language=["en", "de"]).logits)
        assert torch.equal(logits[0], tiny_plain(LLAMA)(tokens).logits[0])
        assert not torch.equal(logits[1], tiny_plain(LLAMA)(tokens).logits[1])


# ---- what is refused, each in a line and before the model is run


def change(**fields: Any) -> Callable[[LanguageVectors], LanguageVectors]:
    return lambda vectors: replace(vectors, **{name: make(vectors) for name, make in fields.items()})


def provenance(**fields: Any) -> Callable[[LanguageVectors], LanguageVectors]:
    return lambda vectors: replace(vectors, provenance=replace(vectors.provenance, **fields))


@pytest.mark.parametrize(
    ("damage", "options", "fault"),
    [
        (provenance(model_type="qwen2"), [], "vectors of another model"),
        (provenance(fingerprint="0"), [], "its fingerprint of the weights is 0"),
        (change(num_model_layers=lambda _: 7), [], "its number of layers is 7"),
        (change(sum=lambda v: v.sum[..., :8], sum_sq=lambda v: v.sum_sq[..., :8]), [], "its hidden size is 8"),
        (None, ["--anchor", "de"], "vectors that lead to en, and the anchor is de; give --anchor en"),
        (None, ["--vector-layers", "6"], "layer 6 in vector layers '6' is not in the model"),
        (None, ["--vector-layers", "x"], "cannot read 'x' in vector layers 'x'"),
        (change(layers=lambda _: (0, 1, 2, 3, 4), sum=lambda v: v.sum[:, 1:], sum_sq=lambda v: v.sum_sq[:, 1:]),
         ["--vector-layers", "5"], "the vectors are of layers 0-4, not of 5"),
        (None, ["--vector-positions", "first"], "--vector-positions: 'first'; allowed are last, generated, all"),
        (None, ["--vector-strength", "hi=2"], "vector_strength: 'hi' is not among the languages"),
        (None, ["--vector-strength", "en=2"], "the anchor language 'en' is never steered"),
        (None, ["--alpha", "1"], "--alpha is for neurons, and vectors alone rescale none"),
        (None, ["--bridge-layers", "2"], "--bridge-layers is for neurons"),
        (None, ["--languages", "hi"], "none of these has one"),
    ],
)  # fmt: skip
def test_vectors_that_do_not_fit(
    plain_folder: Path, measured: Path, converter: Command, tmp_path: Path, damage: Any, options: list[str], fault: str
) -> None:
    if damage is not None:
        damage(LanguageVectors.load(measured)).save(measured)
    assert fault in converter.refused(plain_folder, *QUICK, "--vectors", measured, *options, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda v: v.pairs.fill_(1), "1 pairs of texts in en and de: a vector needs at least 2"),
        (lambda v: v.sum.fill_(torch.nan), "tensor 'sum' holds values that are not finite"),
    ],
)
def test_vectors_that_are_damaged(
    plain_folder: Path, measured: Path, converter: Command, tmp_path: Path, damage: Any, fault: str
) -> None:
    vectors = LanguageVectors.load(measured)
    damage(vectors)
    vectors.save(measured)
    assert fault in converter.refused(plain_folder, *QUICK, "--vectors", measured, "--out", tmp_path / "out")
    measured.write_bytes(measured.read_bytes()[:99])
    message = converter.refused(plain_folder, *QUICK, "--vectors", measured, "--out", tmp_path / "out")
    assert "not a usable file of steering vectors" in message


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("belebele", "eval vectors {model} --task belebele --samples 50 --out FILE"),
        ("gone.safetensors", "gone.safetensors: no such file of steering vectors"),
        ("gone.jsonl", "gone.jsonl"),
        ("{plain}", "is a folder"),
        ("{one}", "1 row; a vector needs at least 2 pairs"),
        ("{alone}", "en is its only language"),
    ],
)
def test_sources_that_there_are_not(
    plain_folder: Path, converter: Command, tmp_path: Path, source: str, fault: str
) -> None:
    one = write_corpus(tmp_path / "one.jsonl", ROWS[:1])
    alone = write_corpus(tmp_path / "alone.jsonl", [{"en": row["en"]} for row in ROWS])
    source = source.format(plain=plain_folder, one=one, alone=alone)
    message = converter.refused(plain_folder, "--vectors", source, "--out", tmp_path / "out")
    assert fault.format(model=plain_folder) in message


@pytest.mark.parametrize(
    "option", [["--vector-layers", "2"], ["--vector-strength", "1"], ["--vector-positions", "all"]]
)
def test_options_for_vectors_that_nobody_gave(
    plain_folder: Path, steered_folder: Path, converter: Command, tmp_path: Path, option: list[str]
) -> None:
    for model in (plain_folder, steered_folder):
        message = converter.refused(model, *option, "--out", tmp_path / "out")
        assert "has no vectors whose layers, strength or tokens could be chosen; give some with --vectors" in message


def test_masks_that_would_be_made_anew_without_a_profile(
    steered_folder: Path, measured: Path, converter: Command, tmp_path: Path
) -> None:
    (steered_folder / PROFILE_NAME).unlink()
    message = converter.refused(steered_folder, *QUICK, "--vectors", measured, "--out", tmp_path / "out")
    assert "carries no neuron profile, so its masks would be made anew" in message


def test_another_model_s_checkpoint_is_not_moved_by_what_it_carries(
    plain_folder: Path, measured: Path, converter: Command, tmp_path: Path
) -> None:
    converter.made(plain_folder, *QUICK, "--vectors", measured, "--out", tmp_path / "out")
    other = save_plain(tmp_path / "other", seed=1)
    message = converter.refused(other, "--vectors", tmp_path / "out" / VECTORS_NAME, "--out", tmp_path / "third")
    assert "its fingerprint of the weights is " in message
