"""Checkpoints with fitted strengths: put in from a file, kept by later conversions, dropped where others are asked
for, exported, and refused.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command
from conftest import tiny_plain
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from clas_models.conversion.conversion import plan
from clas_models.conversion.export_record import read_record
from clas_models.conversion.formats.export import export
from clas_models.conversion.formats.options import ExportOptions
from clas_models.conversion.mask_file import RECORD_NAME
from clas_models.conversion.options import ConversionOptions
from clas_models.conversion.source import PROFILE_NAME, STRENGTHS_NAME, VECTORS_NAME, open_source
from clas_models.conversion.verification import verify
from clas_models.errors import VerificationError
from clas_models.modeling.tensor_names import DETECTOR_PREFIX, is_added, mask_name
from clas_models.profiling.fitted_strengths import FittedStrengths
from clas_models.profiling.neuron_profile import NeuronProfile, Provenance

from .support import (
    LLAMA,
    QWEN2,
    assert_same_bits,
    base_only,
    change_tensors,
    file_bytes,
    names,
    read_weights,
    rewrite_json,
    run_main,
    save_plain,
    write_corpus,
)

ALPHA = {"de": 1.0, "default": 0.0}  # for Chinese nothing was gained
TOKENS = torch.randint(0, 256, (4, 9), generator=torch.Generator().manual_seed(7))
MIXED = ["en", "de", "zh", "fr"]
TABLE, MASK = mask_name(3, "fitted_strengths"), mask_name(1, "all_shared_mask")


def fitted_to(folder: Path) -> FittedStrengths:
    """Strengths of layers 1 and 3 for a tiny steered checkpoint in English, German and Chinese."""
    source, noise = open_source(str(folder), folder / "scratch"), torch.Generator().manual_seed(5)
    strengths = torch.randn(2, 4, 4, generator=noise) / 2
    strengths[:, 0] = 0
    provenance = Provenance(
        model="steered",
        model_type=source.family.model_type,
        fingerprint=source.fingerprint,
        corpus=("xnli", "belebele"),
        samples=24,
        max_length=512,
        dtype="float32",
        digests=("ab",),
        versions={},
    )
    return FittedStrengths(
        languages=("en", "de", "zh"),
        anchor="en",
        layers=(1, 3),
        num_model_layers=6,
        strengths=strengths,
        categories=torch.randint(0, 4, (2, 48), generator=noise, dtype=torch.uint8),
        alpha=ALPHA,
        provenance=provenance,
        fit={"objective": "likelihood", "steps": 40, "trace": [1.0, 0.5]},
    )


@pytest.fixture(scope="session")
def _rich_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rich")
    corpus = write_corpus(folder / "rows.jsonl")
    save_plain(folder / "plain", max_shard_size="60KB")
    given = ["--corpus", corpus, "--vectors", corpus, "--vector-layers", "2", "--vector-strength", "0.5"]
    more = ["--detector-corpus", "builtin", "--alpha", "de=-2,default=1", "--out", folder / "steered", "--quiet"]
    assert run_main([folder / "plain", *given, *more]) == 0
    fitted_to(folder / "steered").save(folder / "strengths.safetensors")
    assert run_main([
        folder / "steered", "--strengths", folder / "strengths.safetensors", "--out", folder / "fitted", "--quiet"
    ]) == 0  # fmt: skip
    return folder


@pytest.fixture
def steered(_rich_once: Path, tmp_path: Path) -> Path:
    """A tiny Llama with masks in layer 3, a profile, a detector, and a vector after layer 2."""
    return Path(shutil.copytree(_rich_once / "steered", tmp_path / "steered"))


@pytest.fixture
def file(_rich_once: Path, tmp_path: Path) -> Path:
    """Strengths that were fitted to it."""
    return Path(shutil.copy(_rich_once / "strengths.safetensors", tmp_path / "strengths.safetensors"))


@pytest.fixture
def fitted(_rich_once: Path, tmp_path: Path) -> Path:
    """What a conversion makes of both."""
    return Path(shutil.copytree(_rich_once / "fitted", tmp_path / "fitted"))


def config(folder: Path) -> Any:
    return json.loads((folder / "config.json").read_text())


def of_rule(folder: Path) -> dict[str, Tensor]:
    """Masks and strengths."""
    return {name: tensor for name, tensor in read_weights(folder).items() if ".mlp.scale." in name}


def of_others(folder: Path) -> dict[str, Tensor]:
    """What steering added beside them: vectors and the detector."""
    return {name: tensor for name, tensor in read_weights(folder).items() if is_added(name) and ".scale." not in name}


def expected_of_rule(found: FittedStrengths) -> dict[str, Tensor]:
    expected = {}
    for row, layer in enumerate(found.layers):
        expected[mask_name(layer, "fitted_strengths")] = found.strengths[row]
        for mask, category in (("specific_mask", 1), ("shared_mask", 2), ("all_shared_mask", 3)):
            expected[mask_name(layer, mask)] = found.categories[row] == category
    return expected


def logits(model: Any, language: Any = MIXED) -> Tensor:
    with torch.inference_mode():
        return model(TOKENS, language=language).logits


# ---- what is made


def test_strengths_take_the_place_of_the_masks_and_all_else_stays(fitted: Path, steered: Path, file: Path) -> None:
    found = FittedStrengths.load(file)
    assert_same_bits(of_rule(fitted), expected_of_rule(found))
    assert_same_bits(base_only(read_weights(fitted)), base_only(read_weights(steered)))
    assert_same_bits(of_others(fitted), of_others(steered))
    assert sum(name.startswith(DETECTOR_PREFIX) for name in of_others(fitted)) == 3
    assert names(fitted) == names(steered) | {STRENGTHS_NAME}
    assert (fitted / STRENGTHS_NAME).read_bytes() == file.read_bytes()
    for name in (PROFILE_NAME, VECTORS_NAME):
        assert (fitted / name).read_bytes() == (steered / name).read_bytes()
    assert config(fitted) == {**config(steered), "fitted": True, "bridge_layers": [1, 3], "alpha": ALPHA}
    weight_map = json.loads((fitted / "model.safetensors.index.json").read_text())["weight_map"]
    assert len({weight_map[name] for name in of_rule(fitted)}) == 1
    assert weight_map.keys() == read_weights(fitted).keys()


def test_it_is_the_model_that_was_given_these_strengths(fitted: Path, steered: Path, file: Path) -> None:
    loaded, found = AutoModelForCausalLM.from_pretrained(fitted), FittedStrengths.load(file)
    model = AutoModelForCausalLM.from_pretrained(steered, alpha=ALPHA)
    model.set_fitted(found.tables(), found.categories_by_layer())
    assert loaded.steering == model.steering
    everywhere = torch.ones_like(TOKENS, dtype=torch.bool)
    for vector_strength in (0.5, 0.0):
        outputs = []
        for each in (loaded, model):
            each.set_steering(vector_strength=vector_strength)
            with torch.inference_mode():
                outputs.append(each(TOKENS, language=MIXED, positions=everywhere).logits)
        assert torch.equal(*outputs)
    plain = tiny_plain(LLAMA)(TOKENS).logits
    assert [torch.equal(row, other) for row, other in zip(outputs[0], plain, strict=True)] == [True, False, True, True]


def test_it_says_what_is_in_force(steered: Path, file: Path, converter: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = converter.made(steered, "--strengths", file, "--out", out)
    told = (
        "fitted on 24 examples a language of xnli, belebele: 2 layers, 4 languages with that of all others, 4 "
        "categories (objective likelihood, steps 40)"
    )
    assert f"Strengths: {told}" in ended.out
    (bridge,) = [line for line in ended.out.splitlines() if line.startswith("Bridge layers 1,3")]
    assert bridge.endswith("; those of the fitted strengths")
    assert "In force: alpha de 1, 0 for every other language, the base model; fitted strengths; vector " in ended.out
    assert "no forward pass needed" in ended.err
    assert "not taken over" not in ended.err
    card = (out / "README.md").read_text()
    for fact in (
        f"| strengths | {told} |",
        "| alpha | de 1, default 0 |",
        "| beta, gamma | not used: the strengths are fitted |",
        "| masks | those that the strengths were fitted to |",
        "A neuron is multiplied by 1 + alpha s, where s is a number for its layer, its category and the\nlanguage; "
        "`fitted_strengths.safetensors` holds",
    ):
        assert fact in card
    assert "1 + alpha beta" not in card
    assert str(tmp_path) not in card


@pytest.mark.parametrize(
    ("given", "alpha"),
    [
        ("2", 2.0),
        ("de=0.5,default=1", {"de": 0.5, "default": 1.0}),
        ("zh=0.5", {"zh": 0.5, "default": 0.0}),  # its own default stays
    ],
)
def test_an_alpha_of_the_user_takes_the_place_of_the_file_s(
    steered: Path, file: Path, converter: Command, tmp_path: Path, given: str, alpha: Any
) -> None:
    converter.made(steered, "--strengths", file, "--alpha", given, "--out", tmp_path / "out")
    assert config(tmp_path / "out")["alpha"] == alpha


def test_languages_that_a_file_says_nothing_of_are_not_steered(
    steered: Path, file: Path, converter: Command, tmp_path: Path
) -> None:
    replace(FittedStrengths.load(file), alpha={"zh": 0.5}).save(file)
    converter.made(steered, "--strengths", file, "--out", tmp_path / "out")
    assert config(tmp_path / "out")["alpha"] == {"zh": 0.5, "default": 0.0}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_rounds_no_strength(converter: Command, tmp_path: Path, dtype: torch.dtype) -> None:
    plain, corpus = save_plain(tmp_path / "plain", QWEN2, dtype), write_corpus(tmp_path / "rows.jsonl")
    converter.made(plain, "--corpus", corpus, "--out", tmp_path / "steered")
    found = fitted_to(tmp_path / "steered")
    found.save(tmp_path / "file")
    converter.made(tmp_path / "steered", "--strengths", tmp_path / "file", "--out", tmp_path / "out")
    assert_same_bits(of_rule(tmp_path / "out"), expected_of_rule(found))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.dtype == dtype
    assert all(torch.equal(table, found.tables()[layer]) for layer, table in model.fitted_strengths.items())
    assert not torch.equal(logits(model, "de"), logits(model, "en"))


def test_factors_below_0_are_warned_of(steered: Path, file: Path, converter: Command, tmp_path: Path) -> None:
    assert "warning" not in converter.made(steered, "--strengths", file, "--out", tmp_path / "one").err
    ended = converter.made(steered, "--strengths", file, "--alpha", "-40", "--out", tmp_path / "two")
    assert "warning: strengths turn the sign of neurons, with factors below 0: de (alpha -40): " in ended.err


def test_masks_of_one_s_own_are_in_the_strengths(steered: Path, file: Path, converter: Command, tmp_path: Path) -> None:
    """The categories travel with the strengths, so nothing of them is lost."""
    save_file(of_rule(steered), tmp_path / "own.safetensors")
    converter.made(steered, "--masks", tmp_path / "own.safetensors", "--out", tmp_path / "first")
    ended = converter.made(tmp_path / "first", "--strengths", file, "--out", tmp_path / "second")
    assert "not taken over" not in ended.err
    assert RECORD_NAME in names(tmp_path / "first")
    assert RECORD_NAME not in names(tmp_path / "second")


def test_a_strength_that_was_changed_on_the_way_is_found(fitted: Path, tmp_path: Path) -> None:
    source = open_source(str(fitted), tmp_path)
    made = plan(ConversionOptions(str(fitted)), source, NeuronProfile.load(fitted / PROFILE_NAME)).checkpoint
    (tmp_path / "out").mkdir()
    made.write(tmp_path / "out")
    verify(tmp_path / "out", made)
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())["weight_map"]

    def round_table(tensors: dict[str, Tensor]) -> None:
        tensors[TABLE] = tensors[TABLE].bfloat16()

    change_tensors(tmp_path / "out" / index[TABLE], round_table)
    with pytest.raises(VerificationError, match=f"the tensor '{TABLE}' came back changed"):
        verify(tmp_path / "out", made)


# ---- converted again


@pytest.mark.parametrize(
    "options",
    [
        [],
        pytest.param(["--detector-corpus", "builtin"], marks=pytest.mark.slow),  # a table in 32 languages is made
        ["--detector-corpus", "none"],
        ["--vector-layers", "3", "--vector-strength", "2"],
        ["--vectors", "rows"],
        ["--language", "de"],
    ],
)
def test_strengths_stay_where_others_are_not_asked_for(
    fitted: Path, corpus_file: Path, converter: Command, tmp_path: Path, options: list[str]
) -> None:
    given = [str(corpus_file) if option == "rows" else option for option in options]
    ended = converter.made(fitted, *given, "--out", tmp_path / "out")
    assert "fitted strengths are not taken over" not in ended.err
    assert_same_bits(of_rule(tmp_path / "out"), of_rule(fitted))
    assert (tmp_path / "out" / STRENGTHS_NAME).read_bytes() == (fitted / STRENGTHS_NAME).read_bytes()
    found = config(tmp_path / "out")
    assert (found["fitted"], found["bridge_layers"], found["alpha"]) == (True, [1, 3], ALPHA)
    assert "| strengths | fitted on 24 examples" in (tmp_path / "out" / "README.md").read_text()


def test_without_options_it_is_the_same_again(fitted: Path, converter: Command, tmp_path: Path) -> None:
    converter.made(fitted, "--out", tmp_path / "out")
    assert config(tmp_path / "out") == config(fitted)
    assert_same_bits(read_weights(tmp_path / "out"), read_weights(fitted))


def test_another_alpha_of_what_stays(fitted: Path, converter: Command, tmp_path: Path) -> None:
    converter.made(fitted, "--alpha", "zh=0.5", "--out", tmp_path / "out")
    assert config(tmp_path / "out")["alpha"] == {"zh": 0.5, "default": 0.0}
    assert_same_bits(of_rule(tmp_path / "out"), of_rule(fitted))


def test_other_strengths_take_their_place(fitted: Path, file: Path, converter: Command, tmp_path: Path) -> None:
    first = FittedStrengths.load(file)
    other = replace(first, strengths=first.strengths * 2, layers=(0, 2), alpha={"default": 1.0})
    other.save(file)
    converter.made(fitted, "--strengths", file, "--out", tmp_path / "out")
    assert_same_bits(of_rule(tmp_path / "out"), expected_of_rule(other))
    assert (tmp_path / "out" / STRENGTHS_NAME).read_bytes() == file.read_bytes()
    assert config(tmp_path / "out")["alpha"] == {"default": 1.0}


@pytest.mark.parametrize(
    ("options", "alpha"),
    [
        (["--bridge-layers", "2"], 0.0),
        (["--beta", "0.5"], 0.0),
        (["--gamma", "0"], 0.0),
        (["--statistic", "frequency"], 0.0),
        (["--bridge-layers", "2", "--alpha", "1.5"], 1.5),
    ],
)
def test_the_paper_s_strengths_again_where_they_are_asked_for(
    fitted: Path, steered: Path, converter: Command, tmp_path: Path, options: list[str], alpha: float
) -> None:
    """As from the checkpoint of before, with the base model in force until somebody has measured another alpha."""
    ended = converter.made(fitted, *options, "--out", tmp_path / "out")
    note = "note: its fitted strengths are not taken over, others are asked for; give them again with --strengths"
    assert note in ended.err
    converter.made(steered, *options, "--alpha", str(alpha), "--out", tmp_path / "expected")
    assert config(tmp_path / "out") == {**config(tmp_path / "expected"), "alpha": alpha}
    assert config(tmp_path / "out")["fitted"] is False
    assert_same_bits(read_weights(tmp_path / "out"), read_weights(tmp_path / "expected"))
    assert names(tmp_path / "out") == names(tmp_path / "expected")
    assert "| strengths |" not in (tmp_path / "out" / "README.md").read_text()


def test_a_checkpoint_of_other_languages_does_not_have_them(
    fitted: Path, corpus_file: Path, converter: Command, tmp_path: Path
) -> None:
    for given in (["--languages", "de"], ["--corpus", corpus_file]):
        out = tmp_path / given[0]
        ended = converter.made(fitted, *given, "--out", out)
        assert "its fitted strengths are not taken over" in ended.err
        assert STRENGTHS_NAME not in names(out)
        assert (config(out)["fitted"], config(out)["alpha"]) == (False, 0.0)


def test_a_folder_that_is_there_stays_unless_it_shall_be_replaced(
    steered: Path, file: Path, fitted: Path, converter: Command
) -> None:
    other = replace(FittedStrengths.load(file), alpha={"default": 0.25})
    other.save(file)
    before = file_bytes(fitted)
    said = converter.refused(steered, "--strengths", file, "--out", fitted)
    assert "exists already" in said
    assert file_bytes(fitted) == before
    converter.made(steered, "--strengths", file, "--out", fitted, "--overwrite")
    assert config(fitted)["alpha"] == {"default": 0.25}
    assert (fitted / STRENGTHS_NAME).read_bytes() == file.read_bytes()
    converter.made(steered, "--out", fitted, "--overwrite")
    assert STRENGTHS_NAME not in names(fitted)
    assert config(fitted)["fitted"] is False


# ---- what is refused, in a line and before the model is run


def test_a_plain_model(plain_folder: Path, file: Path, converter: Command, tmp_path: Path) -> None:
    said = converter.refused(plain_folder, "--strengths", file, "--out", tmp_path / "out")
    assert said == (
        f"{plain_folder}: a plain checkpoint, and strengths are fitted on a steered one; give that as MODEL"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "option",
    [
        ["--corpus", "builtin"],
        ["--profile", "FILE"],
        ["--masks", "FILE"],
        ["--languages", "de"],
        ["--threshold", "0"],
        ["--beta", "0.4"],
        ["--gamma", "0"],
        ["--bridge-layers", "3"],
        ["--statistic", "frequency"],
    ],
)
def test_strengths_leave_nothing_to_choose(
    steered: Path, file: Path, converter: Command, tmp_path: Path, option: list[str]
) -> None:
    said = converter.refused(steered, "--strengths", file, *option, "--out", tmp_path / "out")
    assert said.startswith("--strengths says which ")
    assert option[0] in said.partition("; leave out ")[2]
    assert not (tmp_path / "out").exists()


def test_an_export_has_no_use_for_them(steered: Path, file: Path, converter: Command) -> None:
    said = converter.refused(steered, "--format", "ia3", "--strengths", file)
    assert said.startswith("--format ia3 has no use for --strengths: ")


def changed(**fields: Any) -> Callable[[FittedStrengths], FittedStrengths]:
    return lambda strengths: replace(strengths, **fields)


def provenance(**fields: Any) -> Callable[[FittedStrengths], FittedStrengths]:
    return lambda strengths: replace(strengths, provenance=replace(strengths.provenance, **fields))


def with_anchor(strengths: FittedStrengths) -> FittedStrengths:
    table = strengths.strengths.clone()
    table[:, 1] = 0
    return replace(strengths, anchor="de", strengths=table, alpha={"default": 1.0})


@pytest.mark.parametrize(
    ("damage", "options", "fault"),
    [
        (changed(languages=("en", "de", "hi")), [], "strengths for en, de, hi (anchor en), and "),
        (changed(languages=("en", "de", "hi")), [], "has en, de, zh (anchor en); fit them again, on this checkpoint"),
        (changed(languages=("en", "zh", "de")), [], "strengths for en, zh, de (anchor en), and "),
        (with_anchor, [], "strengths for en, de, zh (anchor de), and "),
        (None, ["--anchor", "de"], "strengths with the anchor en, not de; give --anchor en"),
        (provenance(fingerprint="0"), [], "strengths of another model (steered): its fingerprint of the weights is 0"),
        (provenance(model_type="clas_qwen2"), [], "strengths of another model (steered): its model type is qwen2"),
        (changed(num_model_layers=7), [], "strengths of another model (steered): its number of layers is 7, that of "),
        (changed(categories=torch.zeros(2, 40).byte()), [], "its number of neurons in a layer is 40, that of "),
        (None, ["--alpha", "hi=1"], "alpha: 'hi' is not among the languages"),
    ],
)  # fmt: skip
def test_strengths_that_do_not_fit(
    steered: Path, file: Path, converter: Command, tmp_path: Path, damage: Any, options: list[str], fault: str
) -> None:
    if damage is not None:
        damage(FittedStrengths.load(file)).save(file)
    assert fault in converter.refused(steered, "--strengths", file, *options, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_strengths_of_weights_that_nobody_knows_may_be_of_this_model(
    steered: Path, file: Path, converter: Command, tmp_path: Path
) -> None:
    provenance(fingerprint=None)(FittedStrengths.load(file)).save(file)
    converter.made(steered, "--strengths", file, "--out", tmp_path / "out")


def test_files_that_hold_no_strengths(steered: Path, file: Path, converter: Command, tmp_path: Path) -> None:
    given = ["--out", tmp_path / "out", "--strengths"]
    none = tmp_path / "none.safetensors"
    said = converter.refused(steered, *given, none)
    assert said == f"{none}: no such file of fitted strengths; make one with `clas-eval fit`"
    profile = steered / PROFILE_NAME
    said = converter.refused(steered, *given, profile)
    assert said == (
        f"{profile}: not a usable file of fitted strengths: it is a safetensors file, but not a file of fitted "
        "strengths"
    )
    change_tensors(file, lambda tensors: tensors["strengths"].fill_(1.0))  # which takes its description away
    assert "not a file of fitted strengths" in converter.refused(steered, *given, file)
    file.write_bytes(file.read_bytes()[:50])
    assert f"{file}: not a usable file of fitted strengths: " in converter.refused(steered, *given, file)


def test_a_steered_checkpoint_without_a_profile(steered: Path, file: Path, converter: Command, tmp_path: Path) -> None:
    """Also one that only adds vectors: nothing of it would say what the strengths act on."""
    (steered / PROFILE_NAME).unlink()
    vectors_alone = Path(shutil.copytree(steered, tmp_path / "vectors"))
    rewrite_json(vectors_alone / "config.json", lambda fields: fields.update(bridge_layers=[]))
    for folder in (steered, vectors_alone):
        said = converter.refused(folder, "--strengths", file, "--out", tmp_path / "out")
        assert said == (
            f"{folder}: carries no neuron profile, which a checkpoint with fitted strengths has; give the one that was "
            "converted"
        )


def test_strengths_of_which_nothing_says_how_they_were_fitted(
    fitted: Path, file: Path, converter: Command, tmp_path: Path
) -> None:
    """As in a checkpoint that a loaded model has written."""
    (fitted / STRENGTHS_NAME).unlink()
    said = converter.refused(fitted, "--vector-strength", "1", "--out", tmp_path / "out")
    assert said == (
        f"{fitted}: its strengths are fitted, and the file that says how is not in its folder; give them with "
        "--strengths, or --bridge-layers for strengths of the paper"
    )
    converter.made(fitted, "--strengths", file, "--out", tmp_path / "again")
    assert STRENGTHS_NAME in names(tmp_path / "again")
    converter.made(fitted, "--bridge-layers", "3", "--out", tmp_path / "paper")
    assert config(tmp_path / "paper")["fitted"] is False


# ---- other forms


@pytest.fixture
def scaled(fitted: Path) -> Path:
    """It without vectors, which a scaling cannot hold, and for every language."""
    fields = {"vector_strength": 0.0, "alpha": {"de": 1.0, "default": -0.5}}
    rewrite_json(fitted / "config.json", lambda config: config.update(fields))
    return fitted


def test_folded_is_the_steered_model_in_a_language(scaled: Path, tmp_path: Path) -> None:
    made = export(ExportOptions(str(scaled), "folded", tmp_path / "out", "zh"))
    assert made.difference.relative < 1e-4
    assert made.difference.effect > 100 * made.difference.absolute
    model, folded = (AutoModelForCausalLM.from_pretrained(folder) for folder in (scaled, tmp_path / "out"))
    with torch.inference_mode():
        found = folded(TOKENS).logits
    torch.testing.assert_close(found, logits(model, "zh"), rtol=0, atol=1e-4)
    assert (found - logits(model, "de")).abs().max() > 0.1
    record = read_record(tmp_path / "out")
    assert record is not None
    assert (record.fitted, record.bridge_layers, record.alpha) == (True, (1, 3), {"zh": -0.5})


def test_folded_columns_are_rounded_once(scaled: Path, file: Path, tmp_path: Path) -> None:
    export(ExportOptions(str(scaled), "folded", tmp_path / "out", "de", alpha=2.0))
    before, after, found = read_weights(scaled), read_weights(tmp_path / "out"), FittedStrengths.load(file)
    expected = base_only(before)
    for layer, table in found.tables().items():
        name = f"model.layers.{layer}.mlp.down_proj.weight"
        factor = 1 + 2 * table[1].double()[found.categories_by_layer()[layer].long()]
        expected[name] = (expected[name].double() * factor.float().double()).float()
    assert_same_bits(after, expected)


def test_adapters_are_the_steered_model_in_each_language(scaled: Path, converter: Command, tmp_path: Path) -> None:
    ended = converter.made(scaled, "--format", "ia3", "--out", tmp_path / "out")
    assert "In layers 1,3: alpha de 1, zh -0.5; fitted strengths" in ended.out
    assert "logits differ from the steered model's by at most" in ended.out
    peft = pytest.importorskip("peft")
    model = AutoModelForCausalLM.from_pretrained(scaled)
    plain = tiny_plain(LLAMA)
    plain.save_pretrained(tmp_path / "plain")
    for language in ("de", "zh"):
        base = AutoModelForCausalLM.from_pretrained(tmp_path / "plain")
        adapted = peft.PeftModel.from_pretrained(base, tmp_path / "out" / language).eval()
        with torch.inference_mode():
            found = adapted(TOKENS).logits
        torch.testing.assert_close(found, logits(model, language), rtol=0, atol=1e-4)
        assert (found - plain(TOKENS).logits).abs().max() > 0.1
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| beta, gamma | not used: the strengths are fitted |" in card


def test_a_control_vector_cannot_rescale(fitted: Path, converter: Command, tmp_path: Path) -> None:
    given = [fitted, "--format", "control-vector", "--vector-positions", "all", "--out", tmp_path / "out"]
    rewrite_json(fitted / "config.json", lambda fields: fields.update(beta=0.0, gamma=0.0))
    said = converter.refused(*given)
    assert "also rescales neurons, which a control vector cannot; give --alpha 0 for the vectors alone" in said
    converter.made(*given, "--alpha", "0")


@pytest.mark.parametrize("form", [["folded", "--language", "de"], ["ia3"]])
@pytest.mark.parametrize("strength", ["--beta", "--gamma"])
def test_beta_and_gamma_are_no_part_of_an_export(
    scaled: Path, converter: Command, tmp_path: Path, form: list[str], strength: str
) -> None:
    said = converter.refused(scaled, "--format", *form, strength, "0.9", "--out", tmp_path / "out")
    assert f"{strength[2:]}: 0.9, but the checkpoint's strengths are fitted" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda tensors: tensors.update({TABLE: torch.zeros(4, 4).half()}), "torch.float16 [4, 4], expected torch.fl"),
        (lambda tensors: tensors.update({TABLE: torch.zeros(5, 4)}), "fitted strengths are torch.float32 [5, 4]"),
        (lambda tensors: tensors[TABLE].fill_(1.0), "layer 3: the strengths of the anchor en are not 0"),
        (lambda tensors: tensors[MASK].fill_(True), "layer 1: shared_mask and specific_mask overlap in "),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", [["folded", "--language", "de"], ["ia3"]])
def test_damaged_strengths_are_not_exported(
    scaled: Path, converter: Command, tmp_path: Path, form: list[str], damage: Any, fault: str
) -> None:
    index = json.loads((scaled / "model.safetensors.index.json").read_text())["weight_map"]
    assert index[TABLE] == index[MASK]
    change_tensors(scaled / index[TABLE], damage)
    assert fault in converter.refused(scaled, "--format", *form, "--out", tmp_path / "out")


@pytest.mark.parametrize("name", [TABLE, MASK])
def test_missing_strengths_are_not_exported(scaled: Path, converter: Command, tmp_path: Path, name: str) -> None:
    index = scaled / "model.safetensors.index.json"
    shard = scaled / json.loads(index.read_text())["weight_map"][name]
    change_tensors(shard, lambda tensors: tensors.pop(name))
    rewrite_json(index, lambda found: found["weight_map"].pop(name))
    said = converter.refused(scaled, "--format", "ia3", "--out", tmp_path / "out")
    assert f"no tensor {name!r}, which its configuration promises" in said
