"""The command `fit`: what it finds and decides, what it leaves, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conversion.support import run_main as run_converter
from real_models import smollm2
from run_helpers import (  # noqa: F401
    contents,
    data_fixture,
    evaluation_fixture,
    records,
    save_plain,
    steered_fixture,
    templates_fixture,
    write_choices,
    write_xquad,
)
from transformers import AutoModelForCausalLM

from clas_models.atomic import folder_lock
from clas_models.profiling.fitted_strengths import FittedStrengths
from eval.fitting.search import STATE_NAME

KEPT = ("fit.json", "strengths.safetensors")


@pytest.fixture
def common(steered: Path, data: Path, templates: Path, tmp_path: Path) -> list[object]:
    write_choices(tmp_path / "choices", rows=24)
    return [
        *("fit", steered, "--task", "mmmlu", "--data-dir", tmp_path / "choices" / "mmmlu", "--templates", templates),
        *("--languages", "en,de,zh", "--batch-size", 4, "--epochs", 3, "--rate", 0.1, "--layers", "3-5"),
    ]


def told(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "fit.json").read_text()))


def test_what_it_finds_makes_right_answers_likelier(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    ended = evaluation.made(*common, "--out", tmp_path / "fit")
    found = told(tmp_path / "fit")
    search, likelihood = found["search"], found["likelihood"]
    assert search["best"] < search["base"]
    assert search["best"] == min(each["validation"] for each in search["history"])
    assert list(likelihood["languages"]) == ["de", "zh"], "the anchor is never fitted"
    assert likelihood["parts"] == {"units": 24, "choose": 12, "decide": 6, "report": 6}
    assert "12 examples a language fitted on, 6 decide, 6 only report" in ended.out
    strengths = FittedStrengths.load(tmp_path / "fit" / "strengths.safetensors")
    assert (strengths.layers, strengths.languages) == ((3, 4, 5), ("en", "de", "zh"))
    assert not strengths.strengths[:, 0].any()
    assert strengths.strengths[:, 1].any()
    assert set(strengths.alpha.values()) <= {0.0, 1.0}
    assert strengths.provenance.corpus == ("mmmlu",)


def test_what_is_told_is_what_the_strengths_do(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*common, "--out", tmp_path / "fit", "--quiet")
    run = (*common[1:], "--methods", f"base,fitted:file={tmp_path / 'fit' / 'strengths.safetensors'}")
    drop = {"--epochs", "--rate", "--layers"}
    kept = [part for at, part in enumerate(run) if part not in drop and run[at - 1] not in drop]
    kept[kept.index("--task")] = "--tasks"
    evaluation.made("run", *kept, "--scoring", "likelihood", "--out", tmp_path / "run", "--quiet")
    named = next(name for name in json.loads((tmp_path / "run" / "run.json").read_text())["methods"] if name != "base")
    for language in ("de", "zh"):
        by_key = {each.key: each for each in records(tmp_path / "run", "mmmlu", named, language)}
        mine = records(tmp_path / "fit" / "likelihood", "mmmlu", "fitted", language)
        for each in mine:
            assert each.scores["gold_nats"] == pytest.approx(by_key[each.key].scores["gold_nats"], abs=1e-4)
        assert len(mine) == 24
        assert len(records(tmp_path / "fit" / "score", "mmmlu", "fitted", language)) == 12


def test_the_same_seed_finds_the_same_and_a_stopped_search_goes_on(
    common: list[object], evaluation: Any, tmp_path: Path
) -> None:
    evaluation.made(*common, "--out", tmp_path / "one", "--quiet")
    evaluation.made(*common, "--out", tmp_path / "two", "--quiet")
    first, second = (FittedStrengths.load(tmp_path / name / "strengths.safetensors") for name in ("one", "two"))
    assert torch.equal(first.strengths, second.strengths)
    before = {name: (tmp_path / "one" / name).read_bytes() for name in KEPT}
    for name in KEPT:
        (tmp_path / "one" / name).unlink()
    evaluation.made(*common, "--out", tmp_path / "one", "--quiet")
    assert {name: (tmp_path / "one" / name).read_bytes() for name in KEPT} == before, "the search was there already"
    evaluation.made(*common, "--seed", 1, "--out", tmp_path / "one", "--overwrite", "--quiet")
    assert not torch.equal(FittedStrengths.load(tmp_path / "one" / "strengths.safetensors").strengths, first.strengths)


def test_a_search_killed_after_a_pass_ends_as_one_that_was_not(
    common: list[object], evaluation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import eval.fitting.search as module

    evaluation.made(*common, "--out", tmp_path / "whole", "--quiet")
    keep, kept = module._keep, []

    def keep_and_stop(*args: Any) -> None:
        keep(*args)
        kept.append(args)
        if len(kept) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_keep", keep_and_stop)
        assert evaluation(*common, "--out", tmp_path / "stopped", "--quiet").status == 130
    assert (tmp_path / "stopped" / STATE_NAME).is_file()
    evaluation.made(*common, "--out", tmp_path / "stopped", "--quiet")
    first, second = (FittedStrengths.load(tmp_path / name / "strengths.safetensors") for name in ("whole", "stopped"))
    assert torch.equal(first.strengths, second.strengths)
    assert told(tmp_path / "whole")["search"] == told(tmp_path / "stopped")["search"]


def test_written_into_the_checkpoint_where_it_holds(
    common: list[object], evaluation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eval import fit as module

    folder = Path(shutil.copytree(str(common[1]), tmp_path / "checkpoint"))
    common[1] = folder
    before = AutoModelForCausalLM.from_pretrained(folder)
    # As if the likelihood had been decided for German: so few examples decide nothing.
    guard = module.guard
    monkeypatch.setattr(module, "guard", lambda *args: _with_kept(guard(*args), ("de",)))
    ended = evaluation.made(*common, "--write", "--out", tmp_path / "fit")
    assert f"In force from now on, in {folder}" in ended.out
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.steering.alpha == {"de": 1.0, "en": 0.0, "zh": 0.0, "default": 0.0}
    strengths = FittedStrengths.load(tmp_path / "fit" / "strengths.safetensors")
    assert all(torch.equal(table, model.fitted_strengths[layer]) for layer, table in strengths.tables().items())
    ids = torch.arange(1, 30)[None]
    with before.temporary_steering(alpha=0.0):
        for language in ("en", "zh", "sw"):
            assert torch.equal(model(ids, language=language).logits, before(ids, language=language).logits)
        assert not torch.equal(model(ids, language="de").logits, before(ids, language="de").logits)
    assert "fitted strengths" in (folder / "README.md").read_text()
    again = evaluation.made(*common, "--out", tmp_path / "again", "--quiet")  # a fitted checkpoint can be fitted anew
    assert again.out.strip() == str(tmp_path / "again")


def _with_kept(guarded: Any, kept: tuple[str, ...]) -> Any:
    from dataclasses import replace

    return replace(guarded, kept=kept)


def test_generated_answers_and_sums_of_objectives(
    steered: Path, templates: Path, evaluation: Any, tmp_path: Path
) -> None:
    data = write_xquad(tmp_path / "xquad", paragraphs=5, questions=2)
    made = ("fit", steered, "--task", "xquad", "--data-dir", data, "--templates", templates, "--languages", "de,zh")
    options = ("--objective", "gold+text=0.1", "--end", 0.1, "--epochs", 1, "--penalty", 0.001, "--batch-size", 4)
    ended = evaluation.made(*made, *options, "--out", tmp_path / "fit")
    assert "f1" in ended.out
    assert told(tmp_path / "fit")["score"]["name"] == "f1"
    evaluation.made("report", tmp_path / "fit" / "score")
    report = (tmp_path / "fit" / "score" / "report" / "report.md").read_text()
    assert "| fitted |" in report
    assert "no steering was run" not in report


def test_plain_text_needs_no_answers(steered: Path, evaluation: Any, tmp_path: Path) -> None:
    made = ("fit", steered, "--task", "perplexity", "--objective", "text", "--samples", 12, "--languages", "de,zh")
    evaluation.made(*made, "--epochs", 1, "--max-length", 64, "--out", tmp_path / "fit", "--quiet")
    assert told(tmp_path / "fit")["score"]["name"] == "nats"
    assert "objective gold: the task perplexity has no right answers" in evaluation.refused(
        *made[:4], *made[6:], "--out", tmp_path / "other"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--languages", "en"), "fit: none of the languages en can have a strength"),
        (("--samples", 3), "3 examples a language are too few for three parts; give at least 4"),
        (("--layers", "9"), "layers are 0 to 5"),
        (("--sharing", "some"), "sharing 'some': choose one of shrunk, one, each"),
        (("--groups", "mine"), "groups 'mine': choose one of profile, random"),
        (("--objective", "magic"), "objective 'magic': choose among gold, anchor, text"),
        (("--penalty=-1",), "penalties (-1.0,): give numbers that are 0 or more"),
        (("--epochs", 0), "epochs 0: give a number of passes, 1 or more"),
        (("--rate", "inf"), "rate inf: give a step above 0"),
        (("--memory", "nan"), "memory nan: give gigabytes, 0 or more"),
        (("--memory", "inf"), "memory inf: give gigabytes, 0 or more"),
        (("--seed", 2**64), f"seed {2**64}: give a whole number of 0 or more, below 2**63"),
        (("--split", "1,1,99999"), "split 1,1,99999: give at most 1000 texts of a turn"),
        (("--end", 0.1), "end 0.1: it is for objective gold of a task with generated answers, not gold of mmmlu"),
        (("--end", -1), "end -1.0: give a weight that is 0 or more"),
        (("--task", "magic"), "unknown task 'magic'"),
    ],
)
def test_what_cannot_be_fitted(
    options: tuple[object, ...], said: str, common: list[object], evaluation: Any, tmp_path: Path
) -> None:
    assert said in evaluation.refused(*common, "--out", tmp_path / "fit", "--quiet", *options)
    assert not (tmp_path / "fit").exists()


def test_checkpoints_that_cannot_be_fitted(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    steered, plain = Path(str(common[1])), save_plain(tmp_path / "plain")
    common[1] = plain
    refused = evaluation.refused(*common, "--out", tmp_path / "fit")
    assert "a plain checkpoint has no categories of neurons; convert it first" in refused
    folder = Path(shutil.copytree(steered, tmp_path / "checkpoint"))
    (folder / "neuron_profile.safetensors").unlink()
    common[1] = folder
    assert "no neuron_profile.safetensors" in evaluation.refused(*common, "--out", tmp_path / "fit")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    common[1] = steered
    assert "not empty (thesis.tex) and not the folder of a fit" in evaluation.refused(
        *common, "--out", tmp_path / "mine"
    )


def test_methods_with_strengths_of_another_model(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*common, "--out", tmp_path / "fit", "--quiet")
    file = tmp_path / "fit" / "strengths.safetensors"
    run = ("run", common[1], "--tasks", "mmmlu", *common[4:10], "--out", tmp_path / "run", "--methods")
    assert "name the strengths, as fitted:file=" in evaluation.refused(*run, "fitted")
    assert "no such file of fitted strengths" in evaluation.refused(*run, f"fitted:file={tmp_path}/none")
    (tmp_path / "damaged").write_bytes(file.read_bytes()[:100])
    assert "not a usable file of fitted strengths" in evaluation.refused(*run, f"fitted:file={tmp_path}/damaged")


SETTINGS = [("--seed", 1), ("--no-chat-template",), ("--scoring", "likelihood"), ("--languages", "en,zh,de"),
            ("--batch-size", 3), ("--samples", 20)]  # fmt: skip


def test_results_of_another_fit_are_kept(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    out = tmp_path / "fit"
    evaluation.made(*common, "--out", out, "--quiet")
    before = contents(out)
    for options in SETTINGS:
        said = evaluation.refused(*common, "--out", out, "--quiet", *options)
        assert f"{out}: a fit with other options, examples or another checkpoint is there; give another --out" in said
        assert contents(out) == before, options
    with folder_lock(out, "mine"):
        assert f"{out}: another fit is writing to it" in evaluation.refused(*common, "--out", out, "--quiet")
    (out / STATE_NAME).unlink()  # it is known by its strengths as well
    assert "another checkpoint is there" in evaluation.refused(*common, "--out", out, "--quiet", "--seed", 1)


def test_runs_under_the_names_of_its_own_are_kept(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    mine = tmp_path / "runs" / "score" / "run.json"
    mine.parent.mkdir(parents=True)
    mine.write_text("{}")
    said = evaluation.refused(*common, "--out", tmp_path / "runs", "--overwrite")
    assert "not empty (score) and not the folder of a fit" in said
    assert mine.read_text() == "{}"
    (tmp_path / "file").write_text("x")
    assert "file: a file is in the way; give another --out" in evaluation.refused(*common, "--out", tmp_path / "file")


def test_what_a_killed_fit_leaves(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    out = tmp_path / "fit"
    out.mkdir()
    left = [out / f".{name}.1.partial" for name in (*KEPT, STATE_NAME)]
    for path in left:
        path.write_text("half")
    evaluation.made(*common, "--out", out, "--quiet")
    assert not any(path.exists() for path in left)


def test_nothing_is_in_force_before_it_is_decided(
    common: list[object], evaluation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("eval.fit.decide", stop)
    assert evaluation(*common, "--out", tmp_path / "fit", "--quiet").status == 130
    assert not any(FittedStrengths.load(tmp_path / "fit" / "strengths.safetensors").alpha.values())


def test_languages_that_nobody_fitted_stay_unsteered(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*common, "--languages", "de", "--out", tmp_path / "fit", "--quiet")
    found = told(tmp_path / "fit")
    assert list(found["alpha"]) == ["de", "default"]
    assert found["alpha"]["default"] == 0.0


def write_all(monkeypatch: pytest.MonkeyPatch) -> None:
    from eval import fit as module

    guard = module.guard
    monkeypatch.setattr(module, "guard", lambda *args: _with_kept(guard(*args), ("de",)))


def test_writing_leaves_what_a_user_has_in_the_folder(
    common: list[object], evaluation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(str(common[1]), tmp_path / "checkpoint"))
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("mine")
    (folder / "model.gguf").write_text("another format")
    (folder / "linked").symlink_to("notes")
    card = (folder / "README.md").read_text() + "My own words.\n"
    (folder / "README.md").write_text(card)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "language": "zh"}))
    (tmp_path / "link").symlink_to(folder)
    common[1] = tmp_path / "link"
    write_all(monkeypatch)
    for _ in range(2):  # the second finds the search done
        evaluation.made(*common, "--write", "--out", tmp_path / "fit", "--quiet")
        assert (folder / "notes" / "mine.txt").read_text() == "mine"
        assert (folder / "model.gguf").read_text() == "another format"
        assert (folder / "linked" / "mine.txt").is_file()
        assert (folder / "README.before.md").read_text() == card
        config = json.loads((folder / "config.json").read_text())
        assert (config["fitted"], config["language"]) == (True, "zh")
        assert config["alpha"]["default"] == 0.0
        AutoModelForCausalLM.from_pretrained(folder)
    assert (tmp_path / "link").is_symlink()


def test_where_nothing_can_be_written(
    common: list[object], evaluation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(str(common[1]), tmp_path / "checkpoint"))
    common[1] = folder
    said = evaluation.refused(*common, "--write", "--out", folder / "fit")
    assert f"{folder / 'fit'}: within {folder}, which --write makes anew; give an --out outside of it" in said
    evaluation.made("run", folder, "--tasks", "mmmlu", *common[4:10], "--out", folder / "run", "--quiet")
    said = evaluation.refused(*common, "--write", "--out", tmp_path / "fit")
    assert "the folder of an evaluation, within" in said
    shutil.rmtree(folder / "run")
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and allowed(path, mode))
    said = evaluation.refused(*common, "--write", "--out", tmp_path.parent / f"{tmp_path.name}-fit")
    assert f"{tmp_path}: cannot be written, and --write makes checkpoint anew there; copy the checkpoint" in said


def test_nothing_to_write_is_said(
    common: list[object], evaluation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eval import fit as module

    folder = Path(shutil.copytree(str(common[1]), tmp_path / "checkpoint"))
    common[1], before = folder, contents(folder)
    guard = module.guard
    monkeypatch.setattr(module, "guard", lambda *args: _with_kept(guard(*args), ()))
    ended = evaluation.made(*common, "--write", "--out", tmp_path / "fit")
    assert f"Nothing was written: {folder} is as it was" in ended.out
    assert contents(folder) == before


@pytest.mark.slow
def test_a_mistake_of_two_processes_is_said_once(common: list[object], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for options, said in ((("--layers", "9"), "layers are 0 to 5"), (("--out", tmp_path / "mine"), "thesis.tex")):
        command = [*launcher, "-m", "eval", *map(str, (*common, "--out", tmp_path / "fit", *options))]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert ended.stderr.count(": error: ") == ended.stderr.count(said) == 1
        assert ended.stderr.count("exitcode  : 2") >= 1
        assert "eval/cli.py" not in ended.stderr, "no traceback but the launcher's own"


@pytest.mark.slow
def test_two_processes_find_what_one_finds(common: list[object], tmp_path: Path) -> None:
    found = []
    for count in (1, 2):
        out = tmp_path / f"ranks{count}"
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        command = [*launcher, "-m", "eval", *map(str, common), "--out", str(out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.count("Outputs side by side") == 1
        found.append(FittedStrengths.load(out / "strengths.safetensors").strengths)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-4)


@pytest.mark.real
def test_a_real_model_finds_its_text_likelier(evaluation: Any, tmp_path: Path) -> None:
    steered = tmp_path / "steered"
    convert = (smollm2(), "--corpus", "builtin", "--languages", "de,hi", "--samples", 4, "--max-length", 64)
    assert run_converter([*convert, "--detector-corpus", "none", "--out", steered, "--quiet"]) == 0
    made = ("fit", steered, "--task", "perplexity", "--objective", "text", "--languages", "de,hi", "--samples", 24)
    options = ("--layers", "24-29", "--epochs", 2, "--penalty", 0.003, "--max-length", 64, "--out", tmp_path / "fit")
    evaluation.made(*made, *options, "--quiet")
    found = told(tmp_path / "fit")
    assert found["search"]["best"] < found["search"]["base"] - 0.02
    assert all(each["decided"]["gain"]["mean"] > 0 for each in found["likelihood"]["languages"].values())
