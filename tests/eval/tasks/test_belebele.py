"""Belebele, an instance of multiple choice: its codes, its layouts, bad rows and the scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import DATA

from eval.tasks import ExampleSource, task_of

from .support import load_error, write_hub_folder, write_lines

BELEBELE = task_of("belebele")


def row(link: str, number: int, right: str | int = "1", **other: Any) -> dict[str, Any]:
    answers = {f"mc_answer{n}": f"{link} answer {n}" for n in range(1, 5)}
    texts = {"flores_passage": f"{link} passage", "question": f"{link} question {number}"}
    return {"link": link, "question_number": number, **texts, **answers, "correct_answer_num": right, **other}


def test_languages_are_named_as_everywhere(tmp_path: Path) -> None:
    variants = "deu_Latn arb_Arab arb_Latn zho_Hans zho_Hant swh_Latn nob_Latn ceb_Latn arz_Arab ckb_Arab"
    for variant in variants.split():
        write_lines(tmp_path / f"{variant}.jsonl", [row("a", 1)])
    named = ["ar", "ar-Latn", "arz", "ceb", "ckb", "de", "nb", "sw", "zh", "zh-Hant"]
    assert list(BELEBELE.load(None, ExampleSource(tmp_path))) == named
    assert list(BELEBELE.load(["zh_CN", "zho_Hant", "ger"], ExampleSource(tmp_path))) == ["zh", "zh-Hant", "de"]


def test_rows_of_files_are_matched_by_link_and_number(tmp_path: Path) -> None:
    (tmp_path / "Belebele").mkdir()
    write_lines(tmp_path / "Belebele" / "eng_Latn.jsonl", [row("b", 1), row("a", 2, "4"), row("a", 1, 2)])
    write_lines(tmp_path / "Belebele" / "deu_Latn.jsonl", [row("a", 1, 2), row("a", 2, "4"), row("b", 1)])
    (tmp_path / "Belebele" / "notes_on_it.jsonl").write_text("no rows", encoding="utf-8")
    examples = BELEBELE.load(None, ExampleSource(tmp_path))
    assert list(examples) == ["de", "en"]
    for given in examples.values():
        assert [(example.key, example.gold) for example in given] == [("a#1", (1,)), ("a#2", (3,)), ("b#1", (0,))]
    fields = examples["en"][1].fields
    assert fields == {
        "passage": "a passage",
        "question": "a question 2",
        "a": "a answer 1",
        "b": "a answer 2",
        "c": "a answer 3",
        "d": "a answer 4",
    }


def test_samples_do_not_depend_on_the_languages(tmp_path: Path) -> None:
    write_lines(tmp_path / "eng_Latn.jsonl", [row("b", 1), row("a", 1)])
    write_lines(tmp_path / "deu_Latn.jsonl", [row("a", 1), row("b", 1)])
    for languages in (["en"], ["de", "en"], ["en", "de"]):
        examples = BELEBELE.load(languages, ExampleSource(tmp_path, samples=1))
        assert all([example.key for example in given] == ["a#1"] for given in examples.values())


def test_passages_of_one_link_are_told_apart(tmp_path: Path) -> None:
    write_lines(tmp_path / "eng_Latn.jsonl", [row("a", 1, "1"), row("a", 1, "2")])
    write_lines(tmp_path / "deu_Latn.jsonl", [row("a", 1, split="dev"), row("a", 1, split="devtest")])
    for code, keys in (("en", ["a#1", "a#1#2"]), ("de", ["a#dev#1", "a#devtest#1"])):
        assert [example.key for example in BELEBELE.load([code], ExampleSource(tmp_path))[code]] == keys


def test_files_named_by_language_codes(tmp_path: Path) -> None:
    for code in ("en", "de"):
        write_lines(tmp_path / f"belebele.{code}.jsonl", [row("a", 1, "3", dialect=f"{code}_Latn")])
    examples = BELEBELE.load(None, ExampleSource(tmp_path))
    assert {code: given[0].gold for code, given in examples.items()} == {"de": (2,), "en": (2,)}


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "belebele").is_dir(), reason=f"Belebele is not at {DATA / 'belebele'}")
def test_real_belebele() -> None:
    said: list[str] = []
    examples = BELEBELE.load(None, ExampleSource(DATA, say=said.append))
    assert {len(given) for given in examples.values()} == {195}
    assert "of 200 rows 5 are left out in all languages, because in one their choices are equal" in said[0]
    assert BELEBELE.load(["de", "en"], ExampleSource(DATA, skip=150, samples=50))["de"][0].fields["passage"]


def test_rows_of_the_hub(hub: Path) -> None:
    write_hub_folder(
        hub / "facebook" / "belebele",
        {"eng_Latn": [row("a", 1)], "zho_Hans": [row("a", 1)], "zho_Hant": [row("a", 1)], "default": []},
        split="test",
    )
    assert list(BELEBELE.load(None, ExampleSource())) == ["en", "zh", "zh-Hant"]
    assert BELEBELE.load(["zh"], ExampleSource())["zh"][0].key == "a#1"
    assert "no fr: choose among en, zh, zh-Hant" in load_error("belebele", None, ["fr"])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({**row("b", 1), "correct_answer_num": "5"}, "correct_answer_num is '5', not 1 to 4"),
        ({**row("b", 1), "correct_answer_num": None}, "correct_answer_num is 'None'"),
        ({**row("b", 1), "mc_answer3": ""}, "line 2, mc_answer3: the text is empty"),
        ({"link": "b", "question_number": 1}, "no correct_answer_num, flores_passage, question, mc_answer1"),
        (["b"], "list in place of an object"),
    ],
)
def test_bad_rows_are_named_by_file_and_line(tmp_path: Path, bad: Any, said: str) -> None:
    write_lines(tmp_path / "eng_Latn.jsonl", [row("a", 1), bad])
    message = load_error("belebele", tmp_path)
    assert f"{tmp_path / 'eng_Latn.jsonl'}, line 2" in message
    assert said in message


def test_bad_files(tmp_path: Path) -> None:
    assert "belebele" in load_error("belebele", tmp_path)
    (tmp_path / "eng_Latn.jsonl").write_text('{"link": ', encoding="utf-8")
    assert "line 1: malformed JSON" in load_error("belebele", tmp_path)
    write_lines(tmp_path / "eng_Latn.jsonl", [row("a", 1), row("b", 1)])
    write_lines(tmp_path / "deu_Latn.jsonl", [row("b", 1)])
    assert "(id a#1) is missing in de, while en has it" in load_error("belebele", tmp_path)
    write_lines(tmp_path / "deu_Latn.jsonl", [])
    assert "has only 0 examples" in load_error("belebele", tmp_path, ["de"])


def test_scores(tmp_path: Path) -> None:
    write_lines(tmp_path / "eng_Latn.jsonl", [row("a", 1, "4"), row("a", 2, "1")])
    examples = BELEBELE.load(None, ExampleSource(tmp_path))["en"]
    assert BELEBELE.score(3, examples[0], "en") == {"accuracy": 1.0}
    assert BELEBELE.score(3, examples[1], "en") == {"accuracy": 0.0}
