"""MMLU in several languages: its layouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import DATA

from eval.tasks import ExampleSource, task_of

from .support import load_error, write_hub_folder, write_lines

MMMLU = task_of("mmmlu")


def row(key: int, language: str = "en") -> dict[str, Any]:
    options = {f"option_{name}": f"{language} {name}{key}" for name in "abcd"}
    return {"id": f"s/val/{key}", "instruction": f"{language} q{key}", **options, "answer": "ABCD"[key % 4]}


@pytest.mark.parametrize("stem", ["m_mmlu_val", "mmlu_clinical"])
def test_rows_of_one_file_a_language_are_matched_by_id(tmp_path: Path, stem: str) -> None:
    write_lines(tmp_path / f"{stem}.en.jsonl", [row(1), row(2)])
    write_lines(tmp_path / f"{stem}.de.jsonl", [row(2, "de"), row(1, "de")])
    examples = MMMLU.load(["en", "de"], ExampleSource(tmp_path))
    assert [(example.key, example.gold) for example in examples["de"]] == [("s/val/1", (1,)), ("s/val/2", (2,))]
    assert examples["de"][0].fields == {
        "question": "de q1", "a": "de a1", "b": "de b1", "c": "de c1", "d": "de d1",
    }  # fmt: skip


def test_published_lists_have_gaps(tmp_path: Path) -> None:
    (tmp_path / "en_val.json").write_text(json.dumps([row(1), row(2), row(3)]), encoding="utf-8")
    broken = {**row(2, "de"), "option_a": ""}
    (tmp_path / "de_val.json").write_text(json.dumps([row(1, "de"), broken]), encoding="utf-8")
    said: list[str] = []
    examples = MMMLU.load(None, ExampleSource(tmp_path, say=said.append))
    assert [example.key for example in examples["en"]] == ["s/val/1"]
    assert said[0].startswith(
        "mmmlu: of 3 rows 2 are left out in all languages, because in one they are missing or broken, or their choices "
        f"are equal; the first: {tmp_path / 'de_val.json'}, row 2, option_a: the text is empty"
    )
    (tmp_path / "de_val.json").write_text(json.dumps([broken]), encoding="utf-8")
    assert "de_val.json, row 1, option_a: the text is empty" in load_error("mmmlu", tmp_path)
    (tmp_path / "de_val.json").write_text("{}", encoding="utf-8")
    assert "de_val.json: dict in place of a list of rows" in load_error("mmmlu", tmp_path)
    (tmp_path / "de_val.json").write_text("[[]]", encoding="utf-8")
    assert "de_val.json, row 1: list in place of an object" in load_error("mmmlu", tmp_path)
    (tmp_path / "de_val.json").write_text("[", encoding="utf-8")
    assert "de_val.json: cannot be read as JSON" in load_error("mmmlu", tmp_path)


def test_rows_of_the_hub(hub: Path) -> None:
    tables = {"en": [row(1), row(2)], "de": [row(2, "de")], "nb": [row(2, "nb")]}
    write_hub_folder(hub / "alexandrainst" / "m_mmlu", tables, split="val")
    examples = MMMLU.load(None, ExampleSource())
    assert {code: [example.key for example in given] for code, given in examples.items()} == {
        code: ["s/val/2"] for code in ("de", "en", "nb")
    }
    assert "no fr: choose among de, en, nb" in load_error("mmmlu", None, ["fr"])


def test_a_folder_without_files(tmp_path: Path) -> None:
    said = load_error("mmmlu", tmp_path)
    assert "holds no m_mmlu_val.*.jsonl or mmlu_clinical.*.jsonl or *_val.json: give the folder with mmmlu" in said


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "okapi-m-mmlu").is_dir(), reason=f"MMLU is not at {DATA / 'okapi-m-mmlu'}")
def test_real_mmmlu() -> None:
    said: list[str] = []
    examples = MMMLU.load(None, ExampleSource(DATA, say=said.append))
    assert len(examples) == 26
    assert {len(given) for given in examples.values()} == {280}
    assert len({example.gold for example in examples["en"]}) == 4
    assert not said


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "mmlu-african").is_dir(), reason=f"MMLU is not at {DATA / 'mmlu-african'}")
def test_real_clinical_mmlu() -> None:
    examples = MMMLU.load(None, ExampleSource(DATA / "mmlu-african"))
    assert {code: len(given) for code, given in examples.items() if code in ("en", "zu")} == {"en": 240, "zu": 240}
