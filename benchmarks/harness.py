"""lm-evaluation-harness, asked the same questions in the same tokens: what `benchmarks.evaluation` compares with.

It scores the choices after a prompt by their log-likelihoods; those of choices of one token come from one forward pass.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

INSTALL = "it is not installed; pip install lm-eval"
_TASK = "clas_choices"


def harness_version() -> str | None:
    """None: it is not installed."""
    return importlib.metadata.version("lm_eval") if importlib.util.find_spec("lm_eval") else None


@dataclass
class Harness:
    """A model and a task of the harness.

    Attributes:
        model: `--model hf` around a model that is loaded already.
        tasks: the one task, as the harness keeps it.
        predictions: int64 `[prompts]`, what the last `run` chose.
    """

    model: Any
    tasks: Any
    predictions: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))

    @classmethod
    def of(
        cls,
        model: Any,
        tokenizer: Any,
        prompts: Sequence[tuple[int, ...]],
        choices: Sequence[tuple[str, int]],
        batch_size: int,
        folder: Path,
    ) -> Harness:
        """Write the task into a folder, prompts as text, and load it.

        Args:
            choices: what may be answered, and its token after a prompt.
            folder: an empty one that stays as long as the harness is used.

        Raises:
            RuntimeError: the harness would give a prompt and its choice other token ids.
        """
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        wrapped = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
        texts = [tokenizer.decode(ids, clean_up_tokenization_spaces=False) for ids in prompts]
        for text, ids in zip(texts, prompts, strict=True):
            if any(tuple(wrapped.tok_encode(text + choice)) != (*ids, token) for choice, token in choices):
                raise RuntimeError(f"as text, this prompt has other token ids: {text}")
        _write_task(folder, texts, [choice for choice, _ in choices])
        tasks = TaskManager(include_path=folder, include_defaults=False).load([_TASK])
        return cls(wrapped, tasks)

    def run(self) -> None:
        """From text to choices: requests, token ids, scores and logged samples.

        Without the index of tasks, the data set, resampled standard errors and the report on the environment, which
        `simple_evaluate` adds.
        """
        import lm_eval

        results = lm_eval.evaluate(lm=self.model, task_dict=self.tasks, bootstrap_iters=0, log_samples=True)
        samples = sorted(results["samples"][_TASK], key=lambda sample: sample["doc_id"])
        scores = [[likelihood for likelihood, _ in sample["filtered_resps"]] for sample in samples]
        self.predictions = torch.tensor(scores, dtype=torch.float64).argmax(-1)


def _write_task(folder: Path, texts: Sequence[str], choices: Sequence[str]) -> None:
    rows = folder / "rows.jsonl"
    # A task has a right answer; which one changes no prediction.
    rows.write_text("".join(json.dumps({"prompt": text, "gold": 0}) + "\n" for text in texts), encoding="utf-8")
    task = {
        "task": _TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(rows)}, "cache_dir": str(folder / "cache")},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "prompt",
        "doc_to_choice": list(choices),
        "doc_to_target": "gold",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    (folder / f"{_TASK}.yaml").write_text(json.dumps(task), encoding="utf-8")  # JSON is YAML
