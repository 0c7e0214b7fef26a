"""The corpus of the recipes, from a folder that is laid out like Wikipedia on the Hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command import Command
from hub_folder import write_hub_folder
from recipe_helpers import articles, save_tiny, write_wikipedia

from clas_models.profiling.corpora import load_corpus
from recipes.wikipedia import PROG, main

CODES = ("en", "hi", "ja")


@pytest.fixture
def wikipedia(capfd: pytest.CaptureFixture[str]) -> Command:
    return Command(capfd, lambda given: main([str(each) for each in given]), PROG)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("model") / "model", "llama")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_wikipedia(tmp_path_factory.mktemp("wikipedia"), CODES, 40)


@pytest.fixture
def options(model: Path, dataset: str, tmp_path: Path) -> list[object]:
    """Of a corpus at tmp_path/corpus.jsonl; later options replace earlier ones."""
    return [
        *("--tokenizer", model, "--dataset", dataset, "--languages", ",".join(CODES), "--tokens", 600),
        *("--max-length", 32, "--out", tmp_path / "corpus.jsonl"),
    ]


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_language_has_as_many_texts(options: list[object], wikipedia: Command, tmp_path: Path) -> None:
    ended = wikipedia.made(*options)
    path = tmp_path / "corpus.jsonl"
    assert ended.err.splitlines()[-1] == f"{path}: 19 lines"  # 600 tokens are 18.75 texts
    found = rows(path)
    assert len(found) == 19
    assert all(tuple(row) == CODES for row in found)
    assert len(list(load_corpus(str(path)).rows)) == 19, "the converter reads it"


def test_articles_are_shuffled_by_the_seed(options: list[object], wikipedia: Command, tmp_path: Path) -> None:
    made = {}
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        wikipedia.made(*options, "--seed", seed, "--out", tmp_path / name)
        made[name] = (tmp_path / name).read_bytes()
    assert made["one"] == made["same"] != made["other"]
    first = articles("en", 1)[0]["text"]
    assert not rows(tmp_path / "one")[0]["en"].startswith(first[:20])


def test_an_interrupted_corpus_goes_on_with_the_language_that_was_not_finished(
    options: list[object], wikipedia: Command, model: Path, tmp_path: Path
) -> None:
    wikipedia.made(*options, "--out", tmp_path / "whole.jsonl")
    broken = {f"20231101.{code}": {"train": articles(code, 40)} for code in CODES}
    broken["20231101.ja"] = {"train": [{"id": "0", "text": None}]}
    dataset = write_hub_folder(tmp_path / "wiki", broken)
    ended = wikipedia(*options, "--dataset", dataset, "--quiet")
    assert ended.status == 2
    assert "20231101.ja: a row without a text; give another --dataset" in ended.err
    parts = tmp_path / "corpus.jsonl.parts"
    assert sorted(path.name for path in parts.glob("*.jsonl")) == ["en.jsonl", "hi.jsonl"]
    before = (parts / "en.jsonl").stat().st_mtime_ns

    broken["20231101.ja"] = {"train": articles("ja", 40)}
    write_hub_folder(tmp_path / "wiki", broken)
    stopped = (parts / "en.jsonl").read_bytes()
    assert (parts / "en.jsonl").stat().st_mtime_ns == before
    wikipedia.made(*options, "--dataset", dataset, "--quiet")
    assert (tmp_path / "corpus.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert json.loads(stopped.splitlines()[0]) == rows(tmp_path / "corpus.jsonl")[0]["en"]
    assert not list(parts.glob("*.jsonl")), "what is joined is not kept twice"


def test_a_finished_corpus_is_left_as_it_is(options: list[object], wikipedia: Command, tmp_path: Path) -> None:
    wikipedia.made(*options)
    before = (tmp_path / "corpus.jsonl").stat().st_mtime_ns
    assert wikipedia.made(*options).err.endswith("19 lines\n")
    assert (tmp_path / "corpus.jsonl").stat().st_mtime_ns == before


def test_other_settings_and_files_of_others_are_kept(options: list[object], wikipedia: Command, tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    wikipedia.made(*options)
    said = wikipedia.refused(*options, "--tokens", 320)
    assert said == f"{path}: corpus.jsonl is of other settings; give another --out, or --overwrite to replace it"
    wikipedia.made(*options, "--tokens", 320, "--overwrite")
    assert len(rows(path)) == 10
    mine = tmp_path / "mine.jsonl"
    mine.write_text("mine", encoding="utf-8")
    wikipedia.refused(*options, "--out", mine)
    assert mine.read_text(encoding="utf-8") == "mine"


def test_a_language_with_less_text_ends_the_corpus_for_all(
    options: list[object], wikipedia: Command, tmp_path: Path
) -> None:
    tables = {f"20231101.{code}": {"train": articles(code, 2 if code == "hi" else 40)} for code in CODES}
    ended = wikipedia.made(*options, "--dataset", write_hub_folder(tmp_path / "short", tables))
    count = len(rows(tmp_path / "corpus.jsonl"))
    assert 0 < count < 19
    assert f"hi: {count} texts, which is all; 19 were asked for\n" in ended.err
    assert f"every language has the {count} texts of the shortest\n" in ended.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--languages", "en,xx"), "'xx' is not a language code"),
        (("--languages", "en,sw"), "configuration 20231101.sw: cannot be opened"),
        (("--dump", "20200101"), "configuration 20200101.en: cannot be opened"),
        (("--tokens", 0), "tokens 0, shuffle buffer 10000: both must be at least 1"),
        (("--tokenizer", "/nowhere"), "tokenizer /nowhere: cannot be loaded"),
    ],
)
def test_what_cannot_be_used(given: tuple[Any, ...], said: str, options: list[object], wikipedia: Command) -> None:
    ended = wikipedia(*options, *given, "--quiet")
    assert ended.status == 2
    assert said in ended.err
