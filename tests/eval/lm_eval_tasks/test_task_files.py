"""The YAML files say what the tasks of `python -m eval` say: languages, data sets, choices, lengths, scores."""

from __future__ import annotations

from typing import Any

import pytest
from clas_eval.lm_eval_tasks import PATH
from clas_eval.lm_eval_tasks.scores import macro_f1_of, xnli_scores, xquad_scores
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from clas_models.profiling.corpora import xnli, xquad
from eval.tasks import task_of

XNLI, XQUAD = task_of("xnli"), task_of("xquad")


def config(task: str, language: str) -> dict[str, Any]:
    return load_yaml(PATH / task / f"clas_{task}_{language}.yaml")


@pytest.mark.parametrize(("task", "corpus"), [("xnli", xnli), ("xquad", xquad)])
def test_every_language_of_the_data_set_is_a_task_of_its_group(task: str, corpus: Any) -> None:
    manager = TaskManager(include_path=str(PATH), include_defaults=False)
    expected = [f"clas_{task}_{language}" for language in corpus.HUB_LANGUAGES]
    assert [name for name in manager.all_subtasks if name.startswith(f"clas_{task}_")] == sorted(expected)
    assert load_yaml(PATH / task / f"clas_{task}.yaml")["task"] == expected
    for language in corpus.HUB_LANGUAGES:
        prefix = "xquad." if task == "xquad" else ""
        found = config(task, language)
        assert (found["dataset_path"], found["dataset_name"]) == (corpus._REPO, f"{prefix}{language}")


def test_the_protocols_are_those_of_eval() -> None:
    classes, answers = config("xnli", "de"), config("xquad", "de")
    assert (classes["output_type"], answers["output_type"]) == ("multiple_choice", "generate_until")
    assert tuple(classes["doc_to_choice"]) == XNLI.choices
    assert answers["generation_kwargs"]["max_gen_toks"] == XQUAD.max_new_tokens
    assert [score["metric"] for score in classes["metric_list"]] == [*XNLI.metrics, "macro_f1"]
    assert [score["metric"] for score in answers["metric_list"]] == list(XQUAD.metrics)


def test_scores_are_those_of_eval() -> None:
    row = {"key": "a", "language": "de", "context": "c", "question": "q", "gold": ["der Brot", "Käse"], "text": ""}
    assert xquad_scores(row, [" Brot\n"]) == {
        "f1": pytest.approx(2 / 3), "exact_match": 0.0, "mlqa_f1": 1.0, "mlqa_exact_match": 1.0,
    }  # fmt: skip
    pair = {"key": "1", "language": "de", "premise": "p", "hypothesis": "h", "gold": 2, "text": ""}
    assert xnli_scores(pair, [(-2.0, False), (-1.0, True), (-1.0, True)]) == {"accuracy": 0.0, "macro_f1": (1, 2)}
    assert xnli_scores(pair, [(-2.0, False), (-3.0, False), (-1.0, True)]) == {"accuracy": 1.0, "macro_f1": (2, 2)}
    assert macro_f1_of([(1, 2), (2, 2)]) == pytest.approx(1 / 3)
