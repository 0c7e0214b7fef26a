"""Parallel text in files: read whole, or refused in a line."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conversion.support import ROWS
from hypothesis import given
from hypothesis import strategies as st

from clas_models.profiling.corpora import load_corpus
from eval.tasks import ExampleSource, task_of
from eval.templates import find_templates

from . import sound
from .mutations import Content, damaged_bytes, damaged_json, damaged_lines, damaged_table, put
from .verdict import refused


def read(corpus: str, data_dir: Path | None = None) -> None:
    found = load_corpus(corpus, data_dir=data_dir)
    for row in found.rows:
        assert set(row) == set(found.languages)
        assert all(text.strip() and text.encode() for text in row.values())


def in_folder(name: str, content: Content, others: dict[str, bytes], use: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for other, sound_content in others.items():
            Path(scratch, other).write_bytes(sound_content)
        put(Path(scratch, name), content)
        refused(lambda: use(Path(scratch)))


@given(content=damaged_lines(ROWS))
def test_json_lines(content: Content) -> None:
    in_folder("rows.jsonl", content, {}, lambda folder: read(str(folder / "rows.jsonl")))


@given(data=st.data())
def test_xnli(data: st.DataObject) -> None:
    files = {path.name: path.read_bytes() for path in sound.xnli().iterdir()}
    name = data.draw(st.sampled_from(sorted(files)))

    def use(folder: Path) -> None:
        read("xnli", folder)
        task_of("xnli").load(None, ExampleSource(folder))

    in_folder(name, data.draw(damaged_table(files.pop(name))), files, use)


@given(content=damaged_json(sound.xquad_values()))
def test_xquad(content: Content) -> None:
    def use(folder: Path) -> None:
        read("xquad", folder)
        task_of("xquad").load(None, ExampleSource(folder))

    in_folder("xquad.en.json", content, {"xquad.de.json": json.dumps(sound.xquad_values()).encode()}, use)


@pytest.mark.parametrize("name", sorted(sound.CHOICES))
@given(data=st.data())
def test_choices(name: str, data: st.DataObject) -> None:
    files, rows = sound.CHOICES[name]
    others = {files.replace("*", "en"): "".join(json.dumps(row) + "\n" for row in rows).encode()}

    def use(folder: Path) -> None:
        examples = task_of(name).load(None, ExampleSource(folder))
        texts = (text for rows in examples.values() for example in rows for text in example.fields.values())
        assert all(text.strip() and text.encode() for text in texts)

    in_folder(files.replace("*", "de"), data.draw(damaged_lines(rows)), others, use)


@given(content=damaged_json(sound.CHOICES["mmmlu"][1]))
def test_lists_of_choices(content: Content) -> None:
    others = {"en_val.json": json.dumps(sound.CHOICES["mmmlu"][1]).encode()}
    in_folder(
        "de_val.json", content, others, lambda folder: task_of("mmmlu").load(None, ExampleSource(folder)) and None
    )


@given(content=damaged_bytes(b"{premise}: {hypothesis}\n"))
def test_templates(content: Content) -> None:
    in_folder("xnli.de.txt", content, {}, lambda folder: find_templates("xnli", folder))
