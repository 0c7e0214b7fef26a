"""Perplexity: texts from the converter's corpora, and the arithmetic."""

from __future__ import annotations

from pathlib import Path

from clas_models.profiling.corpora import PROFILED_ROWS, load_corpus
from eval.tasks import ExampleSource, task_of

from .support import load_error, write_lines

PERPLEXITY = task_of("perplexity")


def test_texts_of_the_built_in_corpus_whatever_the_folder_of_other_tasks(tmp_path: Path) -> None:
    examples = PERPLEXITY.load(["de", "en"], ExampleSource(tmp_path, samples=3))
    rows = list(load_corpus("builtin", languages=["de", "en"], skip=PROFILED_ROWS["builtin"], samples=3).rows)
    assert {language: [example.fields["text"] for example in given] for language, given in examples.items()} == {
        language: [row[language] for row in rows] for language in ("de", "en")
    }
    assert [(example.key, example.gold) for example in examples["de"]] == [("1", ()), ("2", ()), ("3", ())]
    later = PERPLEXITY.load(["de", "en"], ExampleSource(tmp_path, samples=2, skip=1))
    assert later == {language: given[1:] for language, given in examples.items()}


def test_texts_of_another_corpus(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    write_lines(path, [{"en": "one", "de": "eins"}])
    examples = PERPLEXITY.load(None, ExampleSource(corpus=str(path)))
    assert {language: given[0].fields for language, given in examples.items()} == {
        "en": {"text": "one"},
        "de": {"text": "eins"},
    }
    assert "no fr" in load_error("perplexity", None, ["fr"], corpus=str(path))
    (tmp_path / "dev-en.tsv").write_text("p\th\tneutral\n", encoding="utf-8")
    assert PERPLEXITY.load(None, ExampleSource(tmp_path, corpus="xnli"))["en"][0].fields["text"] == "p\nh"


def test_the_score_of_a_text_is_its_answer() -> None:
    assert PERPLEXITY.score(2.5, PERPLEXITY.load(["de"], ExampleSource(samples=1))["de"][0], "de") == {"nats": 2.5}
