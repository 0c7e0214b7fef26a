"""The command `neurons`: its numbers against plain loops over the masks, its files, and what it refuses."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command
from conversion.support import run_main as convert
from run_helpers import (  # noqa: F401
    contents,
    data_fixture,
    evaluation_fixture,
    save_plain,
    steered_fixture,
    templates_fixture,
)

from clas_models.profiling.neuron_quantiles import SITES
from clas_models.profiling.selection import Selection
from clas_models.profiling.selections import select
from eval.analysis.neuron_numbers import activation_statistics, agreement, numbers_of
from eval.loading import open_checkpoint

SELECT = "lape:top_rate=0.2,activation_percentile=0.8,filter_percentile=0.8,probability:top_rate=0.05,categories"
LAPE, PROBABILITY, CATEGORIES = (
    "lape:top_rate=0.2,activation_percentile=0.8,filter_percentile=0.8", "probability:top_rate=0.05", "categories",
)  # fmt: skip


@pytest.fixture(scope="module")
def quantified(steered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint with quantiles of the rows that it was profiled on."""
    out = tmp_path_factory.mktemp("quantified") / "tiny"
    corpus = steered.with_name("steered-sources") / "rows.jsonl"
    given = ["--corpus", corpus, "--detector-corpus", "none", "--bridge-layers", "2,3", "--quantiles", "--quiet"]
    assert convert([steered.with_name("steered-sources") / "plain", *given, "--out", out]) == 0
    return out


def selection(masks: Sequence[Any], languages: Sequence[str], like: Selection) -> Selection:
    tensor = torch.tensor(masks, dtype=torch.bool)
    return Selection(tuple(languages), tuple(range(tensor.shape[1])), tensor, like.origin)


@pytest.fixture
def some(quantified: Path) -> Selection:
    return select("categories", open_checkpoint(str(quantified)).known())


# -- numbers -------------------------------------------------------------------------------------------------------


def test_numbers_by_hand(some: Selection) -> None:
    one = selection([[[1, 1, 0], [0, 0, 1]], [[0, 1, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]], ("en", "de", "zh"), some)
    found = numbers_of(one)
    assert found.counts == (3, 2, 0)
    assert found.overlap == ((3, 1, 0), (1, 2, 0), (0, 0, 0))
    assert found.by_layer == ((2, 1), (2, 0), (0, 0))
    assert found.distinct == 4
    other = selection(
        [[[1, 0, 0], [0, 1, 1]], [[0, 0, 0], [0, 0, 0]], [[1, 0, 0], [0, 0, 0]]], ("en", "zh", "sw"), some
    )
    by_language, total = agreement(one, other)
    assert by_language == {"en": 0.5, "zh": None}  # 2 of 4; nothing in either
    assert total == 0.5


def test_statistics_are_averages_over_neurons(quantified: Path) -> None:
    known = open_checkpoint(str(quantified)).known()
    assert known.quantiles is not None
    found = activation_statistics(known)
    assert list(found) == list(SITES)
    for row, code in enumerate(known.profile.languages):
        means = {"gate": known.profile.gate_sum, "activated": known.profile.total("act_sum")}
        for site, total in means.items():
            each = [value / int(known.profile.tokens[row]) for value in total[row].flatten().tolist()]
            assert found[site][code]["mean"] == pytest.approx(sum(each) / len(each))
            p90 = known.quantiles.of(code, 90, site).flatten().tolist()
            assert found[site][code]["P90"] == pytest.approx(sum(p90) / len(p90))
            assert list(found[site][code]) == ["mean", "P5", "P10", "P25", "P50", "P75", "P90", "P95"]


# -- the command ---------------------------------------------------------------------------------------------------


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open(encoding="utf-8")))


def test_every_file_and_the_numbers_in_it(quantified: Path, evaluation: Command, tmp_path: Path) -> None:
    out = tmp_path / "report"
    ended = evaluation.made("neurons", quantified, "--select", SELECT, "--out", out)
    assert ended.out.splitlines()[-1] == f"Tables, figures and the page: {out / 'neurons.html'}"
    known = open_checkpoint(str(quantified)).known()
    table = rows(out / "tables" / "neurons-by-language.csv")
    for number, text in enumerate((LAPE, PROBABILITY, CATEGORIES), start=1):
        expected = select(text, known)
        counts = {row["language"]: int(row["neurons"]) for row in table if row["selection"] == text}
        assert counts == expected.counts()
        [file] = (out / "selections").glob(f"{number}-*.safetensors")
        assert torch.equal(Selection.load(file).masks, expected.masks)
        for row in rows(next((out / "tables").glob(f"overlap-{number}-*.csv"))):
            one, other = (expected.masks[expected.languages.index(row[name])] for name in ("language", "other"))
            assert int(row["shared"]) == int((one & other).sum())
        for row in rows(next((out / "tables").glob(f"layers-{number}-*.csv"))):
            mask = expected.masks[expected.languages.index(row["language"]), int(row["layer"])]
            assert int(row["neurons"]) == int(mask.sum())
    values = json.loads((out / "neurons.json").read_text(encoding="utf-8"))
    assert set(values["files"]) | {"neurons.json", "neurons.html"} == set(contents(out))
    assert values["selections"][PROBABILITY]["made_by"] == "activation_probability"
    page = (out / "neurons.html").read_text(encoding="utf-8")
    figures = sorted(path.stem for path in (out / "figures").glob("*.png"))
    assert len(figures) == 1 + 1 + 2 * 3 + 2
    assert page.count("data:image/svg+xml;base64,") == len(figures)
    assert 'src="http' not in page


@pytest.mark.slow
def test_the_same_checkpoint_gives_the_same_bytes(quantified: Path, evaluation: Command, tmp_path: Path) -> None:
    for out in (tmp_path / "a", tmp_path / "b"):
        evaluation.made("neurons", quantified, "--select", SELECT, "--out", out, "--quiet")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_without_quantiles_it_shows_what_there_is(steered: Path, evaluation: Command, tmp_path: Path) -> None:
    ended = evaluation.made("neurons", steered, "--select", "categories", "--out", tmp_path / "report")
    assert "No quantiles in this checkpoint; python convert.py" in ended.out
    assert "mean" in rows(tmp_path / "report" / "tables" / "activations-gate.csv")[0]
    assert not list((tmp_path / "report" / "figures").glob("activations*"))


def test_some_languages(quantified: Path, evaluation: Command, tmp_path: Path) -> None:
    out = tmp_path / "report"
    evaluation.made("neurons", quantified, "--select", PROBABILITY, "--languages", "ger,zh", "--out", out)
    assert [row["language"] for row in rows(out / "tables" / "neurons-by-language.csv")] == ["de", "zh"]


# -- what it refuses -----------------------------------------------------------------------------------------------


def test_what_is_there_is_kept(quantified: Path, evaluation: Command, tmp_path: Path) -> None:
    out = tmp_path / "report"
    given = ("neurons", quantified, "--out", out, "--select")
    evaluation.made(*given, SELECT)
    before = contents(out)
    said = evaluation.refused(*given, "categories")
    assert said == f"{out}: neurons.json is there; give another --out, or --overwrite to replace it"
    assert contents(out) == before
    (out / "tables" / "mine.csv").write_text("mine")
    evaluation.made(*given, "categories", "--overwrite")
    left = set(contents(out))
    assert "tables/mine.csv" in left
    assert not any("probability" in name for name in left), "nothing of the earlier report"


def test_a_language_without_neurons(quantified: Path, evaluation: Command, tmp_path: Path) -> None:
    given = ("neurons", quantified, "--out", tmp_path / "report", "--select")
    known = open_checkpoint(str(quantified)).known()
    one = select(PROBABILITY, known)
    masks = one.masks.clone()
    masks[one.languages.index("de")] = False
    replace(one, masks=masks).save(tmp_path / "one.safetensors")
    said = evaluation.refused(*given, tmp_path / "one.safetensors", "--languages", "de")
    assert said.startswith("language de: no neurons in the selection ")
    said = evaluation.refused(*given, "categories", "--languages", "sw")
    assert "language 'sw' is not among those that neurons were selected for" in said
    assert ": no neurons of de." in evaluation.made(*given, tmp_path / "one.safetensors").out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lapse", "unknown selection 'lapse'"),
        ("lape without lape", "selection 'lape without lape': no neuron in any language"),
        ("categories,categories", "stands there twice"),
        ("probability:site=neurons", "site 'neurons' was not recorded: choose one of gate, activated"),
        ("lape:languages=en/fr", "fr"),
    ],
)
def test_selections_that_cannot_be_made(
    text: str, said: str, quantified: Path, evaluation: Command, tmp_path: Path
) -> None:
    assert said in evaluation.refused("neurons", quantified, "--select", text, "--out", tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_checkpoints_that_cannot_be_used(quantified: Path, steered: Path, evaluation: Command, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "report")
    plain = save_plain(tmp_path / "plain")
    assert "a plain checkpoint, which carries no profile" in evaluation.refused("neurons", plain, *out)
    said = evaluation.refused("neurons", steered, "--select", "probability", *out)
    assert "which was not recorded (no neuron_quantiles.safetensors)" in said
    assert "--quantiles" in said
    # A selection of another model.
    one = select("categories", open_checkpoint(str(quantified)).known())
    other = replace(one.origin.profile, fingerprint="f00d", model="another")
    replace(one, origin=replace(one.origin, profile=other)).save(tmp_path / "other.safetensors")
    said = evaluation.refused("neurons", quantified, "--select", tmp_path / "other.safetensors", *out)
    assert "other.safetensors: a selection of another model (another)" in said
    # Damaged quantiles.
    broken = Path(shutil.copytree(quantified, tmp_path / "broken"))
    (broken / "neuron_quantiles.safetensors").write_bytes(b"")
    assert "not a usable file of neuron quantiles" in evaluation.refused("neurons", broken, *out)


# -- in the report on runs -----------------------------------------------------------------------------------------


@pytest.fixture
def run(steered: Path, data: Path, templates: Path, evaluation: Command, tmp_path: Path) -> Path:
    given = ("--tasks", "xnli", "--languages", "en,de", "--samples", 4, "--data-dir", data, "--templates", templates)
    evaluation.made("run", steered, *given, "--out", tmp_path / "run", "--quiet")
    return tmp_path / "run"


@pytest.mark.slow
def test_a_section_of_the_report(quantified: Path, run: Path, evaluation: Command, tmp_path: Path) -> None:
    neurons, out = tmp_path / "neurons", tmp_path / "report"
    evaluation.made("neurons", quantified, "--select", SELECT, "--out", neurons, "--quiet")
    evaluation.made("report", run, neurons, "--out", out)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.index('id="section-1-xnli"') < page.index('id="section-neurons-1"') < page.index('id="settings"')
    assert "Language neurons of tiny" in page
    for path in sorted((neurons / "tables").glob("*.csv")):
        assert rows(out / "tables" / f"neurons-1-{path.name}") == rows(path), path.name
    figures = {path.name for path in (neurons / "figures").glob("*.svg")} - {"neurons-by-language.svg"}
    assert {f"neurons-1-{name}" for name in figures} == {path.name for path in (out / "figures").glob("neurons-*.svg")}
    text = (out / "report.md").read_text(encoding="utf-8")
    assert f"{LAPE}: Made by lape:" in text.replace("\\", "")
    evaluation.made("report", run, neurons, "--out", out)  # on the same folders, again
    said = evaluation.refused("report", run, "--out", out)
    assert said == f"{out}: a report on neurons is there; give another --out, or --overwrite to replace it"


def test_a_folder_of_neurons_is_no_run(quantified: Path, evaluation: Command, tmp_path: Path) -> None:
    evaluation.made("neurons", quantified, "--select", "categories", "--out", tmp_path / "neurons", "--quiet")
    said = evaluation.refused("report", tmp_path / "neurons")
    assert said == "no run given; give the folders that `run`, `grid` or `tune` wrote with --out"


def test_a_folder_that_is_damaged(quantified: Path, run: Path, evaluation: Command, tmp_path: Path) -> None:
    neurons = tmp_path / "neurons"
    evaluation.made("neurons", quantified, "--select", "categories", "--out", neurons, "--quiet")
    [file] = (neurons / "selections").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    assert str(file) in evaluation.refused("report", run, neurons)
    file.write_bytes(whole)
    values = json.loads((neurons / "neurons.json").read_text(encoding="utf-8"))
    for broken in ("[]", "{", json.dumps({**values, "files": []}), json.dumps({**values, "tables": [{}]})):
        (neurons / "neurons.json").write_text(broken, encoding="utf-8")
        said = evaluation.refused("report", run, neurons)
        assert said.startswith(f"{neurons / 'neurons.json'}: not as neurons writes it (")
        assert said.endswith("; make it again with neurons --overwrite, or leave it out")
    assert not (run / "report").exists()
