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
    other={"metrics": {"xnli": ["accuracy"]}, "data": "Hub", "max_length": {"xnli": 512}},
)


def begin(path: Path, settings: Settings = SETTINGS, overwrite: bool = False) -> tuple[RunFolder, list[str]]:
    """Begin, go on or extend; where there are parts, the digests of the examples are those of their ends."""
    said: list[str] = []

    def settings_for(parts: tuple[int, ...]) -> Settings:
        ends = [*parts, settings.samples]
        digests = {task: {code: [f"{code} {end}" for end in ends] for code in codes}
                   for task, codes in settings.languages.items()}  # fmt: skip
        known = {"examples": digests, **settings.other, **({"parts": list(parts)} if parts else {})}
        return replace(settings, other=known)

    with begun(path, settings_for, said.append, overwrite=overwrite) as folder:
        return folder, said


def same(found: Settings, expected: Settings) -> bool:
    """But for what `begin` adds."""
    kept = {name: value for name, value in found.other.items() if name in expected.other}
    return replace(found, other=kept) == expected


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
    assert folder.settings == RunFolder.open(path).settings
    assert same(folder.settings, SETTINGS)


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


OTHERS = [
    ({"samples": 10}, "samples 20, now 10"),
    ({"command": "grid"}, "command run, now grid"),
    ({"fingerprint": "beef"}, "fingerprint f00d, now beef"),
    ({"languages": {"xnli": ["de"]}}, "languages.xnli en,de, now de"),
    ({"languages": {"xquad": ["de"]}}, "languages.xnli en,de, now not there"),
    ({"methods": {"base": {"kind": "base"}}}, "methods.clas.kind clas, now not there"),
    ({"other": {**SETTINGS.other, "max_length": {"xnli": 64}}}, "other.max_length.xnli 512, now 64"),
    (
        {"methods": {**SETTINGS.methods, "clas": {"kind": "clas", "alpha": {"de": 3.0, "default": 1.0}}}},
        "methods.clas.alpha.de -2.0, now 3.0",
    ),
    (
        {"methods": {**SETTINGS.methods, "clas": {"kind": "clas", "alpha": {"de": -2.0, "zh": 1.0, "default": 1.0}}}},
        "methods.clas.alpha.zh not there, now 1.0",
    ),
]


def left_in(path: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in path.rglob("*") if file.is_file() and file.name != ".lock"}


@pytest.mark.parametrize(("change", "told"), OTHERS)
def test_other_settings_are_refused_and_nothing_is_lost(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    add_prediction(begin(path)[0])
    (path / "tune.json").write_text("{}")
    before = left_in(path)
    said = refused(path, replace(SETTINGS, **change))
    assert said.startswith(f"{path}: 1 predictions of other settings are there (")
    assert told in said
    assert said.endswith("); give another --out, or --overwrite to replace it")
    assert left_in(path) == before


@pytest.mark.parametrize(("change", "told"), OTHERS)
def test_other_settings_start_anew_where_the_user_says_so(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    file = add_prediction(begin(path)[0])
    (path / "tune.json").write_text("{}")
    wanted = replace(SETTINGS, **change)
    folder, said = begin(path, wanted, overwrite=True)
    assert len(said) == 1
    assert told in said[0]
    assert said[0].endswith("so it starts anew")
    assert not file.exists()
    assert {entry.name for entry in path.iterdir()} - {".lock"} == {"run.json"}
    assert folder.settings == RunFolder.open(path).settings
    assert same(folder.settings, wanted)


def test_where_there_is_no_prediction_nothing_is_lost(tmp_path: Path) -> None:
    begin(tmp_path / "run")
    folder, _ = begin(tmp_path / "run", replace(SETTINGS, fingerprint="beef"))
    assert folder.settings.fingerprint == "beef"


def test_overwrite_goes_on_where_the_settings_are_the_same(tmp_path: Path) -> None:
    """So the same command ends an overwriting run that was killed."""
    file = add_prediction(begin(tmp_path / "run")[0])
    _, said = begin(tmp_path / "run", overwrite=True)
    assert "goes on" in said[0]
    assert file.exists()


def test_starting_anew_leaves_what_is_not_the_runs(tmp_path: Path) -> None:
    path = tmp_path / "run"
    folder, _ = begin(path)
    add_prediction(folder)
    kept = [path / "notes.txt", path / "report" / "report.html", path / "predictions" / "xnli" / "base" / "mine.jsonl"]
    for file in kept:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    begin(path, replace(SETTINGS, samples=10), overwrite=True)
    assert not folder.file("xnli", "base", "de").exists()
    assert [file.read_text() for file in kept] == ["mine"] * 3


@pytest.mark.parametrize(
    "change",
    [
        {"samples": 30},
        {"samples": None},
        {"languages": {"xnli": ["zh", "de", "en"]}},
        {
            "languages": {**SETTINGS.languages, "xquad": ["de"]},
            "other": {**SETTINGS.other, "metrics": {"xnli": ["accuracy"], "xquad": ["f1"]}},
        },
        {"methods": {"int-mean": {"kind": "int"}, **SETTINGS.methods}},
        {"samples": 30, "languages": {"xnli": ["de", "en", "zh"]}, "methods": {**SETTINGS.methods, "new": {}}},
    ],
)
def test_more_of_something_keeps_what_is_there(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "run"
    file = add_prediction(begin(path)[0])
    (path / "tune.json").write_text("{}")
    more = replace(SETTINGS, **change)
    folder, said = begin(path, more)
    assert "goes on" in said[0]
    assert file.exists()
    assert (path / "tune.json").exists(), "decided it is until something else is"
    assert folder.settings == RunFolder.open(path).settings
    assert same(folder.settings, more)
    written = (path / "run.json").read_bytes()
    begin(path, more)
    assert (path / "run.json").read_bytes() == written, "and the same command goes on"
    assert refused(path), "which is less than what is there now"


def test_it_remembers_where_samples_were_added(tmp_path: Path) -> None:
    path = tmp_path / "run"
    add_prediction(begin(path)[0])
    for samples, parts in ((30, [20]), (30, [20]), (50, [20, 30]), (None, [20, 30, 50])):
        folder, _ = begin(path, replace(SETTINGS, samples=samples))
        assert (folder.settings.samples, folder.settings.other["parts"]) == (samples, parts)


def test_other_examples_are_refused_also_where_there_are_more_of_them(tmp_path: Path) -> None:
    path = tmp_path / "run"
    add_prediction(begin(path)[0])
    digests = {"xnli": {"en": ["en 20", "en 30"], "de": ["something else", "de 30"]}}
    more = replace(SETTINGS, samples=30, other={**SETTINGS.other, "examples": digests})
    assert "other.examples.xnli.de de 20, now something el" in refused(path, more)


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
    with begun(tmp_path, lambda parts: SETTINGS, print):
        assert "another run is writing to it" in refused(tmp_path)
    begin(tmp_path)
