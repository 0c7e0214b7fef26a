"""XCOPA: its layouts, English from elsewhere, and bad rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import DATA

from eval.tasks import ExampleSource, task_of
from eval.templates import find_templates

from .support import load_error, write_hub_folder, write_lines

XCOPA = task_of("xcopa")


def row(key: int, language: str = "en", **other: Any) -> dict[str, Any]:
    texts = {name: f"{language} {name} {key}" for name in ("premise", "choice1", "choice2")}
    return {"idx": key, **texts, "question": ("cause", "effect")[key % 2], "label": key % 2, **other}


def test_rows_of_one_file_a_language(tmp_path: Path) -> None:
    write_lines(tmp_path / "val.it.jsonl", [row(1, "it"), row(0, "it")])
    write_lines(tmp_path / "val.en.jsonl", [row(0), row(1)])
    examples = XCOPA.load(["en", "it"], ExampleSource(tmp_path))
    assert [(example.key, example.gold) for example in examples["it"]] == [("0", (0,)), ("1", (1,))]
    fields = examples["it"][1].fields
    assert fields == {"premise": "it premise 1", "relation": "effect", "a": "it choice1 1", "b": "it choice2 1"}
    text = find_templates("xcopa").of("it").fill(fields).text
    assert "\nPremise: it premise 1\nQuestion: What is the more plausible effect?\nA: it choice1 1\n" in text
    assert text.endswith("\nB: it choice2 1\nAnswer:")


def test_english_of_the_hub_is_copa(hub: Path) -> None:
    write_hub_folder(hub / "cambridgeltl" / "xcopa", {"it": [row(0, "it")], "translation-it": [row(0)]})
    assert "configuration copa: cannot be opened" in load_error("xcopa", None, ["en", "it"])
    assert list(XCOPA.load(["it"], ExampleSource())) == ["it"]
    write_hub_folder(hub / "aps" / "super_glue", {"copa": [row(0), row(1)]})
    assert "super_glue, copa, row 2: the row (id 1) is missing in it" in load_error("xcopa", None)
    write_hub_folder(hub / "aps" / "super_glue", {"copa": [row(0)], "boolq": []})
    assert list(XCOPA.load(None, ExampleSource())) == ["en", "it"]
    assert "no fr: choose among en, it" in load_error("xcopa", None, ["fr"])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (row(1, label=2), "label is '2', not 0 to 1"),
        (row(1, question="why"), "question is 'why', not cause or effect"),
        (row(1, choice2=""), "choice2: the text is empty"),
        ({"idx": 1, "label": 0}, "no premise, question, choice1, choice2"),
        (row(1, label=0), "the answer in it is A, in en it is B"),
    ],
)
def test_bad_rows_are_named_by_file_and_line(tmp_path: Path, bad: Any, said: str) -> None:
    write_lines(tmp_path / "val.it.jsonl", [row(0, "it"), bad])
    write_lines(tmp_path / "val.en.jsonl", [row(0), row(1)])
    message = load_error("xcopa", tmp_path, ["en", "it"])
    assert f"{tmp_path / 'val.it.jsonl'}, line 2" in message
    assert said in message


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "xcopa").is_dir(), reason=f"XCOPA is not at {DATA / 'xcopa'}")
def test_real_xcopa() -> None:
    examples = XCOPA.load(None, ExampleSource(DATA))
    assert {len(given) for given in examples.values()} == {100}
    assert len(examples) == 12
    assert {example.gold for example in examples["en"]} == {(0,), (1,)}
