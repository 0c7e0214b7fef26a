"""From a plain checkpoint to a steered one and on to another, end to end through the command line."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command
from conftest import byte_tokenizer, tiny_plain
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from clas_models import FAMILIES
from clas_models.conversion.source import PROFILE_NAME
from clas_models.modeling.version import VERSION
from clas_models.profiling.categories import categorize
from clas_models.profiling.corpora import load_corpus
from clas_models.profiling.neuron_profile import TOTALS, NeuronProfile
from clas_models.profiling.profiler import profile_neurons

from .support import (
    QWEN2,
    ROWS,
    assert_same_bits,
    base_only,
    change_tensors,
    checkpoint_files,
    file_bytes,
    masks_only,
    names,
    read_weights,
    rewrite_json,
    run_main,
    save_plain,
    write_corpus,
)

TEXTS = [row[code] for row in ROWS for code in row]


@dataclass(frozen=True)
class Converted:
    """A plain checkpoint and what became of it."""

    family: Any
    dtype: torch.dtype
    plain: Path
    corpus: Path
    before: dict[str, bytes]
    out: Path


CASES = [
    ("llama", torch.float32, "1GB", {}),
    ("llama", torch.bfloat16, "30KB", {}),
    ("llama", torch.float32, "60KB", {"tie_word_embeddings": True}),
    ("qwen2", torch.float32, "60KB", {}),
    ("qwen2", torch.bfloat16, "1GB", {"tie_word_embeddings": True}),
]


@pytest.fixture(
    scope="module",
    params=CASES,
    ids=lambda case: "-".join([case[0], str(case[1])[6:], "single" if case[2] == "1GB" else "sharded", *case[3]]),
)
def converted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    name, dtype, shard_size, overrides = request.param
    family, folder = FAMILIES[name], tmp_path_factory.mktemp("conversion")
    plain = save_plain(folder / "plain", family, dtype, max_shard_size=shard_size, **overrides)
    assert ((plain / "model.safetensors").exists()) == (shard_size == "1GB")
    (plain / "LICENSE").write_text("as you like")
    (plain / "chat_template.jinja").write_text("{{ messages }}")
    (plain / "training_args.bin").write_bytes(b"a pickle that must not travel")
    GenerationConfig(max_new_tokens=7, top_k=3, do_sample=True).save_pretrained(plain)
    corpus = write_corpus(folder / "rows.jsonl")
    before = file_bytes(plain)
    given = [plain, "--corpus", corpus, "--out", folder / "out", "--alpha", "de=-2,default=1.5", "--gamma", "0.3"]
    assert run_main([*given, "--quiet"]) == 0
    return Converted(family, dtype, plain, corpus, before, folder / "out")


def test_source_stays_as_it_was(converted: Converted) -> None:
    assert file_bytes(converted.plain) == converted.before
    for path in converted.plain.iterdir():
        assert path.stat().st_nlink == 1


def test_base_tensors_keep_their_bits(converted: Converted) -> None:
    tensors = read_weights(converted.out)
    assert_same_bits(base_only(tensors), read_weights(converted.plain))
    index = json.loads((converted.out / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == tensors.keys()
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors.values())
    for name, shard in index["weight_map"].items():
        assert name in load_file(converted.out / shard)


def test_masks_are_those_of_the_profile_which_is_that_of_the_plain_model(converted: Converted) -> None:
    profile = NeuronProfile.load(converted.out / PROFILE_NAME)
    plain = AutoModelForCausalLM.from_pretrained(converted.plain, dtype=torch.float32)
    expected = profile_neurons(plain, byte_tokenizer(), load_corpus(str(converted.corpus)))
    for name in TOTALS:
        torch.testing.assert_close(getattr(profile, name), getattr(expected, name))
    shared, specific = categorize(expected).masks(3)
    masks = masks_only(read_weights(converted.out))
    assert_same_bits(
        masks, {"model.layers.3.mlp.scale.shared_mask": shared, "model.layers.3.mlp.scale.specific_mask": specific}
    )
    assert 0 < int(shared.sum()) < 48
    assert 0 < int(specific.sum()) < 48


def test_profile_says_where_it_comes_from(converted: Converted) -> None:
    provenance = NeuronProfile.load(converted.out / PROFILE_NAME).provenance
    assert provenance.model_type == converted.family.base
    assert provenance.corpus == ("rows.jsonl",)
    assert (provenance.samples, provenance.max_length, provenance.dtype) == (len(ROWS), 512, "float32")
    assert provenance.fingerprint


def test_config_is_the_base_model_s_with_the_steering_fields(converted: Converted) -> None:
    config = json.loads((converted.out / "config.json").read_text())
    expected = json.loads((converted.plain / "config.json").read_text())
    expected |= {
        "model_type": f"clas_{converted.family.base}",
        "architectures": [converted.family.causal_lm.__name__],
        "languages": ["en", "de", "zh"],
        "anchor_language": "en",
        "bridge_layers": [3],
        "alpha": {"de": -2.0, "default": 1.5},
        "beta": 0.4,
        "gamma": 0.3,
        "fitted": False,
        "language": None,
        "detector_languages": None,
        "auto_map": converted.family.config.code_map(),
        "clas_version": VERSION,
    }
    assert config == expected


def test_every_file_of_a_checkpoint_is_there_and_no_other(converted: Converted) -> None:
    found = names(converted.out)
    shards = {name for name in found if name.startswith("model-")}
    assert found - shards == checkpoint_files(converted.family) | {"LICENSE", "chat_template.jinja"}
    count = len(list(converted.plain.glob("model*.safetensors"))) + 1
    assert shards == {f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)}
    for name in ("LICENSE", "chat_template.jinja", "tokenizer.json", "generation_config.json"):
        assert (converted.out / name).read_bytes() == converted.before[name]
    # For a Qwen2 transformers takes no class but its own; see test_reading.py.
    named = {"tokenizer_class": "Qwen2Tokenizer"} if converted.family.base == "qwen2" else {}
    expected = {**json.loads(converted.before["tokenizer_config.json"]), **named}
    assert json.loads((converted.out / "tokenizer_config.json").read_text()) == expected
    assert (converted.out / "neuron_categories.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (converted.out / "neuron_categories.svg").read_text()
    modes = {path.stat().st_mode for path in converted.out.iterdir()}
    assert len(modes) == 1, "one may be read by others, another not"


def test_output_loads_and_leaves_the_anchor_language_alone(converted: Converted) -> None:
    plain = AutoModelForCausalLM.from_pretrained(converted.plain).eval()
    steered = AutoModelForCausalLM.from_pretrained(converted.out).eval()
    assert type(steered) is converted.family.causal_lm
    assert steered.dtype == plain.dtype == converted.dtype
    assert steered.generation_config.top_k == 3
    tokens = byte_tokenizer()("Die Katze schläft auf dem Tisch.", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        expected = plain(tokens).logits
        assert torch.equal(steered(tokens, language="en").logits, expected)
        others = {code: steered(tokens, language=code).logits for code in ("de", "zh", "fr")}
    assert not torch.equal(others["de"], expected)
    assert not torch.equal(others["de"], others["zh"])
    assert torch.equal(others["fr"], others["zh"])  # both have the default strength


def test_tokenizer_of_the_output_is_that_of_the_base_model(converted: Converted) -> None:
    base, output = (AutoTokenizer.from_pretrained(folder) for folder in (converted.plain, converted.out))
    assert [output(text) for text in TEXTS] == [base(text) for text in TEXTS]
    assert output.get_vocab() == base.get_vocab()
    assert output.special_tokens_map == base.special_tokens_map
    assert output.chat_template == base.chat_template == "{{ messages }}"


def test_summary_ends_with_three_lines_that_run(
    plain_folder: Path, corpus_file: Path, converter: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(plain_folder.parent)
    ended = converter.made("plain", "--corpus", corpus_file)
    assert "4 samples in each of 3 languages" in ended.out
    assert "Bridge layer 3: partial-shared" in ended.out
    assert "of the neurons as shared" in ended.out
    code = [line[4:] for line in ended.out.splitlines() if line.startswith("    ")][-3:]
    printed: list[str] = []
    exec("\n".join(code), {"print": printed.append})
    assert printed[0].startswith("…")
    assert "profiling: 100%" in ended.err
    assert "weights: 100%" in ended.err
    assert "checking what was written" in ended.err


# --- a steered checkpoint given again ---------------------------------------------------------------------------------


def expected_masks(profile: NeuronProfile, layers: list[int], *settings: Any) -> dict[str, torch.Tensor]:
    categories = categorize(profile, *settings)
    pairs = {layer: categories.masks(layer) for layer in layers}
    kinds = ("shared_mask", "specific_mask")
    return {f"model.layers.{layer}.mlp.scale.{kinds[i]}": pairs[layer][i] for layer in layers for i in (0, 1)}


def test_steered_checkpoint_gets_new_masks_from_its_profile(
    steered_folder: Path, converter: Command, tmp_path: Path
) -> None:
    options = ["--bridge-layers", "0,2-3", "--statistic", "mean_abs", "--threshold", "0.5", "--languages", "zh"]
    options += ["--alpha", "zh=-1,default=0", "--beta", "-0.5", "--gamma", "1e-1"]
    ended = converter.made(steered_folder, "--out", tmp_path / "again", *options)
    assert f"profile: {steered_folder / PROFILE_NAME}, no forward pass needed" in ended.err
    assert "profiling" not in ended.err
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert (config["languages"], config["bridge_layers"]) == (["en", "zh"], [0, 2, 3])
    assert (config["alpha"], config["beta"], config["gamma"]) == ({"zh": -1.0, "default": 0.0}, -0.5, 0.1)
    before, after = read_weights(steered_folder), read_weights(tmp_path / "again")
    assert_same_bits(base_only(after), base_only(before))
    profile = NeuronProfile.load(steered_folder / PROFILE_NAME).select(["en", "zh"])
    assert_same_bits(masks_only(after), expected_masks(profile, [0, 2, 3], "mean_abs", 0.5))
    assert NeuronProfile.load(tmp_path / "again" / PROFILE_NAME).languages == ("en", "zh")


def test_new_masks_need_neither_tokenizer_nor_corpus(
    steered_folder: Path, corpus_file: Path, converter: Command, tmp_path: Path
) -> None:
    """Without a tokenizer, no text could ever reach the model."""
    for path in steered_folder.glob("tokenizer*"):
        path.unlink()
    message = converter.refused(steered_folder, "--corpus", corpus_file, "--out", tmp_path / "profiled")
    assert "steered: its tokenizer cannot be loaded" in message
    converter.made(steered_folder, "--bridge-layers", "1", "--out", tmp_path / "again")
    assert masks_only(read_weights(tmp_path / "again"))["model.layers.1.mlp.scale.shared_mask"].any()


def test_steered_checkpoint_can_be_profiled_anew_and_is_profiled_unsteered(
    steered_folder: Path, corpus_file: Path, converter: Command, tmp_path: Path
) -> None:
    ended = converter.made(steered_folder, "--corpus", corpus_file, "--out", tmp_path / "again")
    assert "profiling: 100%" in ended.err
    old, new = (NeuronProfile.load(folder / PROFILE_NAME) for folder in (steered_folder, tmp_path / "again"))
    for name in TOTALS:
        assert torch.equal(getattr(old, name), getattr(new, name))


@pytest.mark.parametrize("shard_size", ["1GB", "60KB"])
def test_steered_model_that_was_loaded_and_saved_again(
    steered_folder: Path, converter: Command, tmp_path: Path, shard_size: str
) -> None:
    """Then masks and weights lie in the same files."""
    saved = tmp_path / "saved"
    AutoModelForCausalLM.from_pretrained(steered_folder).save_pretrained(saved, max_shard_size=shard_size)
    byte_tokenizer().save_pretrained(saved)
    shutil.copy(steered_folder / PROFILE_NAME, saved)
    together = [path for path in saved.glob("model*.safetensors") if any("_mask" in name for name in load_file(path))]
    assert len(load_file(together[0])) > 2
    converter.made(saved, "--bridge-layers", "1-2", "--out", tmp_path / "again")
    weights = read_weights(tmp_path / "again")
    assert_same_bits(base_only(weights), base_only(read_weights(steered_folder)))
    profile = NeuronProfile.load(saved / PROFILE_NAME)
    assert_same_bits(masks_only(weights), expected_masks(profile, [1, 2]))
    index = json.loads((tmp_path / "again" / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == weights.keys()
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in weights.values())


def test_masks_alone_in_a_shard_are_left_behind(steered_folder: Path, converter: Command, tmp_path: Path) -> None:
    converter.made(steered_folder, "--bridge-layers", "2", "--out", tmp_path / "again")
    assert sorted(path.name for path in (tmp_path / "again").glob("model-*")) == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]


# --- options ----------------------------------------------------------------------------------------------------------


def test_profile_from_a_file(plain_folder: Path, steered_folder: Path, converter: Command, tmp_path: Path) -> None:
    profile = tmp_path / "kept.safetensors"
    shutil.move(steered_folder / PROFILE_NAME, profile)
    ended = converter.made(
        plain_folder, "--profile", profile, "--detector-corpus", "none", "--alpha", "1", "--out", tmp_path / "out"
    )
    assert "profiling" not in ended.err
    assert_same_bits(masks_only(read_weights(tmp_path / "out")), masks_only(read_weights(steered_folder)))
    cards = [(folder / "README.md").read_text() for folder in (tmp_path / "out", steered_folder)]
    # Only the one that was made with a forward pass has measured what steering does to plain text.
    new, old = (re.sub(r"(?s)(## Plain text\n).*?(## Evaluation)", r"\1\2", card) for card in cards)
    assert cards[0] != cards[1]
    assert new == old


@pytest.mark.parametrize(
    ("family", "overrides", "difference"),
    [
        ("llama", {"seed": 1}, "its fingerprint of the weights"),
        ("llama", {"num_hidden_layers": 5}, "its number of layers is 6, that of"),
        ("llama", {"intermediate_size": 40}, "its number of neurons in a layer is 48, that of"),
        ("qwen2", {}, "its model type is llama, that of"),
    ],
)
def test_profile_of_another_model(
    steered_folder: Path,
    converter: Command,
    tmp_path: Path,
    family: str,
    overrides: dict[str, Any],
    difference: str,
) -> None:
    other = save_plain(tmp_path / "other", FAMILIES[family], **overrides)
    given = [other, "--profile", steered_folder / PROFILE_NAME, "--out", tmp_path / "out"]
    message = converter.refused(*given)
    assert f"{PROFILE_NAME}: a profile of another model" in message
    assert difference in message


def test_steered_checkpoint_whose_profile_is_another_s(
    steered_folder: Path, converter: Command, tmp_path: Path
) -> None:
    path = min(steered_folder.glob("model-*.safetensors"))
    change_tensors(path, lambda tensors: tensors["model.layers.2.mlp.up_proj.weight"][0, 0].add_(1))
    assert "a profile of another model" in converter.refused(steered_folder, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        (
            ["--languages", "zh,en", "--bridge-layers", "0-1,3", "--alpha", "-2"],
            {"languages": ["zh", "en"], "bridge_layers": [0, 1, 3], "alpha": -2.0},
        ),
        (
            ["--anchor", "DE", "--languages", "zh,EN", "--beta", "0", "--gamma", "-1e-3"],
            {"anchor_language": "de", "languages": ["de", "zh", "en"], "beta": 0.0, "gamma": -0.001},
        ),
    ],
    ids=["languages", "languages-beside-the-anchor"],
)
def test_options_in_the_config(
    plain_folder: Path, corpus_file: Path, tmp_path: Path, options: list[str], fields: dict[str, Any]
) -> None:
    assert run_main([plain_folder, "--corpus", corpus_file, "--out", tmp_path / "out", "--quiet", *options]) == 0
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert {name: config[name] for name in fields} == fields


@pytest.mark.parametrize("settings", [("frequency", 0.6), ("mean", -0.02)])
def test_statistic_and_threshold_decide_the_masks(
    plain_folder: Path, corpus_file: Path, steered_folder: Path, tmp_path: Path, settings: tuple[str, float]
) -> None:
    options = ["--statistic", settings[0], "--threshold", str(settings[1]), "--quiet"]
    assert run_main([plain_folder, "--corpus", corpus_file, "--out", tmp_path / "out", *options]) == 0
    profile = NeuronProfile.load(steered_folder / PROFILE_NAME)
    masks = masks_only(read_weights(tmp_path / "out"))
    assert_same_bits(masks, expected_masks(profile, [3], *settings))
    assert not torch.equal(masks["model.layers.3.mlp.scale.shared_mask"], categorize(profile).masks(3)[0])


def test_samples_length_and_precision_of_the_profile(plain_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    options = ["--samples", "2", "--max-length", "9", "--dtype", "bfloat16", "--batch-size", "1", "--device", "cpu"]
    assert run_main([plain_folder, "--corpus", corpus_file, "--out", tmp_path / "out", "--quiet", *options]) == 0
    profile = NeuronProfile.load(tmp_path / "out" / PROFILE_NAME)
    assert profile.tokens.tolist() == [18, 18, 18]
    assert (profile.provenance.samples, profile.provenance.max_length) == (2, 9)
    assert profile.provenance.dtype == "bfloat16"


@pytest.mark.parametrize(("layers", "warned"), [("3", False), ("3-4", True)])
def test_one_of_the_last_two_layers_is_warned_of(
    steered_folder: Path, converter: Command, tmp_path: Path, layers: str, warned: bool
) -> None:
    ended = converter.made(steered_folder, "--bridge-layers", layers, "--out", tmp_path / "out")
    warnings = [line for line in ended.err.splitlines() if line.startswith("warning: bridge layers")]
    assert bool(warnings) == warned
    assert all("of the last two of 6 layers" in line for line in warnings)


def test_default_output_is_named_after_the_model(
    plain_folder: Path, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, converter: Command
) -> None:
    monkeypatch.chdir(plain_folder)
    assert converter.made(".", "--corpus", corpus_file, "--quiet").out == "plain-clas\n"
    monkeypatch.chdir(tmp_path)
    shutil.move(plain_folder / "plain-clas", tmp_path / "other-clas")
    assert converter.made(f"{plain_folder}/", "--corpus", corpus_file, "--quiet").out == "plain-clas\n"
    # A steered checkpoint's own name is not made longer.
    message = converter.refused("plain-clas")
    assert "plain-clas: MODEL and --out are the same folder" in message


def test_overwrite_replaces_a_steered_checkpoint(
    plain_folder: Path, corpus_file: Path, converter: Command, tmp_path: Path, steered_folder: Path
) -> None:
    (steered_folder / "old").touch()
    given = [plain_folder, "--corpus", corpus_file, "--bridge-layers", "0", "--out", steered_folder]
    assert "exists already; give another --out, or --overwrite" in converter.refused(*given)
    converter.made(*given, "--overwrite")
    assert masks_only(read_weights(steered_folder)).keys() == expected_masks_of_layer_0()
    assert not (steered_folder / "old").exists()
    assert "not a steered checkpoint" in converter.refused(*given[:-1], plain_folder.parent, "--overwrite")


def expected_masks_of_layer_0() -> set[str]:
    return {"model.layers.0.mlp.scale.shared_mask", "model.layers.0.mlp.scale.specific_mask"}


def test_remote_code_of_the_source_makes_way_for_the_code_that_steers(
    plain_folder: Path, corpus_file: Path, tmp_path: Path, converter: Command
) -> None:
    (plain_folder / "x.py").touch()
    rewrite_json(plain_folder / "config.json", lambda config: config.update(auto_map={"AutoConfig": "x.Y"}, note=1))
    converter.made(plain_folder, "--corpus", corpus_file, "--out", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["auto_map"]["AutoConfig"] == "clas_llama.ClasLlamaConfig"
    assert config["note"] == 1
    assert not (tmp_path / "out" / "x.py").exists()


@pytest.mark.slow
def test_builtin_corpus_is_the_default(tmp_path: Path, converter: Command) -> None:
    plain = save_plain(tmp_path / "plain", QWEN2, num_hidden_layers=3)
    converter.made(plain, "--out", tmp_path / "out", "--samples", "3", "--max-length", "8")
    profile = NeuronProfile.load(tmp_path / "out" / PROFILE_NAME)
    assert profile.provenance.corpus == ("builtin",)
    assert len(profile.languages) == 16
    assert tiny_plain(QWEN2, num_hidden_layers=3).num_parameters() == sum(
        tensor.numel() for tensor in base_only(read_weights(tmp_path / "out")).values()
    )
