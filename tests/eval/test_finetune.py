"""The command `finetune`: what it trains, what it evaluates, that it goes on, and what it refuses."""

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
from run_helpers import (  # noqa: F401
    contents,
    data_fixture,
    evaluation_fixture,
    save_plain,
    save_steered,
    steered_fixture,
    templates_fixture,
)
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from clas_models.atomic import folder_lock
from clas_models.finetuning.adapter_record import AdapterRecord
from eval.run_folder import RunFolder

peft = pytest.importorskip("peft")
QUICK = ("--set", "rank=4", "--set", "lora_alpha=8", "--set", "learning_rate=1e-2", "--set", "epochs=1", "--set",
         "save_steps=2", "--set", "seed=3")  # fmt: skip
WORDS = ("cat", "dog", "bread", "table", "sleeps", "eats")


def pairs(path: Path, rows: int = 12) -> Path:
    labels = ("entailment", "neutral", "contradiction")
    lines = [
        {"premise": f"the {WORDS[row % 6]} {row}", "hypothesis": f"a {WORDS[row % 5]}", "label": labels[row % 3]}
        for row in range(rows)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def placed(paragraph: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
    text = question["answers"][0]["text"]
    return {"text": text, "answer_start": paragraph["context"].index(text)}


def questions(path: Path, data: Path) -> Path:
    """The English questions of the task's own data, flat."""
    (article,) = json.loads((data / "xquad" / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    lines = [
        {"context": paragraph["context"], "question": each["question"], "answers": [placed(paragraph, each)]}
        for paragraph in article["paragraphs"]
        for each in paragraph["qas"]
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines[:3]), encoding="utf-8")
    return path


@pytest.fixture
def common(steered: Path, data: Path, tmp_path: Path) -> list[object]:
    """A fine-tuning on pairs, without the base's long prompts."""
    train = pairs(tmp_path / "pairs.jsonl")
    return [
        *("finetune", steered, "--task", "xnli", "--train", train, "--targets", "de,zh", "--data-dir", data / "xnli"),
        *("--select", "categories", "--values", "mean,zero", "--samples", 6, *QUICK),
    ]


def adapter_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def told(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "finetune.json").read_text()))


def test_every_training_has_an_adapter_answers_and_a_row(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = evaluation.made(*common, "--setups", "none,random,source,target,both", "--out", out)
    names = ["none", "random-de", "random-zh", "source", "target-de", "target-zh", "both-de", "both-zh"]
    found = told(out)
    assert list(found["trainings"]) == names
    assert found["settings"]["rank"] == 4
    for name in names:
        assert AdapterRecord.load(out / name / "adapter").labels == ("entailment", "neutral", "contradiction")
        run = RunFolder.open(out / name / "scores")
        targets = found["trainings"][name]["targets"]
        assert list(run.settings.languages["xnli"]) == ["en", *targets]
        assert run.settings.other["scoring"] == "head"
        assert run.settings.model.endswith(f" + {name}"), "what tells trainings apart in a report"
        assert not (out / name / "states").exists()
        assert found["trainings"][name]["trained"]["steps"] == 2
    interventions, trainings = found["tables"]
    assert interventions["columns"] == ["No Int", "Int mean", "Int 0"]
    assert trainings["columns"] == ["none", "random", "source", "target", "both"]
    assert "| none" in ended.out
    assert "| target-de" in (out / "finetune.md").read_text()


@pytest.mark.slow
def test_it_changes_the_neurons_of_the_language_and_no_others(
    common: list[object], steered: Path, evaluation: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    evaluation.made(*common, "--setups", "none,target", "--targets", "de", "--out", out)
    before = AutoModelForSequenceClassification.from_pretrained(steered, num_labels=3)
    for name, expected in (
        ("none", 0),
        ("target-de", told(out)["trainings"]["target-de"]["wanted"]["neurons"]["count"]),
    ):
        base = AutoModelForSequenceClassification.from_pretrained(steered, num_labels=3)
        merged = peft.PeftModel.from_pretrained(base, out / name / "adapter").merge_and_unload()
        moved = 0
        for index, layer in enumerate(merged.model.layers):
            old = before.model.layers[index].mlp
            rows = {
                kind: (getattr(layer.mlp, kind).weight != getattr(old, kind).weight).any(dim=1)
                for kind in ("gate_proj", "up_proj")
            }
            columns = (layer.mlp.down_proj.weight != old.down_proj.weight).any(dim=0)
            assert torch.equal(rows["gate_proj"], rows["up_proj"])
            assert torch.equal(rows["gate_proj"], columns)
            moved += int(columns.sum())
        assert moved == expected


def test_a_run_with_the_adapter_answers_as_it_was_scored(
    common: list[object], steered: Path, data: Path, evaluation: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    evaluation.made(*common, "--setups", "none", "--out", out)
    again = tmp_path / "again"
    evaluation.made(
        *("run", steered, "--adapter", out / "none" / "adapter", "--tasks", "xnli", "--data-dir", data / "xnli"),
        *("--languages", "en,de", "--samples", 6, "--methods", "base", "--out", again),
    )
    for language in ("en", "de"):
        first, second = (
            RunFolder.open(folder).records("xnli", "base", language) for folder in (out / "none" / "scores", again)
        )
        assert [record.choice_scores for record in first] == [record.choice_scores for record in second]


def test_the_same_command_again_computes_nothing(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluation.made(*common, "--setups", "target", "--out", out)
    before = contents(out)
    ended = evaluation.made(*common, "--setups", "target", "--out", out)
    assert contents(out) == before
    assert "target-de: trained already" in ended.err


@pytest.mark.slow
def test_a_folder_that_was_moved_goes_on(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*common, "--setups", "none", "--out", tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "moved")
    before = contents(tmp_path / "moved" / "none" / "scores" / "predictions")
    evaluation.made(*common, "--setups", "none", "--out", tmp_path / "moved")
    assert contents(tmp_path / "moved" / "none" / "scores" / "predictions") == before


@pytest.mark.slow
def test_more_setups_and_targets_are_added(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluation.made(*common, "--setups", "target", "--targets", "de", "--out", out)
    before = adapter_of(out / "target-de")
    evaluation.made(*common, "--setups", "none,target", "--out", out)
    assert list(told(out)["trainings"]) == ["none", "target-de", "target-zh"]
    assert all(torch.equal(each, before[name]) for name, each in adapter_of(out / "target-de").items())


@pytest.mark.slow
def test_it_goes_on_after_it_was_stopped(
    common: list[object], evaluation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eval.finetuning import work

    evaluation.made(*common, "--setups", "none", "--set", "epochs=3", "--out", tmp_path / "whole")
    steps = []

    def stop(self: Any, loss: float | None) -> None:
        steps.append(loss)
        if len(steps) == 5:
            raise KeyboardInterrupt

    out = tmp_path / "parts"
    with monkeypatch.context() as patched:
        patched.setattr(work._Bar, "step", stop)
        ended = evaluation(*common, "--setups", "none", "--set", "epochs=3", "--out", out)
    assert ended.status == 130
    assert (out / "none" / "states").is_dir()
    assert not (out / "none" / "adapter").exists()
    evaluation.made(*common, "--setups", "none", "--set", "epochs=3", "--out", out)
    expected = adapter_of(tmp_path / "whole" / "none")
    assert all(torch.equal(each, expected[name]) for name, each in adapter_of(out / "none").items())


def test_another_training_is_not_written_over(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluation.made(*common, "--setups", "none", "--out", out)
    before, kept = contents(out), tmp_path / "kept"
    shutil.copytree(out, kept)
    other = [*common, "--set", "learning_rate=2e-2", "--setups", "none", "--out", out]
    said = evaluation.refused(*other)
    assert "settings.learning_rate 0.01, now 0.02" in said
    assert contents(out) == before
    (out / "none" / "scores" / "notes.txt").write_text("mine")
    evaluation.made(*other, "--overwrite")
    assert told(out)["settings"]["learning_rate"] == 0.02
    assert (out / "none" / "scores" / "notes.txt").read_text() == "mine"
    first, second = (adapter_of(folder / "none") for folder in (kept, out))
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_a_folder_of_something_else_is_left_alone(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert "not the folder of a fine-tuning" in evaluation.refused(*common, "--out", tmp_path / "mine")
    (tmp_path / "busy").mkdir()
    with folder_lock(tmp_path / "busy", "busy"):
        assert "another fine-tuning is writing to it" in evaluation.refused(*common, "--out", tmp_path / "busy")


@pytest.mark.slow
def test_together_all_targets_share_a_model(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*common, "--setups", "target", "--together", "--out", tmp_path / "out")
    found = told(tmp_path / "out")["trainings"]
    assert list(found) == ["target"]
    assert found["target"]["wanted"]["neurons"]["of"] == ["de", "zh"]


@pytest.mark.slow
def test_questions_are_answered_with_text(
    steered: Path, data: Path, templates: Path, evaluation: Any, tmp_path: Path
) -> None:
    """A model that was taught the very questions knows their answers, where to end them, and nothing of other ones."""
    train, out = questions(tmp_path / "questions.jsonl", data), tmp_path / "out"
    evaluation.made(
        *("finetune", steered, "--task", "xquad", "--train", train, "--targets", "de", "--data-dir", data / "xquad"),
        *("--select", "categories", "--values", "none", "--setups", "base,target", "--samples", 3, *QUICK),
        *(
            "--set",
            "epochs=40",
            "--set",
            "save_steps=99",
            "--templates",
            templates / "xquad.txt",
            "--no-chat-template",
            "--out",
            out,
        ),
    )
    for name, expected in (("base", 0), ("target-de", 3)):
        records = RunFolder.open(out / name / "scores").records("xquad", "base", "en")
        assert sum(record.scores["exact_match"] for record in records) == expected
    assert told(out)["tables"][0]["scores"] == ["exact_match", "f1"]
    # The adapter merges into the steered checkpoint, and what comes of it converts on.
    base = AutoModelForCausalLM.from_pretrained(steered)
    merged = peft.PeftModel.from_pretrained(base, out / "target-de" / "adapter").merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    AutoTokenizer.from_pretrained(steered).save_pretrained(tmp_path / "merged")
    from conversion.support import run_main

    folded = tmp_path / "folded"
    assert run_main([tmp_path / "merged", "--format", "folded", "--language", "de", "--out", folded, "--quiet"]) == 0
    tokens = torch.arange(20)[None] + 40
    with torch.no_grad():
        expected = merged(input_ids=tokens, language="de").logits
        found = AutoModelForCausalLM.from_pretrained(folded)(input_ids=tokens).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("--task", "mmmlu"), "task 'mmmlu' has no training: choose one of xnli, xquad"),
        (("--targets", "en"), "target en: that is the source"),
        (("--targets", "sw"), "'sw' is not among those that neurons were selected for"),
        (("--setups", "all"), "setup 'all': choose among"),
        (("--select", "random:per_layer=0"), "per_layer"),
        (("--values", "p90"), "--quantiles"),
        (("--values", "median"), "median"),
        (("--set", "rank=none"), "rank: 'none' in place of a whole number"),
        (("--rows", "99"), "rows: 99 asked for, the training file has 12"),
        (("--samples", "99"), "task xnli has only 12 examples"),
        (("--setups", "target,none", "--set", "attention=false"), "nothing but a head is left to train"),
        (("--settings", "no.yaml"), "no.yaml: cannot be read"),
        (("--set", "max_length=2"), r"pairs.jsonl, line 1: .*the maximum length is 2"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_trained(
    common: list[object], evaluation: Any, change: tuple[str, ...], fault: str, tmp_path: Path
) -> None:
    import re

    said = evaluation.refused(*common, *change, "--out", tmp_path / "out")
    assert re.search(fault, said), said
    assert not (tmp_path / "out").exists()


def test_a_wrong_label_is_told_by_its_line(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    with (tmp_path / "pairs.jsonl").open("a") as file:
        file.write('{"premise": "a", "hypothesis": "b", "label": "perhaps"}\n')
    said = evaluation.refused(*common, "--out", tmp_path / "out")
    assert "pairs.jsonl, line 13: the label is 'perhaps'" in said


def test_a_plain_checkpoint_has_no_neurons_of_a_language(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    plain = save_plain(tmp_path / "plain")
    said = evaluation.refused("finetune", plain, *common[2:], "--out", tmp_path / "out")
    assert "a plain checkpoint has no neurons of a language; convert it first" in said


def test_an_adapter_for_other_weights_is_refused(
    common: list[object], steered: Path, data: Path, evaluation: Any, tmp_path: Path
) -> None:
    evaluation.made(*common, "--setups", "none", "--out", tmp_path / "out")
    other = tmp_path / "other"
    shutil.copytree(steered, other)
    model = AutoModelForCausalLM.from_pretrained(other)
    with torch.no_grad():
        model.model.norm.weight.mul_(1.5)
    model.save_pretrained(other)
    said = evaluation.refused(
        *("run", other, "--adapter", tmp_path / "out" / "none" / "adapter", "--tasks", "xnli"),
        *("--data-dir", data / "xnli", "--methods", "base", "--out", tmp_path / "again"),
    )
    assert "an adapter for another base" in said


@pytest.mark.slow
def test_two_processes_train_one_adapter(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    """Two processes with half of the rows of a step each end where one process with all of them does."""
    alone, out = tmp_path / "alone", tmp_path / "out"
    evaluation.made(*common, "--setups", "target", "--targets", "de", "--set", "batch_size=4", "--out", alone)
    options = [
        *common,
        "--setups",
        "target",
        "--targets",
        "de",
        "--set",
        "batch_size=2",
        "--device",
        "cpu",
        "--out",
        out,
    ]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "eval", *map(str, options)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("### xnli") == 1
    found, expected = adapter_of(out / "target-de"), adapter_of(alone / "target-de")
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-4)
