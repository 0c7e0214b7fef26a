"""Training files are checked line by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clas_models.errors import InputError
from clas_models.finetuning.training_rows import TrainingRow, drawn, read_pairs, read_questions

from .training_helpers import LABELS

PAIR = {"id": 1, "premise": "A man rides.", "hypothesis": "A man sits.", "label": "neutral"}
QUESTION = {
    "title": None,
    "context": "It was built in 1920.",
    "question": "When?",
    "answers": [{"text": "1920", "answer_start": 16}],
}


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_a_pair_has_its_texts_and_the_index_of_its_label(tmp_path: Path) -> None:
    file = written(tmp_path / "pairs.jsonl", PAIR, "", {**PAIR, "label": "contradiction"})
    first, second = read_pairs(file, LABELS)
    assert first == TrainingRow(f"{file}, line 1", {"premise": "A man rides.", "hypothesis": "A man sits."}, 1)
    assert (second.place, second.answer) == (f"{file}, line 3", 2)


def test_a_question_has_its_first_answer(tmp_path: Path) -> None:
    (row,) = read_questions(written(tmp_path / "questions.jsonl", QUESTION))
    assert (dict(row.fields), row.answer) == ({"context": "It was built in 1920.", "question": "When?"}, "1920")


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({**PAIR, "label": "maybe"}, "the label is 'maybe', not entailment, neutral, contradiction"),
        ({**PAIR, "label": 1}, "the label is 1, not"),
        ({**PAIR, "label": None}, "the label is None, not"),
        ({**PAIR, "label": []}, r"the label is \[\], not"),
        ({"premise": "A man rides.", "label": "neutral"}, "no 'hypothesis'"),
        ({**PAIR, "premise": " "}, "premise: the text is empty"),
        ({**PAIR, "premise": 3}, "premise: the text is int"),
        ("[1, 2]", "list in place of an object"),
        ('{"premise": ', "malformed JSON"),
    ],
)
def test_a_wrong_pair_is_told_with_file_and_line(row: Any, fault: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"pairs\.jsonl, line 2.*{fault}"):
        read_pairs(written(tmp_path / "pairs.jsonl", PAIR, row), LABELS)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"answers": []}, "no answers, or not as in SQuAD"),
        ({"answers": {"text": ["1920"]}}, "no answers, or not as in SQuAD"),
        ({"answers": [{"text": "1920", "answer_start": 3}]}, "no '1920' at answer_start 3"),
        ({"answers": [{"text": "1920", "answer_start": -5}]}, "no '1920' at answer_start -5"),
        ({"answers": [{"text": " ", "answer_start": 2}]}, "the answer is ' ', no text"),
        ({"answers": [{"text": 1920, "answer_start": 16}]}, "the answer is 1920, no text"),
        ({"context": ""}, "context: the text is empty"),
    ],
)
def test_a_wrong_question_is_told_with_file_and_line(change: Any, fault: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"questions\.jsonl, line 1.*{fault}"):
        read_questions(written(tmp_path / "questions.jsonl", {**QUESTION, **change}))


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pairs\.jsonl: no rows to train on"):
        read_pairs(written(tmp_path / "pairs.jsonl", " "), LABELS)
    with pytest.raises(InputError, match="does not exist"):
        read_questions(tmp_path / "none.jsonl")


def test_rows_are_drawn_by_the_seed_and_keep_their_order() -> None:
    rows = [TrainingRow(f"line {number}", {}, number) for number in range(50)]
    found = drawn(rows, 10, seed=1)
    assert found == drawn(rows, 10, seed=1) != drawn(rows, 10, seed=2)
    assert [row.answer for row in found] == sorted({row.answer for row in found})
    assert drawn(rows, None, seed=1) == rows
    with pytest.raises(InputError, match="rows: 51 asked for, the training file has 50"):
        drawn(rows, 51, seed=1)
