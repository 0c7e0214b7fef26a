"""A run's folder with a damaged file: read by every command that reads runs, or refused in a line."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clas_models.command_line import EVAL
from eval.cli import main
from eval.report.collect import collect
from eval.report.document import assemble
from eval.report.page import to_html

from . import sound
from .mutations import Content, damaged_json, damaged_lines, linked_copy, put
from .verdict import refused, status_of


def report(run: Path) -> None:
    """All of a report but the drawing of its figures, which takes longer than the rest."""
    document = assemble(collect([run]))
    assert document.to_markdown()
    assert document.to_json()
    assert to_html(document)


def read_by_all(base: Path, name: str, content: Content) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        run = linked_copy(base, Path(scratch, "run"))
        put(run / name, content)
        refused(lambda: report(run))
        status_of(main, ["compare", run, base], EVAL)
        status_of(main, ["compare", base, run], EVAL)


@pytest.mark.parametrize("base", [sound.run_folder, sound.tuned_folder])
@given(data=st.data())
def test_settings(base: Callable[[], Path], data: st.DataObject) -> None:
    folder = base()
    read_by_all(folder, "run.json", data.draw(damaged_json(json.loads((folder / "run.json").read_text()))))


@given(data=st.data())
def test_decisions(data: st.DataObject) -> None:
    value = json.loads((sound.tuned_folder() / "tune.json").read_text())
    read_by_all(sound.tuned_folder(), "tune.json", data.draw(damaged_json(value)))


@given(data=st.data())
def test_predictions(data: st.DataObject) -> None:
    run = sound.run_folder()
    file = data.draw(st.sampled_from(sorted(run.rglob("*.jsonl"))))
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    read_by_all(run, str(file.relative_to(run)), data.draw(damaged_lines(lines)))


@given(data=st.data())
def test_a_damaged_run_goes_on_or_is_refused(data: st.DataObject) -> None:
    base = sound.run_folder()
    name = data.draw(st.sampled_from(sorted(str(path.relative_to(base)) for path in base.rglob("*.json*"))))
    content = (base / name).read_text(encoding="utf-8")
    if name == "run.json":
        damaged = data.draw(damaged_json(json.loads(content)))
    else:
        damaged = data.draw(damaged_lines([json.loads(line) for line in content.splitlines()]))
    with tempfile.TemporaryDirectory() as scratch:
        run = linked_copy(base, Path(scratch, "run"))
        for file in run.rglob("*.jsonl"):  # which a run appends to
            put(file, file.read_bytes())
        put(run / name, damaged)
        if status_of(main, sound.run_arguments(run), EVAL) == 0:
            status = status_of(main, ["compare", run, base], EVAL)
            assert status == 0


@given(data=st.data())
def test_scores_for_a_card(data: st.DataObject) -> None:
    base = sound.run_folder()
    value = json.loads((base / "run.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        run, checkpoint = linked_copy(base, Path(scratch, "run")), linked_copy(sound.steered(), Path(scratch, "model"))
        put(run / "run.json", data.draw(damaged_json(value)))
        before = (checkpoint / "README.md").read_bytes()
        if status_of(main, ["card", checkpoint, run], EVAL):
            assert (checkpoint / "README.md").read_bytes() == before
