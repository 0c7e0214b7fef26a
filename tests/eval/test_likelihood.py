"""Examples judged by how unlikely their right answers are, from the command line to records, decisions and report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
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

from eval.decision import decide
from eval.decision_rule import CHOOSE, Parts
from eval.loading import Checkpoint, open_checkpoint
from eval.prompts import PromptBuilder
from eval.run_folder import RunFolder
from eval.score_scale import GOLD_NATS
from eval.tasks import ExampleSource, task_of
from eval.templates import find_templates


@pytest.fixture
def common(steered: Path, data: Path, templates: Path) -> list[object]:
    """The model and what all commands take."""
    return [
        *(steered, "--data-dir", data, "--templates", templates, "--batch-size", 3, "--scoring", "likelihood"),
        *("--languages", "en,de,zh"),
    ]


def log_p(checkpoint: Checkpoint, model: Any, prompt: str, answer: str, **asked: Any) -> list[float]:
    """Of every token of an answer after a prompt, by one plain forward pass."""
    start = len(checkpoint.tokenizer(prompt, add_special_tokens=False)["input_ids"])
    ids = torch.tensor([checkpoint.tokenizer(prompt + answer, add_special_tokens=False)["input_ids"]])
    with torch.inference_mode():
        logits = model(ids, **asked).logits[0, start - 1 : -1].double()
    return [float(row.log_softmax(-1)[token]) for row, token in zip(logits, ids[0, start:], strict=True)]


@pytest.mark.parametrize("task", ["xnli", "xquad"])
@pytest.mark.parametrize("chat", [True, False])
def test_records_are_the_likelihoods_of_the_right_answers(
    task: str, chat: bool, common: list[object], evaluation: Any, data: Path, templates: Path, tmp_path: Path
) -> None:
    common += ["--tasks", task, "--methods", "base,clas", "--out", tmp_path / "run", "--quiet"]
    evaluation.made("run", *common, *([] if chat else ["--no-chat-template"]))
    checkpoint, asked = open_checkpoint(str(common[0])), task_of(task)
    model, builder = checkpoint.load(), PromptBuilder(
        checkpoint.tokenizer, find_templates(task, templates), asked, chat_template=chat
    )  # fmt: skip
    examples = {example.key: example for example in asked.load(["de"], ExampleSource(data))["de"]}
    for method, alpha in (("base", 0.0), ("clas", 4.0)):
        found = records(tmp_path / "run", task, method, "de")
        assert {record.key for record in found} == set(examples)
        for record in found:
            example = examples[record.key]
            prompt = builder.build(example, "de").text
            with model.temporary_steering(alpha=alpha):
                if task == "xquad":
                    answer = str(example.gold[0]) if chat else f" {example.gold[0]}"
                    expected = -np.mean(log_p(checkpoint, model, prompt, answer, language="de"))
                    assert record.prediction == record.scores["gold_nats"]
                    assert set(record.scores) == {"gold_nats"}
                else:
                    whole = [log_p(checkpoint, model, prompt, each, language="de")[0] for each in asked.choices]
                    expected = np.logaddexp.reduce(whole) - whole[int(example.gold[0])]
                    assert record.prediction == np.argmax(whole) == np.argmax(record.choice_scores)
                    assert record.scores["accuracy"] == float(record.prediction == example.gold[0])
            assert record.scores["gold_nats"] == pytest.approx(expected, rel=1e-4)
    settings = RunFolder.open(tmp_path / "run").settings
    assert (settings.other["scoring"], settings.main_score(task)) == ("likelihood", "gold_nats")


def test_choices_are_those_of_the_letters(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    """The same forward pass: only the main score is another."""
    common += ["--tasks", "xnli", "--methods", "base,clas", "--quiet"]
    evaluation.made("run", *common, "--out", tmp_path / "run")
    evaluation.made("run", *common, "--scoring", "letter", "--out", tmp_path / "letters")
    for method in ("base", "clas"):
        for one, other in zip(*(records(tmp_path / name, "xnli", method, "de") for name in ("run", "letters")),
                              strict=True):  # fmt: skip
            assert one.choice_scores == other.choice_scores
            assert one.scores == {"gold_nats": -one.choice_scores[int(one.gold[0])], **other.scores}


def test_a_run_goes_on_and_grows_to_the_same_bytes(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    common += ["--tasks", "xnli,xquad", "--methods", "base,clas", "--quiet"]
    evaluation.made("run", *common, "--out", tmp_path / "whole")
    evaluation.made("run", *common, "--out", tmp_path / "cut")
    for task in ("xnli", "xquad"):
        file = tmp_path / "cut" / "predictions" / task / "clas" / "de.jsonl"
        file.write_bytes(file.read_bytes()[:-50])
    evaluation.made("run", *common, "--out", tmp_path / "cut")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    ended = evaluation.made("compare", tmp_path / "cut", tmp_path / "whole")
    assert "xquad" in ended.out


@pytest.mark.parametrize("task", ["xnli", "xquad"])
def test_tune_decides_by_it(task: str, common: list[object], evaluation: Any, tmp_path: Path) -> None:
    common[2] = write_xquad(tmp_path / "xquad", paragraphs=12, questions=1) if task == "xquad" else common[2]
    ended = evaluation.made("tune", *common, "--task", task, "--alpha=-8,0,4", "--out", tmp_path / "run")
    assert f"{task}: nats a token of the right answer, lower is better" in ended.out
    run = RunFolder.open(tmp_path / "run")
    names = {0.0: "base", -8.0: "clas:alpha=-8,beta=0.9,gamma=0.6", 4.0: "clas:alpha=4,beta=0.9,gamma=0.6"}

    def ordered(name: str, language: str) -> list[Any]:
        keys = [example.key for example in task_of(task).load(["de"], ExampleSource(Path(str(common[2]))))["de"]]
        return sorted(run.records(task, name, language), key=lambda record: keys.index(record.key))

    found = {code: {None: {alpha: ordered(name, code) for alpha, name in names.items()}} for code in ("de", "zh")}
    expected = decide(GOLD_NATS, found, Parts.of(range(12))).to_dict()
    assert json.loads((tmp_path / "run" / "tune.json").read_text()).items() >= expected.items()
    chosen = Parts.of(range(12)).of_part(CHOOSE)
    for code, decision in expected["languages"].items():  # a gain is fewer nats
        means = {alpha: np.mean([ordered(name, code)[at].scores["gold_nats"] for at in chosen])
                 for alpha, name in names.items()}  # fmt: skip
        for alpha in (-8.0, 4.0):
            gain = decision["candidates"][f"{alpha:g}"]["mean"]
            assert gain == pytest.approx(means[0.0] - means[alpha])
            assert gain
    evaluation.made("report", tmp_path / "run", "--out", tmp_path / "report")
    assert "nats a token of the right answer, lower is better" in (tmp_path / "report" / "report.md").read_text()


def test_tune_grows_with_its_look_at_the_score(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    made = ("tune", *common, "--task", "xnli", "--alpha=-8,4", "--out", tmp_path / "run", "--quiet")
    for samples in (8, 12):
        evaluation.made(*made, "--samples", samples)
        looked_at = records(tmp_path / "run" / "score", "xnli", "base", "de")
        assert len(looked_at) == 3 * samples // 4


@pytest.mark.parametrize("task", ["xnli", "xquad"])
def test_the_report_on_a_grid_shows_nats(task: str, common: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made("grid", *common, "--task", task, "--alpha=-4,4", "--out", tmp_path / "grid", "--quiet")
    evaluation.made("report", tmp_path / "grid")
    text = (tmp_path / "grid" / "report" / "report.md").read_text()
    base = GOLD_NATS.mean(records(tmp_path / "grid", task, "base", "de"))
    assert "base (nats a token of the right answer, lower is better)" in text
    assert f"{base:.4f}" in text
    assert "0.02 nats a token" in text
    assert "; )" not in text, "no outputs are counted where predictions are numbers"
    title = next(line for line in text.splitlines() if "all metrics" in line)
    assert ("(lower is better)" in title) == (task == "xquad"), "accuracies stand beside the nats of choices"


def test_runs_with_and_without_it_stand_side_by_side(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    common += ["--tasks", "xnli", "--methods", "base,clas", "--quiet"]
    evaluation.made("run", *common, "--out", tmp_path / "run")
    evaluation.made("run", *common, "--scoring", "letter", "--out", tmp_path / "letters")
    evaluation.made("report", tmp_path / "run", tmp_path / "letters")
    text = (tmp_path / "run" / "report" / "report.md").read_text()
    assert "2 points or 0.02 nats a token" in text or "0.02 nats a token or 2 points" in text


def test_the_card_says_which_scoring(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    checkpoint = Path(shutil.copytree(str(common[0]), tmp_path / "checkpoint"))
    common[0] = checkpoint
    common += ["--tasks", "xnli,xquad", "--methods", "base,clas", "--out", tmp_path / "run", "--quiet"]
    evaluation.made("run", *common)
    evaluation.made("card", checkpoint, tmp_path / "run")
    text = (checkpoint / "README.md").read_text()
    assert "**xquad**: nats a token of the right answer, lower is better (float32, " in text
    assert "scoring likelihood" in text
