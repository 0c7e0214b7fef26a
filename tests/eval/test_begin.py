"""A run's folder: begun, continued, begun anew; nothing of a user's is ever removed."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from clas_models.errors import InputError
from eval.begin import begun
from eval.run_folder import RunFolder, Settings

SETTINGS = Settings(
    command="run",
    model="org/model",
    fingerprint="f00d",
    anchor_language="en",
    languages={"xnli": ["en", "de"]},
    methods={"base": {"kind": "base"}, "clas": {"kind": "clas", "alpha": {"de": -2.0, "default": 1.0}}},
    samples=20,
    other={"metrics": {"xnli": ["accuracy"]}, "data": "Hub", "max_length": 512},
)


def begin(path: Path, settings: Settings = SETTINGS) -> tuple[RunFolder, list[str]]:
    said: list[str] = []
    with begun(path, settings, said.append) as folder:
        return folder, said


def add_prediction(folder: RunFolder, method: str = "base") -> Path:
    file = folder.file("xnli", method, "de")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('{"half": "a line"}\nunfinished')
    return file


def refused(path: Path, settings: Settings = SETTINGS) -> str:
    with pytest.raises(InputError) as caught:
        begin(path, settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("exists", [True, False])
def test_a_new_or_empty_folder_gets_the_settings(exists: bool, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run"
    if exists:
        path.mkdir(parents=True)
    folder, said = begin(path)
    assert said == []
    assert folder.settings == RunFolder.open(path).settings == SETTINGS


@pytest.mark.parametrize(
    "settings", [SETTINGS, replace(SETTINGS, model="./copy", other={**SETTINGS.other, "data": "./files"})]
)
def test_the_same_settings_go_on(settings: Settings, tmp_path: Path) -> None:
    file = add_prediction(begin(tmp_path / "run")[0])
    before = (tmp_path / "run" / "run.json").read_bytes()
    _, said = begin(tmp_path / "run", settings)
    assert said == [f"{tmp_path / 'run'}: goes on, 1 predictions are there already"]
    assert file.exists()
    assert (tmp_path / "run" / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"samples": 30}, "samples 20, now 30"),
        ({"samples": None}, "samples 20, now not there"),
        ({"fingerprint": "beef"}, "fingerprint f00d, now beef"),
        ({"languages": {"xnli": ["en", "de", "zh"]}}, "languages.xnli en,de, now en,de,zh"),
        ({"methods": {"base": {"kind": "base"}}}, "methods.clas.kind clas, now not there"),
        ({"other": {**SETTINGS.other, "max_length": 64}}, "other.max_length 512, now 64"),
        (
            {"methods": {**SETTINGS.methods, "clas": {"kind": "clas", "alpha": {"de": 3.0, "default": 1.0}}}},
            "methods.clas.alpha.de -2.0, now 3.0",
        ),
    ],
)
def test_changed_settings_start_anew_and_say_so(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    file = add_prediction(begin(path)[0])
    (path / "tune.json").write_text("{}")
    wanted = replace(SETTINGS, **change)
    folder, said = begin(path, wanted)
    assert len(said) == 1
    assert told in said[0]
    assert said[0].endswith("so it starts anew")
    assert not file.exists()
    assert {entry.name for entry in path.iterdir()} - {".lock"} == {"run.json"}
    assert folder.settings == RunFolder.open(path).settings == wanted


def test_starting_anew_leaves_what_is_not_the_runs(tmp_path: Path) -> None:
    path = tmp_path / "run"
    folder, _ = begin(path)
    add_prediction(folder)
    kept = [path / "notes.txt", path / "report" / "report.html", path / "predictions" / "xnli" / "base" / "mine.jsonl"]
    for file in kept:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    begin(path, replace(SETTINGS, samples=None))
    assert not folder.file("xnli", "base", "de").exists()
    assert [file.read_text() for file in kept] == ["mine"] * 3


def test_more_methods_and_tasks_keep_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "run"
    fewer = replace(SETTINGS, methods={"base": {"kind": "base"}})
    file = add_prediction(begin(path, fewer)[0])
    more = replace(
        SETTINGS,
        languages={**SETTINGS.languages, "xquad": ["de"]},
        other={**SETTINGS.other, "metrics": {"xnli": ["accuracy"], "xquad": ["f1"]}},
    )
    folder, said = begin(path, more)
    assert "goes on" in said[0]
    assert file.exists()
    assert folder.settings == RunFolder.open(path).settings == more


@pytest.mark.parametrize("killed", [".run.json.7.partial", ".tune.json.7.partial"])
def test_what_a_killed_run_leaves_is_no_obstacle(killed: str, tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / killed).write_text("{")
    begin(tmp_path)
    assert not (tmp_path / killed).exists()


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    assert "not empty (thesis.tex)" in refused(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    assert "a file is in the way" in refused(tmp_path / "run")


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({**asdict(SETTINGS), "format_version": 99})])
def test_settings_that_cannot_be_read_are_refused_and_left_alone(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content)
    assert str(tmp_path / "run.json") in refused(tmp_path)
    assert (tmp_path / "run.json").read_text() == content


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with begun(tmp_path, SETTINGS, print):
        assert "another run is writing to it" in refused(tmp_path)
    begin(tmp_path)
