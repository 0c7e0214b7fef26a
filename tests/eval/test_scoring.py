"""Choices ranked by the likelihood of their texts, from the command line to the records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import DATA
from real_models import smollm2
from run_helpers import (  # noqa: F401
    contents,
    evaluation_fixture,
    records,
    save_plain,
    steered_fixture,
    write_choices,
)

from eval.loading import open_checkpoint
from eval.prompts import PromptBuilder
from eval.run_folder import RunFolder
from eval.tasks import Example, ExampleSource, task_of
from eval.templates import find_templates

MMMLU = task_of("mmmlu")
ROWS = 7


@pytest.fixture(scope="module", name="source")
def source_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions with choices of different lengths, and a template of few tokens."""
    folder = tmp_path_factory.mktemp("choices")
    write_choices(folder, ROWS, ("en", "de"))
    (folder / "question_choice.txt").write_text("{question}|{a}|{b}|{c}|{d}", encoding="utf-8")
    return folder


@pytest.fixture
def arguments(steered: Path, source: Path) -> list[object]:
    """Of a run without --out."""
    return [
        *("run", steered, "--tasks", "mmmlu", "--methods", "base,clas", "--scoring", "continuation", "--quiet"),
        *("--data-dir", source, "--templates", source, "--batch-size", 3),
    ]


def likelihoods(model: Any, prompt: str, choices: list[str], tokenizer: Any, **asked: Any) -> list[float]:
    """The mean log p a token of each choice after a prompt, by plain forward passes."""
    start = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    found = []
    for choice in choices:
        ids = torch.tensor([tokenizer(prompt + choice, add_special_tokens=False)["input_ids"]])
        with torch.inference_mode():
            log_p = model(ids, **asked).logits[0].float().log_softmax(-1)
        found.append(float(log_p[start - 1 : -1].gather(1, ids[0, start:, None]).double().mean()))
    return found


def test_records_are_the_likelihoods_of_the_choices(
    arguments: list[object], evaluation: Any, steered: Path, source: Path, tmp_path: Path
) -> None:
    evaluation.made(*arguments, "--out", tmp_path / "run")
    checkpoint = open_checkpoint(str(steered))
    model, tokenizer = checkpoint.load(), checkpoint.tokenizer
    builder = PromptBuilder(tokenizer, find_templates("question_choice", source), MMMLU)
    examples = {example.key: example for example in MMMLU.load(["de"], ExampleSource(source))["de"]}
    for method, alpha in (("base", 0.0), ("clas", 4.0)):
        found = records(tmp_path / "run", "mmmlu", method, "de")
        assert {record.key for record in found} == set(examples)
        for record in found:
            example = examples[record.key]
            prompt = builder.build(example, "de").text
            with model.temporary_steering(alpha=alpha):
                texts = [example.fields[name] for name in "abcd"]
                expected = likelihoods(model, prompt, texts, tokenizer, language="de")
            assert record.choice_scores == pytest.approx(expected, rel=1e-4)
            assert record.prediction == expected.index(max(expected))
            assert record.scores == {"accuracy": float(record.prediction == example.gold[0])}
    assert RunFolder.open(tmp_path / "run").settings.other["scoring"] == "continuation"


def test_the_scoring_makes_another_run(arguments: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*arguments, "--samples", 4, "--out", tmp_path / "run")
    before = contents(tmp_path / "run")
    said = evaluation.refused(*arguments, "--samples", 4, "--scoring", "letter", "--out", tmp_path / "run")
    assert "scoring continuation, now not there" in said
    assert contents(tmp_path / "run") == before
    evaluation.made(*arguments, "--samples", 4, "--scoring", "letter", "--out", tmp_path / "letters")
    assert "scoring" not in RunFolder.open(tmp_path / "letters").settings.other
    for name, content in before.items():
        assert content != contents(tmp_path / "letters")[name]


def test_a_run_goes_on_and_grows_to_the_same_bytes(arguments: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*arguments, "--out", tmp_path / "whole")
    evaluation.made(*arguments, "--out", tmp_path / "cut")
    file = tmp_path / "cut" / "predictions" / "mmmlu" / "clas" / "de.jsonl"
    file.write_bytes(file.read_bytes()[:-50])
    evaluation.made(*arguments, "--out", tmp_path / "cut")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


@pytest.mark.parametrize("command", [("grid", "--alpha", "1,2"), ("tune", "--alpha", "1,2")])
def test_grids_and_tuning_take_it(
    command: tuple[str, ...], steered: Path, source: Path, evaluation: Any, tmp_path: Path
) -> None:
    name, *options = command
    common = ["--task", "mmmlu", "--scoring", "continuation", "--data-dir", source, "--templates", source, "--quiet"]
    evaluation.made(name, steered, *options, *common, "--out", tmp_path / "run")
    settings = RunFolder.open(tmp_path / "run").settings
    found = {method: records(tmp_path / "run", "mmmlu", method, "de") for method in settings.methods}
    assert len({record.choice_scores for given in found.values() for record in given}) == 3 * ROWS


def test_a_scoring_that_does_not_fit_a_task_is_refused(steered: Path, evaluation: Any, tmp_path: Path) -> None:
    options = ["--scoring", "continuation", "--data-dir", tmp_path, "--out", tmp_path / "run"]
    said = evaluation.refused("run", steered, "--tasks", "xnli,mmmlu,xquad", *options)
    assert said == (
        "scoring 'continuation' is for choices that are texts, which xnli, xquad has not: leave it out, or that task"
    )
    options[1] = "likelihood"
    said = evaluation.refused("run", steered, "--tasks", "xnli,perplexity", *options)
    assert said == (
        "scoring 'likelihood' is for tasks with a right answer, which perplexity has not, being a likelihood already: "
        "leave it out, or that task"
    )
    options[1] = "length"
    said = evaluation.refused("run", steered, "--tasks", "mmmlu", *options)
    assert said == "scoring 'length': choose one of letter, continuation, likelihood, head"


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "okapi-m-mmlu").is_dir(), reason=f"MMLU is not at {DATA / 'okapi-m-mmlu'}")
@pytest.mark.parametrize("chat", [True, False])
def test_a_real_model_on_real_questions(evaluation: Any, tmp_path: Path, chat: bool) -> None:
    model_folder = smollm2()
    common = ["--tasks", "mmmlu", "--languages", "en,de", "--samples", 4, "--skip", 20, "--data-dir", DATA]
    common += [] if chat else ["--no-chat-template"]
    for scoring in ("letter", "continuation"):
        out = tmp_path / scoring
        evaluation.made("run", model_folder, *common, "--scoring", scoring, "--batch-size", 4, "--out", out, "--quiet")
    checkpoint = open_checkpoint(str(model_folder))
    model, tokenizer = checkpoint.load(), checkpoint.tokenizer
    builder = PromptBuilder(tokenizer, find_templates("question_choice"), MMMLU, 4096, chat)
    examples: dict[str, Example] = {
        example.key: example for example in MMMLU.load(["de"], ExampleSource(DATA, samples=4, skip=20))["de"]
    }
    for scoring in ("letter", "continuation"):
        for record in records(tmp_path / scoring, "mmmlu", "base", "de"):
            example = examples[record.key]
            prompt = builder.build(example, "de").text
            if scoring == "continuation":
                expected = likelihoods(model, prompt, [example.fields[name].strip() for name in "abcd"], tokenizer)
            else:
                letters = torch.tensor(likelihoods(model, prompt, list("ABCD"), tokenizer))
                expected = letters.log_softmax(-1).tolist()
            assert record.choice_scores == pytest.approx(expected, abs=1e-3)
            assert record.prediction == expected.index(max(expected))
