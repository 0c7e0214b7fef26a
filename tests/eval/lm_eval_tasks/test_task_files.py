"""The YAML files are those that the table gives, and say what the tasks of `python -m eval` say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from clas_eval.lm_eval_tasks import PATH
from clas_eval.lm_eval_tasks.scores import choice_scores, macro_f1_of, xnli_scores, xquad_scores
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from clas_models.modeling.language_tags import own_code
from clas_models.profiling.corpora import xnli, xquad
from eval.lm_eval_tasks.generate import HARNESS_TASKS, HarnessTask, write
from eval.tasks import TASKS, Kind, task_of

XQUAD = task_of("xquad")


def config(task: str, language: str) -> dict[str, Any]:
    return load_yaml(PATH / task / f"clas_{task}_{language}.yaml")


def by_name(harness_task: HarnessTask) -> str:
    return harness_task.name


def test_the_files_are_those_that_the_table_gives(tmp_path: Path) -> None:
    (tmp_path / "xnli").mkdir()
    (tmp_path / "xnli" / "clas_xnli_la.yaml").write_text("of an older table")
    write(tmp_path)
    expected, found = (
        {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in folder.glob("*/*yaml")}
        for folder in (tmp_path, PATH)
    )
    assert found == expected, "run python -m eval.lm_eval_tasks.generate"
    assert {Path(name).parts[0] for name in found} == {
        name for name, task in TASKS.items() if task.kind is not Kind.PERPLEXITY
    }


@pytest.mark.parametrize("harness_task", HARNESS_TASKS, ids=by_name)
def test_every_language_of_the_data_set_is_a_task_of_its_group(harness_task: HarnessTask) -> None:
    task = harness_task.name
    manager = TaskManager(include_path=str(PATH), include_defaults=False)
    expected = [f"clas_{task}_{language}" for language in harness_task.configs]
    assert [name for name in manager.all_subtasks if name.startswith(f"clas_{task}_")] == sorted(expected)
    assert load_yaml(PATH / task / f"clas_{task}.yaml")["task"] == expected
    for language, place in harness_task.configs.items():
        found = config(task, language)
        assert (found["dataset_path"], found["dataset_name"]) == place
        assert found["dataset_kwargs"] == {"protocol": task, "language": language}
        assert own_code(language) == language


def test_languages_are_those_of_the_hub() -> None:
    tables = {task.name: task.configs for task in HARNESS_TASKS}
    assert tuple(tables["xnli"]) == xnli.HUB_LANGUAGES
    assert tuple(tables["xquad"]) == xquad.HUB_LANGUAGES
    assert tables["belebele"]["zh-Hant"] == ("facebook/belebele", "zho_Hant")
    assert tables["hellaswag"]["en"] == ("Rowan/hellaswag", "default")
    assert tables["xcopa"]["en"] == ("aps/super_glue", "copa")
    assert {name: len(configs) for name, configs in tables.items()} == {
        "xnli": 15, "xquad": 12, "belebele": 122, "mmmlu": 34, "hellaswag": 31, "xcopa": 12,
    }  # fmt: skip


@pytest.mark.parametrize("harness_task", HARNESS_TASKS, ids=by_name)
def test_the_protocols_are_those_of_eval(harness_task: HarnessTask) -> None:
    task, found = task_of(harness_task.name), config(harness_task.name, "en")
    scores = [score["metric"] for score in found["metric_list"]]
    assert scores == [*task.metrics, *(["macro_f1"] if task.name == "xnli" else [])]
    if task.kind is Kind.CHOICE:
        assert found["output_type"] == "multiple_choice"
        assert tuple(found["doc_to_choice"]) == task.choices
    else:
        assert found["output_type"] == "generate_until"
        assert found["generation_kwargs"]["max_gen_toks"] == XQUAD.max_new_tokens


def test_scores_are_those_of_eval() -> None:
    row = {"key": "a", "language": "de", "context": "c", "question": "q", "gold": ["der Brot", "Käse"], "text": ""}
    assert xquad_scores(row, [" Brot\n"]) == {
        "f1": pytest.approx(2 / 3), "exact_match": 0.0, "mlqa_f1": 1.0, "mlqa_exact_match": 1.0,
    }  # fmt: skip
    pair = {"key": "1", "language": "de", "premise": "p", "hypothesis": "h", "gold": 2, "text": ""}
    assert xnli_scores(pair, [(-2.0, False), (-1.0, True), (-1.0, True)]) == {"accuracy": 0.0, "macro_f1": (1, 2)}
    assert xnli_scores(pair, [(-2.0, False), (-3.0, False), (-1.0, True)]) == {"accuracy": 1.0, "macro_f1": (2, 2)}
    question = {"key": "1", "language": "de", "question": "q", "gold": 1, "text": ""}
    assert choice_scores(question, [(-2.0, False), (-1.0, True)]) == {"accuracy": 1.0}
    assert macro_f1_of([(1, 2), (2, 2)]) == pytest.approx(1 / 3)
