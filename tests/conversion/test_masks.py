"""What guards the masks of a conversion: too few neurons, too much chance, and masks of one's own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from clas_models.conversion.chosen_masks import ChosenMasks
from clas_models.conversion.mask_file import RECORD_NAME, load_masks, save_masks
from clas_models.conversion.source import PROFILE_NAME
from clas_models.errors import InputError
from clas_models.modeling.tensor_names import mask_name
from clas_models.profiling.agreement import Agreement
from clas_models.profiling.neuron_profile import HALVES, NeuronProfile

from .support import assert_same_bits, change_tensors, masks_only, names, read_weights

SPREAD = torch.arange(48)
OWN = {1: (SPREAD < 9, SPREAD > 40), 4: (SPREAD % 5 == 0, SPREAD % 5 == 3)}
TENSORS = {mask_name(layer, kind): mask for layer, pair in OWN.items() for kind, mask in zip(
    ("shared_mask", "specific_mask"), pair, strict=True)}  # fmt: skip


def warnings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("warning: ")]


# --- how many are steered ---------------------------------------------------------------------------------------------


def few(count: int) -> ChosenMasks:
    """`count` of 1000 neurons."""
    shared = torch.arange(1000) < count // 2
    specific = (torch.arange(1000) < count) & ~shared
    return ChosenMasks({3: (shared, specific)}, "mean of the activation above 7")


def test_few_neurons_are_warned_of() -> None:
    assert list(few(50).warnings()) == []
    (warning,) = few(49).warnings()
    assert warning == "only 4.9% of the bridge layers' neurons are steered (mean of the activation above 7)"


@pytest.mark.parametrize("statistic", ["mean", "mean_abs", "frequency"])
def test_next_to_nothing_to_steer_is_refused(
    steered_folder: Path, converter: Command, tmp_path: Path, statistic: str
) -> None:
    options = ["--statistic", statistic, "--threshold", "1000", "--quiet", "--out", tmp_path / "out"]
    message = converter.refused(steered_folder, *options)
    assert "bridge layers 3: 0.0% of the neurons would be steered, fewer than 1%, if active means " in message
    assert f"{statistic} of the activation above 1000; choose another --threshold (without one: {statistic} " in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("statistic", ["mean", "mean_abs", "frequency"])
def test_every_statistic_has_something_to_steer(
    steered_folder: Path, converter: Command, tmp_path: Path, statistic: str
) -> None:
    ended = converter.made(steered_folder, "--statistic", statistic, "--out", tmp_path / "out")
    assert not any("only" in warning for warning in warnings(ended.err))
    card = (tmp_path / "out" / "README.md").read_text()
    limits = {"mean": "0", "mean_abs": "the median of its layer", "frequency": "0.5"}
    assert f"| active means | {statistic} of the activation above {limits[statistic]} |" in card


# --- how much is chance -----------------------------------------------------------------------------------------------


def test_agreement_is_told_and_stays_known(steered_folder: Path, converter: Command, tmp_path: Path) -> None:
    """Also for other thresholds, from the profile that a checkpoint carries."""
    said = []
    for statistic in ("mean", "frequency"):
        ended = converter.made(steered_folder, "--statistic", statistic, "--out", tmp_path / statistic)
        (line,) = [line for line in ended.out.splitlines() if line.startswith("Agreement: ")]
        assert "two halves of the samples give the same category to " in line
        assert f"| stability | {line.removeprefix('Agreement: ')} |" in (tmp_path / statistic / "README.md").read_text()
        said.append(line)
    assert said[0] != said[1]


def test_low_agreement_is_warned_of() -> None:
    masks = replace(few(500), agreement=Agreement(0.5, 0.3))
    (warning,) = masks.warnings()
    assert "much of the masks is chance" in warning
    assert "50.0% of the neurons, by chance 30.0%; kappa 0.29" in warning
    assert list(replace(masks, agreement=Agreement(0.8, 0.3)).warnings()) == []


def test_a_profile_without_halves_says_not_known(steered_folder: Path, converter: Command, tmp_path: Path) -> None:
    profile = NeuronProfile.load(steered_folder / PROFILE_NAME)
    replace(profile, **dict.fromkeys(HALVES)).save(steered_folder / PROFILE_NAME)
    ended = converter.made(steered_folder, "--out", tmp_path / "out")
    assert "Agreement: not known: the profile does not tell two halves of its samples apart" in ended.out
    assert warnings(ended.err) == []


# --- masks of one's own -----------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Path:
    save_masks(tmp_path / "own.safetensors", OWN)
    return tmp_path / "own.safetensors"


def test_what_is_saved_is_loaded(own: Path) -> None:
    masks, record = load_masks(own, 6, 48)
    assert list(masks) == [1, 4]
    assert all(torch.equal(a, b) for layer in OWN for a, b in zip(masks[layer], OWN[layer], strict=True))
    assert (record.file, record.sha256) == ("own.safetensors", hashlib.sha256(own.read_bytes()).hexdigest())
    with pytest.raises(ValueError, match="layer 2: shared_mask and specific_mask overlap"):
        save_masks(own, {2: (SPREAD < 9, SPREAD < 2)})


@pytest.mark.parametrize("source", ["steered", "plain"])
def test_own_masks_are_steered_with(
    steered_folder: Path,
    plain_folder: Path,
    corpus_file: Path,
    own: Path,
    converter: Command,
    tmp_path: Path,
    source: str,
) -> None:
    given = [steered_folder] if source == "steered" else [plain_folder, "--corpus", corpus_file]
    out = tmp_path / "out"
    ended = converter.made(*given, "--masks", own, "--out", out)
    assert_same_bits(masks_only(read_weights(out)), TENSORS)
    assert json.loads((out / "config.json").read_text())["bridge_layers"] == [1, 4]
    assert AutoModelForCausalLM.from_pretrained(out).steering.neurons == {1: (9, 7), 4: (10, 9)}
    digest = hashlib.sha256(own.read_bytes()).hexdigest()
    card = (out / "README.md").read_text()
    assert f"| masks | the user's own, from own.safetensors (SHA-256 {digest}) |" in card
    assert "| steered there | 19.8% of the neurons as shared, 16.7% as language-specific |" in card
    assert "| stability | not known: the masks are the user's own |" in card
    assert f"Masks: the user's own, from own.safetensors (SHA-256 {digest})" in ended.out
    assert str(tmp_path) not in card
    assert RECORD_NAME in names(out)


def test_a_conversion_that_does_not_take_own_masks_over_says_so(
    steered_folder: Path, own: Path, converter: Command, tmp_path: Path
) -> None:
    converter.made(steered_folder, "--masks", own, "--out", tmp_path / "first")
    ended = converter.made(tmp_path / "first", "--alpha", "2", "--out", tmp_path / "second")
    assert "note: the masks that it was given are not taken over; give them again with --masks" in ended.err
    assert RECORD_NAME not in names(tmp_path / "second")
    ended = converter.made(tmp_path / "first", "--masks", own, "--alpha", "2", "--out", tmp_path / "third")
    assert "not taken over" not in ended.err
    assert_same_bits(masks_only(read_weights(tmp_path / "third")), TENSORS)


def rename(tensors: dict[str, Tensor], old: str, new: str) -> None:
    tensors[new] = tensors.pop(old)


FIRST, SECOND = mask_name(1, "shared_mask"), mask_name(1, "specific_mask")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda t: t.pop(SECOND), "no 'model.layers.1.mlp.scale.specific_mask', though the layer's other mask"),
        (lambda t: t.update(weight=torch.ones(1)), "'weight' is no mask of a model with 6 layers"),
        (lambda t: rename(t, FIRST, mask_name(6, "shared_mask")), "layers.6.mlp.scale.shared_mask' is no mask"),
        (lambda t: t.update({FIRST: OWN[1][0].to(torch.uint8)}), "layer 1: shared_mask is torch.uint8 [48]"),
        (lambda t: t.update({FIRST: OWN[1][0][:47].clone()}), "layer 1: shared_mask is torch.bool [47]"),
        (lambda t: t.update({FIRST: SPREAD > 20}), "layer 1: shared_mask and specific_mask overlap in 7 neurons"),
        (lambda t: [mask.zero_() for mask in t.values()], "no neuron is in any mask"),
        (lambda t: t.clear(), "no neuron is in any mask"),
    ],
)  # fmt: skip
def test_masks_that_cannot_be_used(
    steered_folder: Path, own: Path, converter: Command, tmp_path: Path, change: Callable[[Any], Any], fault: str
) -> None:
    tensors = {name: mask.clone() for name, mask in TENSORS.items()}
    change(tensors)
    save_file(tensors, own)
    message = converter.refused(steered_folder, "--masks", own, "--out", tmp_path / "out")
    assert message.startswith(f"--masks {own}: ")
    assert fault in message
    assert not (tmp_path / "out").exists()


def test_files_that_hold_no_masks(steered_folder: Path, own: Path, converter: Command, tmp_path: Path) -> None:
    assert "no such file" in converter.refused(steered_folder, "--masks", tmp_path / "none", "--out", tmp_path / "out")
    own.write_bytes(own.read_bytes()[:50])
    assert f"--masks {own}: " in converter.refused(steered_folder, "--masks", own, "--out", tmp_path / "out")


@pytest.mark.parametrize("option", [["--bridge-layers", "3"], ["--statistic", "frequency"], ["--threshold", "0"]])
def test_own_masks_leave_nothing_to_choose(
    steered_folder: Path, own: Path, converter: Command, tmp_path: Path, option: list[str]
) -> None:
    message = converter.refused(steered_folder, "--masks", own, *option, "--out", tmp_path / "out")
    assert "--masks says which neurons of which layers are steered; leave out" in message


@pytest.mark.parametrize("form", [["folded", "--language", "de"], ["ia3"]])
def test_a_checkpoint_with_masks_that_overlap_is_not_exported(
    steered_folder: Path, converter: Command, tmp_path: Path, form: list[str]
) -> None:
    index = json.loads((steered_folder / "model.safetensors.index.json").read_text())["weight_map"]
    shard = steered_folder / index[mask_name(3, "shared_mask")]
    change_tensors(shard, lambda tensors: tensors[mask_name(3, "shared_mask")].fill_(True))
    message = converter.refused(steered_folder, "--format", *form, "--out", tmp_path / "out")
    assert "layer 3: shared_mask and specific_mask overlap in " in message


def test_load_masks_needs_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; a file holds "):
        load_masks(tmp_path, 6, 48)
