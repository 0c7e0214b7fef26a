"""The command that a user types, in a process of its own, which loads the checkpoint by its carried modeling files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from clas_eval.lm_eval_tasks import PATH
from run_helpers import evaluation_fixture, records  # noqa: F401

from .support import answers_of

DEADLINE = 300.0  # seconds


@pytest.mark.slow
def test_lm_eval_runs_a_steered_checkpoint(model: Path, sources: Path, evaluation: Any, tmp_path: Path) -> None:
    files = ("--data-dir", sources / "data", "--templates", sources / "templates")
    evaluation.made(
        *("run", model, "--tasks", "xnli,xquad", "--languages", "de", "--alpha=-2", *files, "--samples", 4),
        *("--out", tmp_path / "run"),
    )
    command = [
        *(sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--device", "cpu", "--apply_chat_template"),
        *("--model_args", f"pretrained={model},trust_remote_code=True,language=de,alpha=-2"),
        *("--include_path", PATH, "--tasks", "clas_xnli_de,clas_xquad_de", "--limit", 4),
        *("--metadata", f"data_dir={sources / 'data'}", f"templates={sources / 'templates'}"),
        *("--log_samples", "--output_path", tmp_path / "harness"),
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [str(part) for part in command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=DEADLINE
    )
    assert ended.returncode == 0, ended.stderr
    for task in ("xnli", "xquad"):
        assert f"|clas_{task}_de" in ended.stdout
        (written,) = (tmp_path / "harness").rglob(f"samples_clas_{task}_de_*.jsonl")
        samples = [json.loads(line) for line in written.read_text(encoding="utf-8").splitlines()]
        by_method = {
            method: {record.key: record.prediction for record in records(tmp_path / "run", task, method, "de")}
            for method in ("base", "clas")
        }
        assert answers_of(samples, {}).given == by_method["clas"] != by_method["base"]


def test_the_folder_is_told_without_loading_the_harness() -> None:
    script = "import sys, clas_eval.lm_eval_tasks as t; print(t.PATH, *{'torch', 'lm_eval'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert (Path(said) / "xnli" / "clas_xnli_de.yaml").is_file()
