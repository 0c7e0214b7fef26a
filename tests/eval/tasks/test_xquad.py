"""XQuAD: what is read from its layouts, what is said about bad rows, and the scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import DATA

from eval.tasks import ExampleSource, task_of

from .support import load_error, write_hub_folder

XQUAD = task_of("xquad")


def write(folder: Path, language: str, *questions: dict[str, Any], context: str = "Text.") -> None:
    content = {"data": [{"paragraphs": [{"context": f"{language} {context}", "qas": list(questions)}]}]}
    (folder / f"xquad.{language}.json").write_text(json.dumps(content), encoding="utf-8")


def question(key: str, *answers: str, text: str = "Why?") -> dict[str, Any]:
    return {"id": key, "question": text, "answers": [{"text": answer, "answer_start": 0} for answer in answers]}


def test_questions_are_matched_by_id_in_the_order_of_the_first_language(tmp_path: Path) -> None:
    write(tmp_path, "de", question("b", "zwei"), question("a", "eins"))
    write(tmp_path, "en", question("a", "one", "1"), question("b", "two"))
    examples = XQUAD.load(["en", "de"], ExampleSource(tmp_path))
    assert [example.key for example in examples["de"]] == ["a", "b"]
    assert examples["en"][0].gold == ("one", "1")
    assert examples["de"][0].fields == {"context": "de Text.", "question": "Why?"}
    assert examples["de"][0].gold == ("eins",)
    first = XQUAD.load(["en", "de"], ExampleSource(tmp_path, samples=1))
    assert [example.key for given in first.values() for example in given] == ["a", "a"]


def test_questions_of_the_hub(hub: Path) -> None:
    row = {"id": "a", "context": "c", "question": "q", "answers": {"text": ["one", "1"], "answer_start": [0, 4]}}
    write_hub_folder(hub / "google" / "xquad", {"xquad.en": [row], "xquad.de": [row]})
    examples = XQUAD.load(["en", "de"], ExampleSource())
    assert [(example.key, example.gold) for example in examples["de"]] == [("a", ("one", "1"))]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (question("b"), "row 2: the question b has no answer"),
        (question("b", " "), "row 2, answers: the text is empty"),
        ({**question("b"), "answers": None}, "row 2: the answers are not as in SQuAD"),
        ({**question("b"), "answers": [{}]}, "row 2: the answers are not as in SQuAD"),
        ({**question("b"), "answers": ["x"]}, "row 2: the answers are not as in SQuAD"),
        (question("b", "x", text=" "), "row 2, question: the text is empty"),
        ({"id": "b"}, "is not SQuAD v1.1 JSON (after row 2: 'question')"),
    ],
)
def test_bad_rows_are_named_by_file_and_row(tmp_path: Path, bad: dict[str, Any], said: str) -> None:
    write(tmp_path, "en", question("a", "one"), bad)
    message = load_error("xquad", tmp_path)
    assert str(tmp_path / "xquad.en.json") in message
    assert said in message


def test_bad_files(tmp_path: Path) -> None:
    assert "holds no xquad.*.json" in load_error("xquad", tmp_path)
    write(tmp_path, "en", question("a", "one"), question("b", "two"))
    write(tmp_path, "de", question("a", "eins"))
    assert "row 2 (id b) is missing in de" in load_error("xquad", tmp_path)
    assert "has no fr: choose among de, en" in load_error("xquad", tmp_path, ["fr"])
    assert "'one text' is not a language code" in load_error("xquad", tmp_path, ["one text"])


def test_scores_of_both_scripts(tmp_path: Path) -> None:
    write(tmp_path, "zh", question("a", "北京市"), question("b", "308"))
    examples = XQUAD.load(["zh"], ExampleSource(tmp_path))["zh"]
    scores = XQUAD.score("北京。", examples[0], "zh")
    assert tuple(scores) == XQUAD.metrics
    assert scores == pytest.approx({"f1": 0, "exact_match": 0, "mlqa_f1": 4 / 5, "mlqa_exact_match": 0})
    # 308！ keeps its full-width mark in one script; the other keeps the English article in Chinese
    expected = {"f1": 0, "exact_match": 0, "mlqa_f1": 2 / 3, "mlqa_exact_match": 0}
    assert XQUAD.score("the 308！", examples[1], "zh") == pytest.approx(expected)


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "xquad").is_dir(), reason=f"XQuAD is not at {DATA / 'xquad'}")
def test_real_xquad() -> None:
    examples = XQUAD.load(None, ExampleSource(DATA))
    assert {language: len(given) for language, given in examples.items()} == dict.fromkeys(
        ["ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh"], 1190
    )
    keys = [example.key for example in examples["en"]]
    assert all([example.key for example in given] == keys for given in examples.values())
    assert examples["de"][0].fields["question"] == "Wie viele Punkte gab die Verteidigung der Panthers ab?"
    for language, given in examples.items():
        # An answer of an article and punctuation alone would have no F1; none is.
        right = dict.fromkeys(XQUAD.metrics, 1.0)
        assert all(XQUAD.score(example.gold[0], example, language) == right for example in given), language
