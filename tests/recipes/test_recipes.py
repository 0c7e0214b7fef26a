"""Every recipe from end to end, with a tiny model of the same architecture, tiny data, and few tokens."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hub_folder import write_hub_folder
from recipe_helpers import mnli_rows, save_tiny, squad_rows, write_tasks, write_wikipedia

RECIPES = Path(__file__).parents[2] / "recipes"
LANGUAGES = ["en", "fr", "es", "vi", "id", "ja", "zh", "bn", "hi", "ta", "te", "mr", "ur", "kn", "ml", "pa"]
FILES = {
    "corpus": ["wikipedia.jsonl"],
    "profile": ["checkpoint/config.json", "checkpoint/neuron_quantiles.safetensors"],
    "neurons": ["neurons/neurons.html"],
    "perplexity-change": [
        f"perplexity-change-{name}/perplexity-change.csv" for name in ("set1", "set6", "probability")
    ],
    "interventions": [f"interventions-{task}/interventions.csv" for task in ("xnli", "xquad")],
    "finetune": [f"finetune-{name}/finetune.csv" for name in ("xnli-lape", "xnli-probability", "xquad-lape")],
    "report": ["report/report.html"],
}
"""Steps of a recipe on neurons, and what they end with."""
SHORT = ("corpus", "profile", "neurons", "interventions")
"""Those that are enough for a second architecture: the script is the same one."""


def run(recipe: str, folder: Path, settings: dict[str, object]) -> str:
    """What a run to the end says; from another folder than the project's."""
    environment = {**os.environ, "PYTHON": sys.executable, "OUT": "out"}
    environment |= {name: str(value) for name, value in settings.items()}
    ended = subprocess.run([RECIPES / recipe], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "kind", "steps"),
    [("llama-3.1-8b-neurons", "llama", tuple(FILES)), ("mistral-nemo-neurons", "mistral", SHORT)],
)
def test_language_neurons(recipe: str, kind: str, steps: tuple[str, ...], tmp_path: Path) -> None:
    settings: dict[str, object] = {
        "MODEL": save_tiny(tmp_path / "model", kind),
        "WIKIPEDIA": write_wikipedia(tmp_path / "wikipedia", LANGUAGES),
        "DATA": write_tasks(tmp_path / "tasks", ["en", "vi", "hi", "ur", "zh"]),
        "MNLI": write_hub_folder(tmp_path / "mnli", {"default": {"train": mnli_rows(24)}}),
        "SQUAD": write_hub_folder(tmp_path / "squad", {"plain_text": {"train": squad_rows(12)}}),
        "STEPS": " ".join(steps),
    }
    settings |= {"TOKENS": 800, "HELD_OUT": 160, "MAX_LENGTH": 32, "LAPE": ",top_rate=0.3,activation_percentile=0.5"}
    settings |= {
        "SAMPLES": 3,
        "VALUES": "mean,p90,zero",
        "PAIRS": 16,
        "QUESTIONS": 8,
        "FINETUNE": "",
        "SETUPS": "none,target",
        "XNLI": "vi",
        "XQUAD": "vi",
    }
    run(recipe, tmp_path, settings)
    out = tmp_path / "out"
    lines = (out / "wikipedia.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 31, "25 of 32 tokens to profile, 6 for the perplexities"
    config = json.loads((out / "checkpoint" / "config.json").read_text())
    assert (config["model_type"], config["languages"]) == (f"clas_{kind}", LANGUAGES)
    assert [file for step in steps for file in FILES[step] if not (out / file).is_file()] == []
    if kind == "llama":
        for name, count in (("set1", 7), ("set6", 10), ("probability", 5)):
            table = (out / f"perplexity-change-{name}" / "perplexity-change.csv").read_text(encoding="utf-8")
            assert len(list(csv.DictReader(table.splitlines()))) == count**2, name
        before = {path: path.stat().st_mtime_ns for path in (out / "checkpoint").iterdir()}
        said = run(recipe, tmp_path, {**settings, "STEPS": "corpus profile perplexity-change"})
        assert "finished: out/checkpoint\n" in said
        assert "perplexity-change-set6: goes on, 10 parts are there already" in said
        assert {path: path.stat().st_mtime_ns for path in (out / "checkpoint").iterdir()} == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "kind", "tasks"),
    [("llama-3.1-8b-clas", "llama", ["xnli", "xquad"]), ("qwen2.5-7b-clas", "qwen2", ["xnli"])],
)
def test_clas(recipe: str, kind: str, tasks: list[str], tmp_path: Path) -> None:
    settings: dict[str, object] = {
        "TASKS": " ".join(tasks),
        "MODEL": save_tiny(tmp_path / "model", kind),
        "DATA": write_tasks(tmp_path / "tasks", ["en", "hi", "zh"]),
    }
    settings |= {"BRIDGE_LAYERS": "2-3", "PROFILED": 4, "SAMPLES": 6, "GRID_SAMPLES": 3}
    settings |= {"BETAS": "0.2,0.4", "GAMMAS": 0.2, "ALPHAS": "-4,2"}
    said = run(recipe, tmp_path, settings)
    out = tmp_path / "out"
    for task in tasks:
        config = json.loads((out / f"checkpoint-{task}" / "config.json").read_text())
        assert (config["model_type"], config["bridge_layers"]) == (f"clas_{kind}", [2, 3])
        methods = json.loads((out / f"tables-{task}" / "run.json").read_text())["methods"]
        assert list(methods) == ["base", "int-mean", "clas"]
        assert methods["clas"]["alpha"] in (-4.0, 2.0)
    assert "'--alpha=-4,2'" in said
    report = json.loads((out / "report" / "report.json").read_text(encoding="utf-8"))
    assert len(report["settings"]) == 3 * len(tasks) + 1, "runs, and versions"


def test_the_recipes_are_those_of_the_readme() -> None:
    text = (RECIPES / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^    recipes/(\S+)$", text, re.MULTILINE)
    programs = {path.name for path in RECIPES.iterdir() if path.is_file() and os.access(path, os.X_OK)}
    assert programs - {"clas", "language-neurons"} == set(listed)
