"""A grid: every combination, the predictions of one run for each, and the price of the upper layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from run_helpers import (  # noqa: F401
    contents,
    data_fixture,
    evaluation_fixture,
    one_thread,
    records,
    steered_fixture,
    templates_fixture,
)

from clas_models.errors import InputError
from eval.grid import Grid, grid_methods
from eval.loading import Checkpoint, open_checkpoint
from eval.run_folder import RunFolder, folder_of

STRENGTHS = ("--alpha=-4,0,4", "--beta", "0.4,0.9", "--gamma", "0,0.6")


@pytest.fixture(scope="module")
def checkpoint(steered: Path) -> Checkpoint:
    return open_checkpoint(str(steered))


@pytest.fixture
def common(steered: Path, data: Path, templates: Path) -> list[object]:
    """Arguments that a grid and a run share."""
    return [
        *(steered, "--languages", "de,en", "--data-dir", data, "--templates", templates, "--batch-size", 4),
        *("--samples", 6),
    ]


def test_every_combination_and_the_base(checkpoint: Checkpoint) -> None:
    methods = grid_methods(Grid((-4.0, 4.0), (0.4, 0.9), (0.0,)), checkpoint)
    assert {method.name: method.described for method in methods} == {
        "base": {"kind": "base"},
        "clas:alpha=-4,beta=0.4,gamma=0": {"kind": "clas", "alpha": -4.0, "beta": 0.4, "gamma": 0.0},
        "clas:alpha=-4,beta=0.9,gamma=0": {"kind": "clas", "alpha": -4.0, "beta": 0.9, "gamma": 0.0},
        "clas:alpha=4,beta=0.4,gamma=0": {"kind": "clas", "alpha": 4.0, "beta": 0.4, "gamma": 0.0},
        "clas:alpha=4,beta=0.9,gamma=0": {"kind": "clas", "alpha": 4.0, "beta": 0.9, "gamma": 0.0},
    }


def test_by_default_the_papers_alphas_with_the_checkpoints_beta_and_gamma(checkpoint: Checkpoint) -> None:
    names = [method.name for method in grid_methods(Grid(), checkpoint)]
    assert names == ["base", *(f"clas:alpha={alpha},beta=0.9,gamma=0.6" for alpha in (-8, -6, -4, -2, 0, 2, 4))]


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        (Grid(alpha=()), "alpha: no value"),
        (Grid(beta=(0.2, 0.2)), "beta 0.2 is given more than once"),
        (Grid(alpha=(0.0, -0.0)), "alpha 0 is given more than once"),
        (Grid(gamma=(float("inf"),)), "gamma inf: must be a finite number"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(grid: Grid, said: str, checkpoint: Checkpoint) -> None:
    with pytest.raises(InputError, match=said):
        grid_methods(grid, checkpoint)


@pytest.mark.parametrize("task", ["xnli", "xquad", "perplexity"])
def test_predictions_are_those_of_a_run_for_each_setting(
    task: str, common: list[object], evaluation: Any, tmp_path: Path
) -> None:
    few = ("--alpha=-4,0,4",) if task == "xquad" else STRENGTHS
    common += ["--samples", 3] if task == "xquad" else []
    evaluation.made("grid", *common, "--task", task, *few, "--out", tmp_path / "grid")
    grid = contents(tmp_path / "grid")
    settings = RunFolder.open(tmp_path / "grid").settings
    assert len(settings.methods) == (4 if task == "xquad" else 13)
    changed = set()
    for name, values in settings.methods.items():
        if name == "base" or (task != "xnli" and name not in list(settings.methods)[-3:]):
            continue
        strengths = [f"--{strength}={values[strength]}" for strength in ("alpha", "beta", "gamma")]
        run = tmp_path / folder_of(name)
        evaluation.made("run", *common, "--tasks", task, "--methods", "base,clas", *strengths, "--out", run)
        for language in ("de", "en"):
            path = f"predictions/{task}/{{}}/{language}.jsonl"
            assert grid[path.format(folder_of(name))] == contents(run)[path.format("clas")], name
            assert grid[path.format("base")] == contents(run)[path.format("base")]
            if grid[path.format(folder_of(name))] != grid[path.format("base")]:
                changed.add((language, values["alpha"]))
    assert {language for language, _ in changed} == {"de"}
    assert 0 not in {alpha for _, alpha in changed}


def test_what_one_file_lacks_is_computed_again(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    command = ["grid", *common, "--task", "xnli", *STRENGTHS, "--out"]
    evaluation.made(*command, tmp_path / "whole")
    evaluation.made(*command, tmp_path / "run")
    folder = tmp_path / "run" / "predictions" / "xnli"
    shortened = folder / "clas_alpha=4_beta=0.4_gamma=0" / "de.jsonl"
    shortened.write_bytes(shortened.read_bytes()[:-5])
    (folder / "clas_alpha=-4_beta=0.9_gamma=0.6" / "de.jsonl").unlink()
    ended = evaluation.made(*command, tmp_path / "run")
    assert "loading" in ended.err
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_the_lower_layers_run_once_for_all_settings(
    common: list[object], evaluation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [0] * 6

    def counted(self: Checkpoint, load: Any = Checkpoint.load) -> Any:
        model = load(self)
        for index, layer in enumerate(model.model.layers):
            layer.register_forward_hook(lambda *_, index=index: calls.__setitem__(index, calls[index] + 1))
        return model

    monkeypatch.setattr(Checkpoint, "load", counted)
    command = ["grid", *common, "--languages", "de", "--task", "xnli", "--alpha=-4,-2,2,4"]
    evaluation.made(*command, "--out", tmp_path / "run")
    # 2 batches; the bridge begins at layer 2, and base is one setting more
    assert calls == [2, 2, 10, 10, 10, 10]


def test_the_summary_has_a_line_a_setting(common: list[object], evaluation: Any, tmp_path: Path) -> None:
    ended = evaluation.made("grid", *common, "--task", "xnli", *STRENGTHS, "--out", tmp_path / "run")
    lines = ended.out.splitlines()
    assert lines[0] == "xnli: accuracy, %, 6 examples a language, average of de"
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:15]}
    base = 100 * sum(r.scores["accuracy"] for r in records(tmp_path / "run", "xnli", "base", "de")) / 6
    assert rows["base"] == [f"{base:.1f}", "+0.0"]
    assert len(rows) == 13
    assert rows["clas:alpha=0,beta=0.9,gamma=0.6"] == rows["base"]
