"""What multiple-choice tasks share: rows that cannot be used, answers by language, and the order of the choices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clas_models.errors import InputError
from eval.tasks import Example, ExampleSource, task_of

from .support import load_error, write_lines

MMMLU = task_of("mmmlu")
ROWS = 12


def row(key: int, answer: str = "", **other: Any) -> dict[str, Any]:
    options = {f"option_{name}": f"{name}{key}" for name in "abcd"}
    return {"id": f"s/val/{key}", "instruction": f"q{key}", **options, "answer": answer or "ABCD"[key % 4], **other}


def write(folder: Path, language: str, rows: Sequence[Any]) -> Path:
    path = folder / f"m_mmlu_val.{language}.jsonl"
    write_lines(path, rows)
    return path


def load(folder: Path, **source: Any) -> tuple[dict[str, list[Example]], list[str]]:
    said: list[str] = []
    return MMMLU.load(None, ExampleSource(folder, say=said.append, **source)), said


def test_choices_keep_their_order(tmp_path: Path) -> None:
    write(tmp_path, "en", [row(key) for key in range(ROWS)])
    examples, said = load(tmp_path)
    assert [example.gold for example in examples["en"]] == [(key % 4,) for key in range(ROWS)]
    assert [examples["en"][1].fields[name] for name in "abcd"] == ["a1", "b1", "c1", "d1"]
    assert not said


def test_a_set_whose_answer_always_stands_at_one_place_is_shuffled_the_same_in_every_language(tmp_path: Path) -> None:
    rows = [row(key, "A") for key in range(ROWS)]
    write(tmp_path, "en", rows)
    write(tmp_path, "de", [{name: value.upper() for name, value in each.items()} | {"id": each["id"]} for each in rows])
    examples, said = load(tmp_path)
    assert said == [
        f"mmmlu: the right answer is A in all {ROWS} rows, so the choices are shuffled, each row in the same way in "
        "every language"
    ]
    for english, german in zip(examples["en"], examples["de"], strict=True):
        assert english.gold == german.gold
        assert [german.fields[name] for name in "abcd"] == [english.fields[name].upper() for name in "abcd"]
        assert english.fields["abcd"[int(english.gold[0])]].startswith("a")
    assert len({example.gold for example in examples["en"]}) > 1
    assert load(tmp_path, skip=2, samples=3)[0]["de"] == examples["de"][2:5]
    (tmp_path / "m_mmlu_val.de.jsonl").unlink()
    assert load(tmp_path)[0]["en"] == examples["en"]


def test_few_rows_with_one_answer_may_be_luck(tmp_path: Path) -> None:
    write(tmp_path, "en", [row(1, "A"), row(2, "A")])
    assert [example.gold for example in load(tmp_path)[0]["en"]] == [(0,), (0,)]


def test_rows_are_left_out_before_the_samples(tmp_path: Path) -> None:
    for language in ("en", "de"):
        write(tmp_path, language, [row(key) for key in range(ROWS)])
    for skip, samples, keys in ((0, 2, [0, 1]), (3, 2, [3, 4]), (10, None, [10, 11])):
        examples, _ = load(tmp_path, skip=skip, samples=samples)
        assert {code: [example.key for example in given] for code, given in examples.items()} == {
            code: [f"s/val/{key}" for key in keys] for code in ("de", "en")
        }
    assert "only 12 examples, asked for 3 after 10 to skip" in load_error("mmmlu", tmp_path, skip=10, samples=3)
    assert "only 12 examples, asked for some after 12 to skip" in load_error("mmmlu", tmp_path, skip=12)
    with pytest.raises(InputError, match="skip is -1: give 0 or more"):
        ExampleSource(skip=-1)


def test_rows_with_equal_choices_are_left_out_everywhere(tmp_path: Path) -> None:
    write(tmp_path, "en", [row(key) for key in range(ROWS)])
    path = write(tmp_path, "de", [row(key, **({"option_c": " b3"} if key == 3 else {})) for key in range(ROWS)])
    examples, said = load(tmp_path)
    assert [example.key for example in examples["en"]] == [f"s/val/{key}" for key in range(ROWS) if key != 3]
    assert said == [
        f"mmmlu: of {ROWS} rows 1 are left out in all languages, because in one their choices are equal; the first: "
        f"{path}, line 4: option_b and option_c are equal"
    ]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (row(1, "E"), "answer is 'E', not A to D; mend the row"),
        (row(1, option_b=" "), "option_b: the text is empty"),
        (row(1, option_b=3), "option_b: the text is int, not a string"),
        ({"id": "s/val/1", "answer": "A"}, "no instruction, option_a, option_b, option_c, option_d"),
        (["b"], "list in place of an object"),
        ({**row(1), "id": "\ud800"}, "the row's id: the text holds a lone surrogate"),
        (row(1, "C"), "the answer in en is C, in de it is B"),
        (row(5), "the row (id s/val/5) is missing in de, while en has it"),
    ],
)
def test_bad_rows_are_named_by_file_and_line(tmp_path: Path, bad: Any, said: str) -> None:
    write(tmp_path, "de", [row(0), row(1)])
    path = write(tmp_path, "en", [row(0), row(1), bad] if bad == row(5) else [row(0), bad])
    message = load_error("mmmlu", tmp_path)
    assert f"{path}, line {3 if bad == row(5) else 2}" in message
    assert said in message


def test_rows_without_ids_are_matched_by_their_number_where_none_is_missing(tmp_path: Path) -> None:
    rows: list[dict[str, Any]]
    rows = [{name: value for name, value in row(key).items() if name != "id"} for key in range(2)]
    rows.append({**row(2), "id": ""})
    write(tmp_path, "en", rows)
    write(tmp_path, "de", rows)
    assert [example.key for example in load(tmp_path)[0]["de"]] == ["1", "2", "3"]
    write(tmp_path, "de", rows[::-1])
    assert "line 1: the answer in en is A, in de it is C" in load_error("mmmlu", tmp_path, ["de", "en"])
    for language in ("en", "de"):
        (tmp_path / f"m_mmlu_val.{language}.jsonl").unlink()
        (tmp_path / f"{language}_val.json").write_text(json.dumps([*rows, row(3)]), encoding="utf-8")
    examples, said = load(tmp_path)
    assert [example.key for example in examples["de"]] == ["s/val/3"]
    assert "row 1: no id; download the file again" in said[0]


def test_the_same_key_twice(tmp_path: Path) -> None:
    write(tmp_path, "de", [row(0), row(0)])
    assert "the id 's/val/0' is there twice" in load_error("mmmlu", tmp_path)
