"""HellaSwag: its layouts, its keys, and bad rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eval.tasks import ExampleSource, task_of

from .support import load_error, write_hub_folder, write_lines

HELLASWAG = task_of("hellaswag")


def row(key: int, language: str = "en", label: object = None, **other: Any) -> dict[str, Any]:
    context = f"{language}: a cook takes pan {key}. Then she"
    return {
        "ind": key,
        "activity_label": "Cooking",
        "ctx_a": f"{language}: a cook takes pan {key}.",
        "ctx_b": "then she",
        "ctx": context,
        "endings": [f"{language} ending {place} of {key}" for place in range(4)],
        "source_id": f"made~{key // 2}",
        "split": "val",
        "split_type": "indomain",
        "label": str(key % 4) if label is None else label,
        **other,
    }


def test_rows_are_matched_by_source_and_number(tmp_path: Path) -> None:
    write_lines(tmp_path / "m_hellaswag_val.en.jsonl", [row(2), row(3)])
    write_lines(tmp_path / "m_hellaswag_val.de.jsonl", [row(3, "de", label=3), row(2, "de")])
    examples = HELLASWAG.load(["en", "de"], ExampleSource(tmp_path))
    assert [(example.key, example.gold) for example in examples["de"]] == [("made~1#2", (2,)), ("made~1#3", (3,))]
    assert examples["de"][0].fields == {
        "question": "de: a cook takes pan 2. Then she",
        **{name: f"de ending {place} of 2" for place, name in enumerate("abcd")},
    }


def test_rows_may_have_their_text_in_parts_and_one_key(tmp_path: Path) -> None:
    parts = {name: value for name, value in row(1).items() if name not in ("ctx", "source_id")}
    write_lines(tmp_path / "hellaswag.en.jsonl", [parts, {**parts, "ind": 2, "ctx_b": ""}])
    first, second = HELLASWAG.load(None, ExampleSource(tmp_path))["en"]
    assert (first.key, first.fields["question"]) == ("1", "en: a cook takes pan 1. then she")
    assert (second.key, second.fields["question"]) == ("2", "en: a cook takes pan 1.")


def test_published_lists_and_the_hub_have_gaps(hub: Path) -> None:
    rows = {"en": [row(1), row(2)], "de": [row(2, "de"), row(3, "de", label="")]}
    for language, given in rows.items():
        (hub / f"{language}_validation.json").write_text(json.dumps(given), encoding="utf-8")
    write_hub_folder(hub / "alexandrainst" / "m_hellaswag", rows, split="val")
    for source in (ExampleSource(hub), ExampleSource()):
        examples = HELLASWAG.load(None, source)
        assert {code: [example.key for example in given] for code, given in examples.items()} == {
            "de": ["made~1#2"],
            "en": ["made~1#2"],
        }


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (row(2, label="4"), "label is '4', not 0 to 3"),
        (row(2, endings=["one", "two", "three"]), "endings is no list of 4"),
        (row(2, endings="four"), "endings is no list of 4"),
        (row(2, endings=["one", "two", "", "four"]), "ending 2: the text is empty"),
        ({"ind": 2, "label": "1"}, "no endings"),
        (row(2, ctx=" "), "ctx: the text is empty"),
        ({name: value for name, value in row(2).items() if not name.startswith("ctx")}, "no ctx_a, ctx_b"),
    ],
)
def test_bad_rows_are_named_by_file_and_line(tmp_path: Path, bad: Any, said: str) -> None:
    write_lines(tmp_path / "m_hellaswag_val.en.jsonl", [row(1), bad])
    message = load_error("hellaswag", tmp_path)
    assert f"{tmp_path / 'm_hellaswag_val.en.jsonl'}, line 2" in message
    assert said in message
