"""The command `interventions` from a checkpoint and a task to the tables."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from run_helpers import (  # noqa: F401
    contents,
    data_fixture,
    quantified_fixture,
    records,
    save_plain,
    templates_fixture,
)

from clas_models.profiling.neuron_quantiles import NeuronQuantiles
from clas_models.profiling.selection import Selection
from clas_models.profiling.selections import select
from eval.analysis.interventions import VALUES
from eval.loading import open_checkpoint
from eval.run_folder import RunFolder

SELECTIONS = ("lape:top_rate=0.2,activation_percentile=0.5,filter_percentile=0.5", "probability:top_rate=0.1")


@pytest.fixture
def asked(quantified: Path, data: Path, templates: Path, tmp_path: Path) -> list[object]:
    """A small run into tmp_path/run; later options replace earlier ones."""
    return [
        *("interventions", quantified, "--task", "xnli", "--samples", 8, "--languages", "zh,en,de"),
        *("--select", ",".join(SELECTIONS), "--values", "mean,p90,zero,mean-0.5std", "--data-dir", data),
        *("--templates", templates, "--out", tmp_path / "run"),
    ]


def described(run: Path) -> dict[str, Any]:
    return json.loads((run / "interventions.json").read_text(encoding="utf-8"))


def test_a_table_for_each_selection(asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = evaluation.made(*asked).out
    found = described(run)
    assert (run / "interventions.md").read_text(encoding="utf-8") in said
    assert [table["title"] for table in found["tables"]] == [f"quantified, xnli: {text}" for text in SELECTIONS]
    for text, table in zip(SELECTIONS, found["tables"], strict=True):
        assert table["columns"] == ["No Int", "Int mean", "Int P90", "Int 0", "Int mean-0.5std"]
        assert [row["language"] for row in table["rows"]] == ["zh", "en", "de"]
        names = found["methods"][text]
        assert list(names) == table["columns"]
        for row in table["rows"]:
            for cell in row["cells"]:
                told = records(run, "xnli", names[cell["intervention"]], row["language"])
                right = [record.scores["accuracy"] for record in told]
                assert (len(right), cell["value"]) == (cell["examples"], pytest.approx(100 * sum(right) / 8))
        english = table["rows"][1]["cells"]
        assert {(cell["value"], cell["changed"]) for cell in english[1:]} == {(english[0]["value"], 0)}
        assert sum("en is the anchor, where nothing is written" in note for note in table["notes"]) == 1
    changed = [cell["changed"] for table in found["tables"] for row in table["rows"] for cell in row["cells"][1:]]
    assert any(changed), "the interventions do something"


def test_it_is_a_run(asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*asked, "--values", "mean,zero", "--quiet")
    run = tmp_path / "run"
    settings = RunFolder.open(run).settings
    assert settings.command == "run"
    assert next(iter(settings.methods)) == "base"
    assert settings.methods[f"int:select=({SELECTIONS[1]}),value=zero"] == {
        "kind": "int", "select": SELECTIONS[1], "value": "zero", "site": "gate"
    }  # fmt: skip
    before = contents(run)
    assert "goes on, 120 predictions are there already" in evaluation.made(*asked, "--values", "mean,zero").err
    assert contents(run) == before
    # More values, languages and samples are added; what is there stays.
    more = ("--values", "mean,zero,p10", "--samples", 10, "--languages", "zh,en,de")
    assert "goes on, 120 predictions are there already" in evaluation.made(*asked, *more).err
    after = contents(run)
    for name, content in before.items():
        if name.endswith(".jsonl"):
            assert after[name].startswith(content)
    assert "Int P10" in described(run)["tables"][0]["columns"]
    # `run` itself goes on in the folder.
    methods = ",".join([*RunFolder.open(run).settings.methods, "clas"])
    options = [str(option) for option in asked]
    place = options.index("--data-dir")
    ended = evaluation.made(
        *("run", options[1], "--tasks", "xnli", "--samples", 10, "--languages", "zh,en,de", "--methods", methods),
        *options[place:],
    )
    assert "goes on, 210 predictions are there already" in ended.err


def test_the_report_knows_such_a_run(asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    options = ("--task", "xquad", "--samples", 3, "--languages", "de,en", "--select", SELECTIONS[1], "--values", "p90")
    said = evaluation.made(*asked, *options).out
    assert re.search(r"\| de +\| +3 \| +\*{0,2}\d+\.\d \(\d+\.\d\)\*{0,2} \|", said), said
    with (tmp_path / "run" / "interventions.csv").open(encoding="utf-8") as file:
        assert {row["score"] for row in csv.DictReader(file)} == {"exact_match", "f1"}
    evaluation.made("report", tmp_path / "run")
    text = (tmp_path / "run" / "report" / "report.md").read_text(encoding="utf-8")
    [head] = [line for line in text.splitlines() if line.startswith("| language | method | examples |")]
    assert "| f1 | exact_match |" in head.replace("\\", "")
    lines = [line for line in text.splitlines() if line.startswith("| de | int:select=(")]
    assert {line.count("|") for line in lines} == {head.count("|")}


def test_by_default_all_that_the_checkpoint_has(
    asked: list[object], steered: Path, evaluation: Any, tmp_path: Path
) -> None:
    place = asked.index("--languages")
    del asked[place : place + 2]
    place = asked.index("--select")
    del asked[place : place + 4]
    asked[asked.index("--samples") + 1] = 1
    ended = evaluation.made(*asked)
    assert "left out, because they were not profiled: sw" in ended.err
    found = described(tmp_path / "run")
    assert list(found["methods"]) == ["lape", "probability"]
    assert len(found["methods"]["lape"]) == 1 + len(VALUES)
    assert [row["language"] for row in found["tables"][0]["rows"]] == ["de", "en", "zh"]
    asked[1], asked[-1] = steered, tmp_path / "other"
    ended = evaluation.made(*asked)
    assert "steered: no quantiles, which percentiles need" in ended.err
    assert described(tmp_path / "other")["tables"][0]["columns"] == ["No Int", "Int mean", "Int 0"]
    assert len(described(tmp_path / "other")["tables"]) == 1


def test_another_selection_file_is_another_run(asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    known = open_checkpoint(str(asked[1])).known()
    file = tmp_path / "my, own.safetensors"
    select(SELECTIONS[0], known).save(file)
    options = ("--select", f"({file})", "--values", "zero")
    evaluation.made(*asked, *options, "--quiet")
    assert "goes on" in evaluation.made(*asked, *options).err
    before = contents(tmp_path / "run")
    select(SELECTIONS[1], known).save(file)
    said = evaluation.refused(*asked, *options, "--quiet")
    assert re.search(r"48 predictions of other settings are there \(other.*value=zero \w+…, now \w+…\); give", said)
    assert contents(tmp_path / "run") == before


# ---- what is refused, in one line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--select", "best"), "unknown selection 'best': choose among lape, "),
        (("--select", "lape,lape:"), "selection 'lape' stands there twice"),
        (("--select", "(lape"), "a bracket does not close"),
        (("--select", "lape without lape"), "selection 'lape without lape': no neuron in any language; loosen"),
        (("--select", "none.safetensors"), "none.safetensors: no such selection"),
        (("--values", "median"), "unknown value 'median' to write: choose one of mean, zero, p5 … p95, mean+2std"),
        (("--values", "p90,p090"), "unknown value 'p090'"),
        (("--values", "p5,p05"), "value 'p5' stands there twice"),
        (("--values", "p33"), "P33 was not recorded: choose one of P5, P10, P25, P50, P75, P90, P95"),
        (("--site", "neurons"), "site 'neurons': choose one of gate, activated"),
        (
            ("--languages", "de,sw"),
            "language sw was not profiled, so it has no neurons of its own; choose ",
        ),
        (("--languages", "de,xx!"), "'xx!' is not a language code"),
        (("--task", "xnly"), "unknown task 'xnly'"),
        (("--select", "lape:languages=en/de"), "selection 'lape:languages=en/de': no neurons for zh; leave it out of"),
    ],
)
def test_wrong_arguments(
    options: tuple[str, ...], said: str, asked: list[object], evaluation: Any, tmp_path: Path
) -> None:
    assert said in evaluation.refused(*asked, *options)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_that_lacks_what_is_asked_for(
    asked: list[object], quantified: Path, steered: Path, evaluation: Any, tmp_path: Path
) -> None:
    asked[1] = steered
    said = evaluation.refused(*asked, "--select", "lape", "--values", "p90")
    assert "value p90: quantiles were not recorded (no neuron_quantiles.safetensors)" in said
    assert "python convert.py CHECKPOINT --quantiles" in said
    assert "was not recorded" in evaluation.refused(*asked, "--select", "probability", "--values", "zero")
    asked[1] = save_plain(tmp_path / "plain")
    assert "plain: a plain checkpoint, which carries no profile" in evaluation.refused(*asked)
    asked[1] = shutil.copytree(quantified, tmp_path / "older")
    path = tmp_path / "older" / "neuron_quantiles.safetensors"
    found = NeuronQuantiles.load(path)
    held = {site: replace(each, std=None) for site, each in found.sites.items()}
    replace(found, sites=held).save(path)
    said = evaluation.refused(*asked, "--values", "mean+2std")
    assert "standard deviations were not recorded, by an earlier version; convert the checkpoint again" in said


def test_a_selection_of_another_model(asked: list[object], evaluation: Any, tmp_path: Path) -> None:
    found = select("lape", open_checkpoint(str(asked[1])).known())
    file = tmp_path / "other.safetensors"
    wide = torch.cat([found.masks, found.masks], dim=2)
    Selection(found.languages, found.layers, wide, found.origin).save(file)
    said = evaluation.refused(*asked, "--select", file)
    assert "other.safetensors: a selection of another model" in said
    assert "make it again, for this model" in said
