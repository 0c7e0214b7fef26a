"""Perplexity: texts from the converter's corpora, and the arithmetic."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from clas_models.errors import InputError
from clas_models.profiling.corpora import load_corpus
from eval.tasks import Source, summarize_perplexity, task_of

from .support import load_error, write_lines

PERPLEXITY = task_of("perplexity")


def test_texts_of_the_built_in_corpus_whatever_the_folder_of_other_tasks(tmp_path: Path) -> None:
    examples = PERPLEXITY.load(["de", "en"], Source(tmp_path, samples=3))
    rows = list(load_corpus("builtin", languages=["de", "en"], samples=3).rows)
    assert {language: [example.fields["text"] for example in given] for language, given in examples.items()} == {
        language: [row[language] for row in rows] for language in ("de", "en")
    }
    assert [(example.key, example.gold) for example in examples["de"]] == [("1", ()), ("2", ()), ("3", ())]


def test_texts_of_another_corpus(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    write_lines(path, [{"en": "one", "de": "eins"}])
    examples = PERPLEXITY.load(None, Source(corpus=str(path)))
    assert {language: given[0].fields for language, given in examples.items()} == {
        "en": {"text": "one"},
        "de": {"text": "eins"},
    }
    assert "no fr" in load_error("perplexity", None, ["fr"], corpus=str(path))
    (tmp_path / "dev-en.tsv").write_text("p\th\tneutral\n", encoding="utf-8")
    assert PERPLEXITY.load(None, Source(tmp_path, corpus="xnli"))["en"][0].fields["text"] == "p\nh"


def test_long_texts_count_by_their_length() -> None:
    # 1 token of probability 1/2 and 3 tokens of probability 1/8 each: 10 bits in 4 tokens
    nats = [math.log(2), 3 * math.log(8)]
    scores = summarize_perplexity(nats, [1, 3], [2, 3])
    assert scores == pytest.approx({"perplexity": 2**2.5, "bits_per_byte": 2.0})


def test_a_perplexity_that_no_float_holds() -> None:
    assert summarize_perplexity([7100.0], [10], [10])["perplexity"] == math.inf
    assert summarize_perplexity([7090.0], [10], [10])["perplexity"] < math.inf
    with pytest.raises(InputError, match="single token"):
        summarize_perplexity([0.0], [0], [1])


def test_running_score_counts_bytes_not_characters(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    write_lines(path, [{"de": "für"}])
    examples = PERPLEXITY.load(None, Source(corpus=str(path)))["de"]
    nats = 8 * math.log(2)
    assert PERPLEXITY.score(nats, examples[0], "de") == {"nats": nats}
    assert PERPLEXITY.summarize([nats], examples, "de") == pytest.approx({"bits_per_byte": 2.0})
