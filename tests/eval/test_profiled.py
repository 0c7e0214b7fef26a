"""Profiling text is not test text: an evaluation whose examples were profiled says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conversion.support import ROWS, write_corpus
from run_helpers import (  # noqa: F401
    evaluation_fixture,
    save_steered,
    steered_fixture,
    templates_fixture,
)
from safetensors.torch import load_file, save_file

from clas_models.profiling.corpora import PROFILED_ROWS, load_corpus
from clas_models.profiling.neuron_profile import METADATA_KEY
from eval.run_folder import RunFolder
from eval.tasks import ExampleSource
from eval.tasks.perplexity import PERPLEXITY

NEW = [{"en": "Nobody has seen this.", "de": "Das hat niemand gesehen.", "zh": "没有人看过这个。"}] * 4


def perplexity(evaluation: Any, checkpoint: Path, corpus: Path, out: Path, *options: object) -> Any:
    return evaluation.made(
        *("run", checkpoint, "--tasks", "perplexity", "--languages", "de,zh", "--corpus", corpus, "--out", out),
        *options,
    )


def test_a_run_on_profiled_text_says_so(steered: Path, evaluation: Any, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "rows.jsonl", [*ROWS, *NEW])
    ended = perplexity(evaluation, steered, corpus, tmp_path / "run")
    count = len(ROWS)
    said = (
        f"perplexity: {2 * count} of {2 * (count + 4)} examples were profiled (de {count}, zh {count}), "
        "so the scores are not of unseen text"
    )
    assert said in ended.err
    assert said in ended.out
    known = RunFolder.open(tmp_path / "run").settings.other["profiled"]
    assert known == {"perplexity": {"de": len(ROWS), "zh": len(ROWS)}}


def test_a_run_on_other_text_says_nothing(steered: Path, evaluation: Any, tmp_path: Path) -> None:
    ended = perplexity(evaluation, steered, write_corpus(tmp_path / "rows.jsonl", NEW), tmp_path / "run")
    assert "profiled" not in ended.err + ended.out
    assert RunFolder.open(tmp_path / "run").settings.other["profiled"] == {}


def test_a_tune_on_profiled_text_says_so(steered: Path, evaluation: Any, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "rows.jsonl", ROWS)
    options = ["--task", "perplexity", "--alpha", "1", "--corpus", corpus, "--out", tmp_path / "run"]
    ended = evaluation.made("tune", steered, *options)
    assert f"of {2 * len(ROWS)} examples were profiled" in ended.out


def test_a_question_on_a_profiled_paragraph_counts(evaluation: Any, templates: Path, tmp_path: Path) -> None:
    """The row that was profiled is its paragraph and another question."""
    data = tmp_path / "xquad"
    data.mkdir()
    for code, text in (("en", "A cat lives in this house."), ("de", "In diesem Haus lebt eine Katze.")):
        asked = [
            {"id": f"q{number}", "question": f"{code} {number}?", "answers": [{"text": "x", "answer_start": 0}]}
            for number in range(3)
        ]
        content = {"data": [{"title": "t", "paragraphs": [{"context": text, "qas": asked}]}]}
        (data / f"xquad.{code}.json").write_text(json.dumps(content))
    options = ["--corpus", "xquad", "--data-dir", data, "--samples", 1]
    checkpoint = save_steered(tmp_path / "steered", *options)
    common = ["--tasks", "xquad", "--data-dir", data, "--templates", templates, "--languages", "de"]
    ended = evaluation.made("run", checkpoint, *common, "--out", tmp_path / "run")
    assert "xquad: 3 of 3 examples were profiled (de 3)" in ended.out


def test_a_profile_of_an_older_version_loads_and_is_said_to_know_nothing(
    steered: Path, evaluation: Any, tmp_path: Path
) -> None:
    older = Path(shutil.copytree(steered, tmp_path / "older"))
    path = older / "neuron_profile.safetensors"
    header = json.loads(path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")])
    described = json.loads(header["__metadata__"][METADATA_KEY])
    del described["lines"]
    save_file(load_file(path), path, {METADATA_KEY: json.dumps(described)})
    corpus = write_corpus(tmp_path / "rows.jsonl", ROWS)
    ended = perplexity(evaluation, older, corpus, tmp_path / "run", "--methods", "base,int-mean")
    assert "perplexity: it was profiled, and the profile, of an older version, does not say which examples" in ended.out
    other = write_corpus(tmp_path / "others.jsonl", ROWS)
    assert "it was profiled" not in perplexity(evaluation, older, other, tmp_path / "second").out


def test_the_builtin_corpus_keeps_what_it_tests_on_apart() -> None:
    rows = list(load_corpus("builtin", languages=["en", "de"]).rows)
    tested = [example.fields["text"] for example in PERPLEXITY.load(["de"], ExampleSource())["de"]]
    assert tested == [row["de"] for row in rows[PROFILED_ROWS["builtin"] :]]
    assert len(tested) == 60


@pytest.mark.parametrize("text", ["", "Yes\nNo", "x" * 9])
def test_short_lines_tell_nothing_apart(text: str) -> None:
    from clas_models.profiling.seen_text import line_hashes

    assert list(line_hashes(text)) == []
