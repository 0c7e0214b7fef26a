"""The harness in this process, on the tasks of this package, and what it answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clas_eval.lm_eval_tasks import PATH
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
from run_helpers import save_steered, write_choices, write_xnli, write_xquad

__all__ = ["Answers", "Harness", "answers_of"]


@dataclass(frozen=True)
class Answers:
    """Of one task of the harness: choices or texts and scores, both by the example's key, and the summary."""

    given: dict[str, int | str]
    scores: dict[str, dict[str, Any]]
    summary: Mapping[str, Any]


@dataclass(frozen=True)
class Harness:
    """`lm_eval --model hf` with local data and the templates of few tokens."""

    model: Path
    metadata: Mapping[str, Any]

    def manager(self, **model_args: Any) -> TaskManager:
        """Without the harness's own thousands of tasks, which take long to list."""
        metadata = {"pretrained": str(self.model), **model_args, **self.metadata}
        return TaskManager(include_path=str(PATH), include_defaults=False, metadata=metadata)

    def results(self, tasks: list[str], *, chat: bool = True, batch_size: int = 1, **model_args: Any) -> Any:
        limit = model_args.pop("limit", None)
        return simple_evaluate(
            model="hf",
            model_args={"pretrained": str(self.model), "trust_remote_code": True, **model_args},
            tasks=tasks,
            device="cpu",
            batch_size=batch_size,
            limit=limit,
            apply_chat_template=chat,
            task_manager=self.manager(**model_args),
        )

    def __call__(self, task: str, **options: Any) -> Answers:
        """One task; the options are those of `results`."""
        results = self.results([task], **options)
        return answers_of(results["samples"][task], results["results"][task])


def answers_of(samples: list[dict[str, Any]], summary: Mapping[str, Any]) -> Answers:
    """What the harness writes with --log_samples."""
    given: dict[str, int | str] = {}
    scores = {}
    for sample in samples:
        key = sample["doc"]["key"]
        replies = sample["filtered_resps"]
        if isinstance(replies[0], str):
            given[key] = replies[0].strip()
        else:
            likelihoods = [float(likelihood) for likelihood, _ in replies]
            given[key] = likelihoods.index(max(likelihoods))
        scores[key] = {name: sample[name] for name in sample["metrics"]}
    return Answers(given, scores, summary)


@pytest.fixture(scope="session", name="model")
def model_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny steered checkpoint whose generation configuration has a penalty: greedy means the largest logit."""
    folder = save_steered(tmp_path_factory.mktemp("harness") / "steered")
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "repetition_penalty": 1.7}))
    return folder


@pytest.fixture(scope="session", name="sources")
def sources_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and templates as the harness's --metadata names them, in two folders of this one."""
    folder = tmp_path_factory.mktemp("sources")
    write_xnli(folder / "data" / "xnli", rows=12)
    write_xquad(folder / "data" / "xquad", paragraphs=2)
    (folder / "templates").mkdir()
    (folder / "templates" / "xnli.txt").write_text("{premise}|{hypothesis}", encoding="utf-8")
    write_choices(folder / "data")
    (folder / "templates" / "question_choice.txt").write_text("{question}{a}{b}{c}{d}", encoding="utf-8")
    (folder / "templates" / "xcopa.txt").write_text("{premise}|{relation}|{a}|{b}", encoding="utf-8")
    (folder / "templates" / "xquad.txt").write_text("{context}|{question}", encoding="utf-8")
    return folder


@pytest.fixture(name="harness")
def harness_fixture(model: Path, sources: Path) -> Harness:
    return Harness(model, {"data_dir": str(sources / "data"), "templates": str(sources / "templates")})
