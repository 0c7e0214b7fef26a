"""Scores of a run in the card of its checkpoint: for the Hub in its `model-index` form, and for people."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from conversion.support import file_bytes, rewrite_json
from huggingface_hub import EvalResult, ModelCard, metadata_load
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from run_helpers import (  # noqa: F401
    contents,
    data_fixture,
    evaluation_fixture,
    run_main,
    save_steered,
    steered_fixture,
    templates_fixture,
)

from clas_models.conversion.model_card import RESULTS_BEGIN, RESULTS_END
from eval.card import with_section
from eval.report.collect import collect

TASKS = "xnli,xquad"


@pytest.fixture(scope="module")
def finished(steered: Path, data: Path, templates: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny checkpoint on two tasks in three languages."""
    out = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["run", steered, "--tasks", TASKS, "--languages", "en,de,zh", "--samples", 6, "--data-dir", data]
    assert run_main([*arguments, "--templates", templates, "--out", out, "--quiet"]) == 0
    return out


@pytest.fixture
def checkpoint(steered: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint, whose card may be written."""
    return Path(shutil.copytree(steered, tmp_path / "tiny-clas"))


def expected(run: Path, method: str) -> dict[tuple[str, str], float]:
    """The scores in the run's records, by task and language, in per cent."""
    return {
        (task.task, code): task.scale.shown(list(records.values()))
        for task in collect([run])
        for (name, code), records in task.records.items()
        if name == method
    }


def test_scores_are_in_the_form_that_the_hub_reads(finished: Path, checkpoint: Path, evaluation: Any) -> None:
    ended = evaluation.made("card", checkpoint, finished)
    assert ended.out == f"{checkpoint / 'README.md'}\n"
    metadata = metadata_load(checkpoint / "README.md")
    assert metadata is not None
    name, results = model_index_to_eval_results(metadata["model-index"])
    assert name == "tiny-clas"
    # The library's own two directions: nothing in it is unknown to the Hub, and nothing gets lost.
    assert eval_results_to_model_index(name, results) == metadata["model-index"]
    clas, base = expected(finished, "clas"), expected(finished, "base")
    assert len(results) == len(clas) == 6
    configs = {"xnli": "{}", "xquad": "xquad.{}"}
    datasets = {"facebook/xnli": "xnli", "google/xquad": "xquad"}
    for result in results:
        task = datasets[result.dataset_type]
        (code,) = [code for code in ("en", "de", "zh") if result.dataset_config == configs[task].format(code)]
        assert result.metric_value == pytest.approx(clas[task, code], abs=0.006)
        strengths = {"alpha": 4.0, "beta": 0.9, "gamma": 0.6}
        compared = {"examples": 6, "base": pytest.approx(base[task, code], abs=0.006)}
        assert result.metric_args == {"method": "clas", **strengths, **compared}
        assert result.metric_type == {"xnli": "accuracy", "xquad": "f1"}[task]


def test_section_has_a_row_for_every_language_with_the_base_beside_it(
    finished: Path, checkpoint: Path, evaluation: Any
) -> None:
    evaluation.made("card", checkpoint, finished)
    text = ModelCard.load(checkpoint / "README.md").text
    shown = text.split(RESULTS_BEGIN)[1].split(RESULTS_END)[0]
    assert "Nothing was evaluated" not in text
    assert "**xnli**: accuracy, %, higher is better (float32, prompts of at most 512 tokens)" in shown
    rows = [line.split("|")[1:-1] for line in shown.splitlines() if line.startswith(("| en", "| de", "| zh"))]
    assert len(rows) == 6
    clas, base = expected(finished, "clas"), expected(finished, "base")
    assert clas != base, "else the columns could be mixed up"
    for row, (task, code) in zip(rows, clas, strict=True):
        cells = [cell.strip() for cell in row]
        assert cells[:2] == [code, "6"]
        assert float(cells[2]) == pytest.approx(base[task, code], abs=0.006)
        assert float(cells[3]) == pytest.approx(clas[task, code], abs=0.006)
        assert float(cells[4]) == pytest.approx(float(cells[3]) - float(cells[2]), abs=0.011)
        low, high = map(float, cells[5].split(" to "))
        assert low <= float(cells[4]) <= high


def test_nothing_but_the_results_changes(finished: Path, checkpoint: Path, evaluation: Any) -> None:
    before, card = file_bytes(checkpoint), (checkpoint / "README.md").read_text()
    run = contents(finished)
    evaluation.made("card", checkpoint, finished)
    once = file_bytes(checkpoint)
    assert {name for name in once if once[name] != before.get(name)} == {"README.md"}
    assert contents(finished) == run
    old, new = ModelCard(card), ModelCard(once["README.md"].decode())
    assert new.text.split(RESULTS_BEGIN)[0] == old.text.split(RESULTS_BEGIN)[0]
    assert new.text.split(RESULTS_END)[1] == old.text.split(RESULTS_END)[1]
    added = new.data.to_dict()
    added.pop("model-index")
    assert added == old.data.to_dict()
    evaluation.made("card", checkpoint, finished)
    assert file_bytes(checkpoint) == once, "a second time changes nothing"


def test_another_run_replaces_the_scores_and_keeps_those_of_others(
    finished: Path, checkpoint: Path, data: Path, templates: Path, evaluation: Any, tmp_path: Path
) -> None:
    evaluation.made("card", checkpoint, finished)
    theirs = EvalResult("text-generation", "org/data", "Data", "bleu", 12.5, task_name="Translation")
    add_result(checkpoint / "README.md", theirs)
    options = ["--tasks", "xnli", "--languages", "de", "--samples", 4, "--data-dir", data, "--methods", "clas"]
    evaluation.made("run", checkpoint, *options, "--templates", templates, "--out", tmp_path / "second", "--quiet")
    before = file_bytes(checkpoint)
    said = evaluation.refused("card", checkpoint, tmp_path / "second")
    assert "README.md: it has scores that these runs do not have (XNLI (en), accuracy, XNLI (zh), accuracy, " in said
    assert said.endswith("; name the runs that have them, too, or --overwrite to replace it")
    assert file_bytes(checkpoint) == before
    evaluation.made("card", checkpoint, tmp_path / "second", "--overwrite")
    card = ModelCard.load(checkpoint / "README.md")
    kept, mine = card.data["eval_results"]
    assert kept == theirs
    assert (mine.dataset_config, mine.metric_args) == (
        "de", {"method": "clas", "alpha": 4.0, "beta": 0.9, "gamma": 0.6, "examples": 4}
    )  # fmt: skip
    assert "xquad" not in card.text.split(RESULTS_BEGIN)[1].split(RESULTS_END)[0]
    assert "| de | 4 | – | " in card.text, "the base was not run"


def add_result(card: Path, result: EvalResult) -> None:
    """As somebody would who evaluates in another way."""
    loaded = ModelCard.load(card)
    loaded.data["eval_results"] = [*loaded.data["eval_results"], result]
    loaded.save(card)


def test_perplexity_is_no_task_of_the_hub_s(checkpoint: Path, evaluation: Any, tmp_path: Path) -> None:
    corpus = tmp_path / "sources" / "my-rows.jsonl"
    corpus.parent.mkdir()
    corpus.write_text('{"en": "A cat.", "de": "Eine Katze."}\n{"en": "A dog.", "de": "Ein Hund."}\n')
    options = ["--tasks", "perplexity", "--corpus", corpus, "--out", tmp_path / "run", "--quiet"]
    evaluation.made("run", checkpoint, *options)
    evaluation.made("card", checkpoint, tmp_path / "run")
    card = ModelCard.load(checkpoint / "README.md")
    first = card.data["eval_results"][0]
    assert (first.task_type, first.dataset_type, first.metric_type) == (
        "text-generation", "my-rows.jsonl", "nats_per_token"
    )  # fmt: skip
    assert str(tmp_path) not in card.content, "where somebody's file lies is nobody's business"
    assert "nats a token, lower is better" in card.text


def test_scores_stand_beside_the_strengths_that_they_were_made_with(
    finished: Path, checkpoint: Path, evaluation: Any
) -> None:
    evaluation.made("card", checkpoint, finished)
    shown = (checkpoint / "README.md").read_text()
    assert shown.count("Made with alpha 4; beta 0.9; gamma 0.6, as is in force.") == 2


def test_after_a_change_the_card_says_what_is_in_force_now(finished: Path, checkpoint: Path, evaluation: Any) -> None:
    """As after `tune --write`: the weights are the same, and the scores those of other strengths."""
    rewrite_json(checkpoint / "config.json", lambda config: config.update(alpha={"zh": 1.5, "default": 0.0}))
    evaluation.made("card", checkpoint, finished)
    text = ModelCard.load(checkpoint / "README.md").text
    said = (
        "Made with alpha 4; beta 0.9; gamma 0.6. In force now: alpha zh 1.5, default 0; beta 0.9; gamma 0.6; these "
        "scores are not of it."
    )
    assert text.count(said) == 2
    for line in (
        "In force: alpha zh 1.5, 0 for every other language, the base model; beta 0.9, gamma 0.6.",
        'model.generate(**inputs, max_new_tokens=40, language="zh")     # steered: alpha 1.5',
        "| alpha | zh 1.5, default 0 |",
    ):
        assert f"\n{line}\n" in text
    results = ModelCard.load(checkpoint / "README.md").data["eval_results"]
    assert {result.metric_args["alpha"] for result in results} == {4.0}


# ---- what does not go into a card


def test_run_of_another_model(finished: Path, evaluation: Any, tmp_path: Path) -> None:
    other = save_steered(tmp_path / "other", "--bridge-layers", "1,2")
    before = file_bytes(other)
    said = evaluation.refused("card", other, finished)
    assert f"{finished}: a run of another model (steered), whose scores do not belong into the card of {other}" in said
    assert file_bytes(other) == before


def test_grid(checkpoint: Path, data: Path, templates: Path, evaluation: Any, tmp_path: Path) -> None:
    options = ["--task", "xnli", "--languages", "de", "--samples", 3, "--data-dir", data, "--alpha", "1,4"]
    evaluation.made("grid", checkpoint, *options, "--templates", templates, "--out", tmp_path / "grid", "--quiet")
    assert "no scores of clas; give the folder of an `eval run`" in evaluation.refused(
        "card", checkpoint, tmp_path / "grid"
    )


def test_same_task_twice(finished: Path, checkpoint: Path, evaluation: Any, tmp_path: Path) -> None:
    second = Path(shutil.copytree(finished, tmp_path / "second"))
    said = evaluation.refused("card", checkpoint, finished, second)
    assert said == f"{finished} and {second} both have xnli; give one of them"


@pytest.mark.parametrize(
    ("card", "fault"),
    [
        (None, "no README.md to write into; convert the model again, or add one"),
        ("---\nlanguage: [en\n---\n# Card\n", "README.md: its metadata cannot be read"),
        ("---\n- a list\n---\n# Card\n", "README.md: its metadata cannot be read"),
    ],
)
def test_card_that_cannot_be_used(
    finished: Path, checkpoint: Path, evaluation: Any, card: str | None, fault: str
) -> None:
    path = checkpoint / "README.md"
    path.unlink() if card is None else path.write_text(card)
    assert fault in evaluation.refused("card", checkpoint, finished)
    assert (path.read_text() if path.exists() else None) == card


def test_folder_that_is_none(finished: Path, evaluation: Any, tmp_path: Path) -> None:
    assert "gone: no such folder" in evaluation.refused("card", tmp_path / "gone", finished)


@pytest.mark.parametrize(
    ("text", "expected_text"),
    [
        ("# A\n", "# A\n\n## Evaluation\n\n{}\n"),
        ("# A\n\n## Limits\nb\n", "# A\n\n## Evaluation\n\n{}\n\n## Limits\nb\n"),
        ("a\n<!-- results -->\nold\n<!-- /results -->\nb\n", "a\n{}\nb\n"),
        ("a\n<!-- results -->\nno end\n", "a\n<!-- results -->\nno end\n\n## Evaluation\n\n{}\n"),
    ],
)
def test_where_the_section_goes(text: str, expected_text: str) -> None:
    assert with_section(text, "new") == expected_text.format("<!-- results -->\nnew\n<!-- /results -->")
