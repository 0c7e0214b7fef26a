"""Percentiles in a checkpoint: in the pass of the profile, in one of their own, carried on, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from command import Command

from clas_models.conversion import quantile_step
from clas_models.conversion.source import PROFILE_NAME, QUANTILES_NAME
from clas_models.conversion.staging import staging_folder
from clas_models.profiling.neuron_profile import NeuronProfile
from clas_models.profiling.neuron_quantiles import SITES, NeuronQuantiles

from .support import ROWS, checkpoint_files, save_plain, write_corpus


def assert_same(one: Path, other: Path) -> None:
    first, second = (NeuronQuantiles.load(folder / QUANTILES_NAME) for folder in (one, other))
    assert first.languages == second.languages
    for site in SITES:
        assert all(torch.equal(held, getattr(second.at(site), name)) for name, held in first.at(site).tensors.items())


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith("model-")}


@pytest.fixture
def quantified(converter: Command, plain_folder: Path, corpus_file: Path, tmp_path: Path) -> Path:
    """A checkpoint with quantiles of the profiling pass."""
    out = tmp_path / "quantified"
    ended = converter.made(plain_folder, "--corpus", corpus_file, "--quantiles", "--out", out)
    assert "Quantiles of activations: P5, P10, P25, P50, P75, P90, P95, of " in ended.out
    assert "quantiles: 100%" not in ended.err, "no pass of their own"
    return out


def test_they_are_made_in_the_pass_of_the_profile(quantified: Path, steered_folder: Path) -> None:
    assert names(quantified) == checkpoint_files() | {QUANTILES_NAME}
    profile, found = (
        NeuronProfile.load(quantified / PROFILE_NAME), NeuronQuantiles.load(quantified / QUANTILES_NAME)
    )  # fmt: skip
    assert found.languages == profile.languages == ("en", "de", "zh")
    assert found.provenance == profile.provenance
    assert torch.equal(found.tokens, profile.tokens)
    # They change nothing of the profile, and nobody has them who did not ask.
    assert torch.equal(profile.sum, NeuronProfile.load(steered_folder / PROFILE_NAME).sum)
    assert QUANTILES_NAME not in names(steered_folder)


def test_a_finished_profile_gets_them_in_a_pass_of_their_own(
    converter: Command, steered_folder: Path, quantified: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the profile knows its corpus as rows.jsonl
    out = tmp_path / "later"
    ended = converter.made(steered_folder, "--quantiles", "--out", out)
    assert "no forward pass needed" in ended.err
    assert "quantiles: 100%" in ended.err
    assert_same(out, quantified)
    assert (out / PROFILE_NAME).read_bytes() == (steered_folder / PROFILE_NAME).read_bytes()


def test_they_are_carried_on_with_their_profile(
    converter: Command, quantified: Path, corpus_file: Path, tmp_path: Path
) -> None:
    converter.made(quantified, "--out", tmp_path / "again", "--quiet")
    assert_same(tmp_path / "again", quantified)
    converter.made(quantified, "--languages", "zh", "--out", tmp_path / "fewer", "--quiet")
    assert NeuronQuantiles.load(tmp_path / "fewer" / QUANTILES_NAME).languages == ("en", "zh")
    converter.made(quantified, "--corpus", corpus_file, "--out", tmp_path / "anew", "--quiet")
    assert QUANTILES_NAME not in names(tmp_path / "anew"), "of another pass"


def test_what_was_finished_is_not_made_again(
    converter: Command, steered_folder: Path, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    # Quantiles are made before the vectors, whose corpus cannot be read to its end.
    converter.refused(steered_folder, "--quantiles", "--gamma", "nan", "--out", out)
    assert not staging_folder(out).exists()

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("clas_models.conversion.conversion.obtain_detector", broken)
        assert converter(steered_folder, "--quantiles", "--out", out, "--quiet").status != 0
    assert {QUANTILES_NAME, "quantiles_request.json"} <= names(staging_folder(out))
    with monkeypatch.context() as patch:
        patch.setattr(quantile_step, "_made", broken)
        converter.made(steered_folder, "--quantiles", "--out", out, "--quiet")
    assert "quantiles_request.json" not in names(out)


# -- what is refused -----------------------------------------------------------------------------------------------


def test_a_corpus_that_is_gone(
    converter: Command, steered_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    said = converter.refused(steered_folder, "--quantiles", "--quiet", "--out", tmp_path / "out")
    assert "--quantiles: the corpus of the profile cannot be read again: " in said
    assert said.endswith("; or profile again, with --corpus")


def test_a_corpus_that_has_changed(
    converter: Command, steered_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path / "rows.jsonl", [{**row, "de": f"{row['de']} Ja."} for row in ROWS])
    said = converter.refused(steered_folder, "--quantiles", "--quiet", "--out", tmp_path / "out")
    assert "corpus rows.jsonl holds other text than the profile was made from; profile again, with --corpus" in said


def test_vectors_alone_have_none(converter: Command, plain_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    said = converter.refused(plain_folder, "--vectors", corpus_file, "--quantiles", "--out", tmp_path / "out")
    assert "--quantiles are of neurons, and vectors alone need none" in said


def test_quantiles_of_another_model(converter: Command, quantified: Path, corpus_file: Path, tmp_path: Path) -> None:
    other = save_plain(tmp_path / "other", seed=1)
    converter.made(other, "--corpus", corpus_file, "--out", tmp_path / "wrong", "--quiet")
    shutil.copy(quantified / QUANTILES_NAME, tmp_path / "wrong")
    said = converter.refused(tmp_path / "wrong", "--quiet", "--out", tmp_path / "out")
    assert f"{QUANTILES_NAME}: quantiles of another model" in said
    assert "--quantiles" in said


def test_other_forms_have_none(converter: Command, quantified: Path, tmp_path: Path) -> None:
    said = converter.refused(quantified, "--format", "ia3", "--quantiles", "--out", tmp_path / "out")
    assert "quantiles" in said
    converter.made(quantified, "--format", "folded", "--language", "de", "--out", tmp_path / "folded", "--quiet",
                   "--alpha", "1")  # fmt: skip
    assert QUANTILES_NAME not in names(tmp_path / "folded")
    assert "quantiles" not in json.loads((tmp_path / "folded" / "config.json").read_text())
