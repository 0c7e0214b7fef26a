"""The `evaluate.Metric` modules: imported from the package, and loaded from their paths with no network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eval.metrics.choice_accuracy import ChoiceAccuracyMetric
from eval.metrics.mlqa import MlqaMetric
from eval.metrics.squad import SquadMetric

METRICS = Path(__file__).parents[3] / "eval" / "metrics"
CASES: dict[str, tuple[type, dict[str, Any], dict[str, float]]] = {
    "squad": (
        SquadMetric,
        {"predictions": ["the whale", "", "x"], "references": [["a", "Whale"], ["308"], ["x y"]]},
        {"f1": 100 * (1 + 0 + 2 / 3) / 3, "exact_match": 100 / 3},
    ),
    "mlqa": (
        MlqaMetric,
        {"predictions": ["北京。", "上海市"], "references": [["北京"], ["上海", "x"]], "language": "zh"},
        {"f1": 90.0, "exact_match": 50.0},
    ),
    "choice_accuracy": (
        ChoiceAccuracyMetric,
        {"predictions": [0, 1, 1], "references": [0, 1, 2]},
        {"accuracy": 200 / 3, "macro_f1": 100 * (1 + 2 / 3 + 0) / 3},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_metric_from_the_package(name: str, tmp_path: Path) -> None:
    metric, inputs, expected = CASES[name]
    assert metric(cache_dir=str(tmp_path)).compute(**inputs) == pytest.approx(expected)


@pytest.mark.slow
def test_metrics_load_from_their_paths_without_the_package_or_a_network(tmp_path: Path) -> None:
    code = (
        "import evaluate, json, sys\n"
        "cases = json.load(sys.stdin)\n"
        "print(json.dumps({path: evaluate.load(path).compute(**inputs) for path, inputs in cases.items()}))"
    )
    offline = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps({str(METRICS / f"{name}.py"): inputs for name, (_, inputs, _) in CASES.items()}),
        env={**os.environ, **offline},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == {str(METRICS / f"{name}.py"): pytest.approx(expected) for name, (_, _, expected) in CASES.items()}
