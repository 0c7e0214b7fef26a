"""The harness predicts what `python -m eval` predicts, row by row."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from run_helpers import WORDS, evaluation_fixture, records  # noqa: F401
from tasks.support import hub, write_hub_folder  # noqa: F401

from clas_models.errors import InputError
from clas_models.profiling.corpora.xnli import HUB_LANGUAGES

from .support import Harness

pytestmark = pytest.mark.slow

LANGUAGES = ("en", "zh")
TASKS = ("xnli", "xquad", "mmmlu", "xcopa")


@pytest.fixture(name="options")
def options_fixture(model: Path, sources: Path) -> list[object]:
    """Of `python -m eval run`, without --out: the same model, data and templates as the harness has."""
    return [
        *("run", model, "--tasks", ",".join(TASKS), "--data-dir", sources / "data"),
        *("--templates", sources / "templates", "--languages", ",".join(LANGUAGES)),
    ]


@pytest.mark.parametrize(("chat", "batch_size"), [(True, 1), (False, 4)])
def test_predictions_and_scores_are_those_of_eval(
    harness: Harness, options: list[object], evaluation: Any, tmp_path: Path, chat: bool, batch_size: int
) -> None:
    evaluation.made(*options, *([] if chat else ["--no-chat-template"]), "--out", tmp_path / "run")
    for language in LANGUAGES:
        for task in TASKS:
            expected = records(tmp_path / "run", task, "clas", language)
            found = harness(f"clas_{task}_{language}", language=language, chat=chat, batch_size=batch_size)
            assert found.given == {record.key: record.prediction for record in expected}
            for record in expected:
                scores = found.scores[record.key]
                assert {name: scores[name] for name in record.scores} == record.scores
            main = next(iter(expected[0].scores))
            mean = sum(record.scores[main] for record in expected) / len(expected)
            assert found.summary[f"{main},none"] == pytest.approx(mean)


def test_the_language_and_the_strength_reach_the_model(
    harness: Harness, options: list[object], evaluation: Any, tmp_path: Path
) -> None:
    evaluation.made(*options, "--tasks", "xnli", "--alpha=-2", "--languages", "de", "--out", tmp_path / "run")
    base, clas = (
        {record.key: record.prediction for record in records(tmp_path / "run", "xnli", method, "de")}
        for method in ("base", "clas")
    )
    assert base != clas
    for alpha in (-2.0, {"de": -2, "default": 0}):
        assert harness("clas_xnli_de", language="de", alpha=alpha).given == clas
    assert harness("clas_xnli_de", language="de", alpha=0).given == base


def test_a_prompt_is_cut_as_eval_cuts_it(
    harness: Harness, options: list[object], evaluation: Any, tmp_path: Path
) -> None:
    evaluation.made(*options, "--tasks", "xquad", "--max-length", 80, "--out", tmp_path / "run")
    expected = records(tmp_path / "run", "xquad", "clas", "en")
    assert all(record.cut for record in expected)
    shorter = Harness(harness.model, {**harness.metadata, "max_prompt_length": 80})
    found = shorter("clas_xquad_en", language="en").given
    assert found == {record.key: record.prediction for record in expected}
    assert found != harness("clas_xquad_en", language="en").given


def test_a_limit_is_the_first_samples(harness: Harness, options: list[object], evaluation: Any, tmp_path: Path) -> None:
    evaluation.made(*options, "--tasks", "xnli", "--samples", 5, "--out", tmp_path / "run")
    expected = {record.key: record.prediction for record in records(tmp_path / "run", "xnli", "clas", "zh")}
    assert harness("clas_xnli_zh", language="zh", limit=5).given == expected


def test_the_hub_gives_what_files_give(harness: Harness, hub: Path) -> None:  # noqa: F811
    pair = {"premise": "Es regnet.", "hypothesis": "Es ist nass.", "label": 0}
    question = {
        "id": "a",
        "context": "Es regnet.",
        "question": "Was?",
        "answers": {"text": ["es"], "answer_start": [0]},
    }
    write_hub_folder(hub / "facebook" / "xnli", {"de": [pair]})
    write_hub_folder(hub / "google" / "xquad", {"xquad.de": [question]})
    loaded = Harness(harness.model, {"templates": harness.metadata["templates"]}).manager()
    xnli, xquad = (loaded.load([f"clas_{task}_de"])["tasks"][f"clas_{task}_de"] for task in ("xnli", "xquad"))
    assert list(xnli.eval_docs) == [
        {"key": "1", "language": "de", "premise": "Es regnet.", "hypothesis": "Es ist nass.", "gold": 0}
        | {"text": "Es regnet.|Es ist nass."}
    ]
    assert list(xquad.eval_docs) == [
        {"key": "a", "language": "de", "context": "Es regnet.", "question": "Was?", "gold": ["es"]}
        | {"text": "Es regnet.|Was?"}
    ]


def test_a_group_is_all_languages_and_their_mean(harness: Harness, sources: Path, tmp_path: Path) -> None:
    for code in HUB_LANGUAGES:
        source = sources / "data" / "xnli" / f"dev-{code if code in WORDS else 'sw'}.tsv"
        shutil.copyfile(source, tmp_path / f"dev-{code}.tsv")
    everywhere = Harness(harness.model, {**harness.metadata, "data_dir": str(tmp_path)})
    results = everywhere.results(["clas_xnli"], limit=2, alpha=0)["results"]
    accuracies = [results[f"clas_xnli_{code}"]["accuracy,none"] for code in HUB_LANGUAGES]
    assert 0 < sum(accuracies) < len(accuracies)
    assert results["clas_xnli"]["accuracy,none"] == pytest.approx(sum(accuracies) / len(accuracies))


# ---- what is refused


def refused(harness: Harness, task: str, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        harness(task, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_group_in_one_language_is_refused(harness: Harness) -> None:
    said = refused(harness, "clas_xnli_zh", language="de")
    assert said.startswith("clas_xnli_zh: --model_args has language=de, which would steer its zh prompts as de; ")


def test_missing_data_are_named(harness: Harness, tmp_path: Path) -> None:
    nowhere = Harness(harness.model, {"data_dir": str(tmp_path / "nowhere")})
    assert refused(nowhere, "clas_xnli_de").startswith(f"data_dir {tmp_path / 'nowhere'} is not a folder: ")
    assert "has no vi: choose among de, en, sw, zh" in refused(harness, "clas_xquad_vi")


def test_a_system_instruction_is_not_part_of_the_protocol(harness: Harness) -> None:
    task = harness.manager().load(["clas_xnli_de"])["tasks"]["clas_xnli_de"]
    with pytest.raises(InputError, match=r"clas_xnli_de: .* leave out --system_instruction"):
        task.fewshot_context(task.eval_docs[0], 0, "Be brief.")
    with pytest.raises(InputError, match=r"clas_xnli_de: .* leave out --num_fewshot"):
        task.fewshot_context(task.eval_docs[0], 2)
