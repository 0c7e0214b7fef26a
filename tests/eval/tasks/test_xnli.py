"""XNLI: what is read from its layouts, what is said about bad rows, and the scores."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import DATA

from eval.tasks import ExampleSource, task_of

from .support import load_error, write_hub_folder

XNLI = task_of("xnli")
HEADER = "language\tgold_label\tsentence1\tsentence2\tpairID"


def write(path: Path, *lines: str) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def test_rows_of_one_file_a_language(tmp_path: Path) -> None:
    write(tmp_path / "dev-en.tsv", "p1\th1\tneutral", "p2\th2\tentailment", "p3\th3\tcontradiction")
    write(tmp_path / "dev-de.tsv", "P1\tH1\tneutral", "P2\tH2\tentailment", "P3\tH3\tcontradiction")
    examples = XNLI.load(["DE", "en"], ExampleSource(tmp_path))
    assert list(examples) == ["de", "en"]
    assert [(example.key, dict(example.fields), example.gold) for example in examples["de"]] == [
        ("1", {"premise": "P1", "hypothesis": "H1"}, (1,)),
        ("2", {"premise": "P2", "hypothesis": "H2"}, (0,)),
        ("3", {"premise": "P3", "hypothesis": "H3"}, (2,)),
    ]
    first = XNLI.load(None, ExampleSource(tmp_path, samples=2))
    assert {language: [example.key for example in given] for language, given in first.items()} == {
        "de": ["1", "2"],
        "en": ["1", "2"],
    }


@pytest.mark.parametrize("name", ["xnli.dev.tsv", "xnli.test.tsv"])
def test_official_files_match_rows_by_pair(tmp_path: Path, name: str) -> None:
    rows = [("en", "7", "neutral"), ("en", "8", "entailment"), ("de", "8", "entailment"), ("de", "7", "neutral")]
    write(tmp_path / name, HEADER, *(f"{code}\t{label}\t{code} p{n}\t{code} h{n}\t{n}" for code, n, label in rows))
    examples = XNLI.load(["en", "de"], ExampleSource(tmp_path))
    assert [(example.key, example.gold) for example in examples["de"]] == [("7", (1,)), ("8", (0,))]
    assert examples["de"][0].fields == {"premise": "de p7", "hypothesis": "de h7"}


def test_rows_of_the_hub(hub: Path) -> None:
    rows = [{"premise": "p", "hypothesis": f"h{label}", "label": label} for label in (2, 0)]
    write_hub_folder(hub / "facebook" / "xnli", {"en": rows, "de": rows})
    examples = XNLI.load(["en", "de"], ExampleSource())
    assert [(example.key, example.gold) for example in examples["de"]] == [("1", (2,)), ("2", (0,))]


def test_a_label_that_is_not_the_same_in_every_language(tmp_path: Path) -> None:
    write(tmp_path / "dev-de.tsv", "P1\tH1\tneutral", "P2\tH2\tneutral")
    write(tmp_path / "dev-en.tsv", "p1\th1\tneutral", "p2\th2\tentailment")
    said = load_error("xnli", tmp_path)
    assert f"{tmp_path / 'dev-en.tsv'}, line 2: the label in en is entailment, in de it is neutral" in said
    assert f"{tmp_path / 'dev-de.tsv'}, line 2" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("p\th\tmaybe", "line 2: the label is 'maybe', not entailment, neutral, contradiction"),
        ("p\th\t", "line 2: the label is ''"),
        ("p\th", "line 2: 2 columns"),
        ("p\t \tneutral", "line 2, hypothesis: the text is empty"),
    ],
)
def test_bad_rows_are_named_by_file_and_line(tmp_path: Path, line: str, said: str) -> None:
    write(tmp_path / "dev-en.tsv", "p\th\tneutral", line)
    assert f"{tmp_path / 'dev-en.tsv'}, {said}" in load_error("xnli", tmp_path)


def test_bad_files(tmp_path: Path) -> None:
    assert "is not a folder" in load_error("xnli", tmp_path / "none")
    assert "holds no dev-*.tsv" in load_error("xnli", tmp_path)
    write(tmp_path / "dev-en.tsv", "p\th\tneutral", "p\th\tneutral")
    write(tmp_path / "dev-de.tsv", "P\tH\tneutral")
    assert "row 2 (id 2) is missing in de" in load_error("xnli", tmp_path)
    assert f"xnli in {tmp_path} has no sw: choose among de, en" in load_error("xnli", tmp_path, ["sw"])
    assert "'en' and 'EN', both en, given more than once" in load_error("xnli", tmp_path, ["en", "EN"])
    assert "has only 1 examples, asked for 2" in load_error("xnli", tmp_path, ["de"], samples=2)
    assert "samples is 0" in load_error("xnli", tmp_path, ["de"], samples=0)


def test_bad_official_files(tmp_path: Path) -> None:
    path = tmp_path / "xnli.dev.tsv"
    write(path, "language\tsentence1\tsentence2\tpairID", "en\tp\th\t1")
    assert "line 2: the label is None" in load_error("xnli", tmp_path)
    write(path, HEADER, "en\tneutral\tp\th\t1", "en\tneutral\tp\th\t1")
    assert "line 3: the id '1' is there twice in en" in load_error("xnli", tmp_path)
    write(path, HEADER)
    assert "no en" in load_error("xnli", tmp_path, ["en"])


def test_scores(tmp_path: Path) -> None:
    write(
        tmp_path / "dev-en.tsv", *(f"p\th\t{label}" for label in ("neutral", "neutral", "entailment", "contradiction"))
    )
    examples = XNLI.load(None, ExampleSource(tmp_path))["en"]
    answers = [1, 0, 0, 2]
    assert [XNLI.score(*pair, "en") for pair in zip(answers, examples, strict=True)] == [
        {"accuracy": 1.0},
        {"accuracy": 0.0},
        {"accuracy": 1.0},
        {"accuracy": 1.0},
    ]


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "xnli").is_dir(), reason=f"XNLI is not at {DATA / 'xnli'}")
def test_real_xnli() -> None:
    examples = XNLI.load(None, ExampleSource(DATA))
    assert {language: len(given) for language, given in examples.items()} == dict.fromkeys(
        ["ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"], 2490
    )
    gold = [example.gold for example in examples["en"]]
    assert [gold.count((index,)) for index in range(3)] == [830, 830, 830]
    assert all([example.gold for example in given] == gold for given in examples.values())
    assert examples["en"][1].fields == {
        "premise": "And he said, Mama, I'm home.",
        "hypothesis": "He didn't say a word.",
    }
