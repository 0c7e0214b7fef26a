"""First do no harm: a fresh conversion says what its strengths do to text that it did not profile."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command
from conftest import byte_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from clas_models.command_line import EVAL
from clas_models.conversion.plain_text import MAX_LENGTH, ROWS, measure, unseen_rows
from clas_models.profiling.corpora import PROFILED_ROWS, load_corpus

from .support import ROWS as CORPUS_ROWS
from .support import write_corpus


def naive(model: Any, texts: list[str], language: str) -> float:
    """-log p a token, one text after the other."""
    total, count = 0.0, 0
    for text in texts:
        ids = torch.tensor([byte_tokenizer()(text, truncation=True, max_length=MAX_LENGTH)["input_ids"]])
        with torch.inference_mode():
            logs = model(ids, language=language).logits[0].log_softmax(-1)
        total -= float(logs[:-1].gather(1, ids[0, 1:, None]).sum())
        count += ids.shape[1] - 1
    return total / count


@pytest.mark.parametrize("alpha", [1.0, {"de": -3.0, "default": 0.0}])
def test_it_is_what_the_model_says_of_each_text_alone(steered_folder: Path, alpha: Any) -> None:
    model = AutoModelForCausalLM.from_pretrained(steered_folder, alpha=alpha)
    corpus = load_corpus("builtin", languages=["en", "de", "zh"], skip=150, samples=3)
    found = measure(model, byte_tokenizer(), corpus)
    assert found is not None
    assert list(found.nats) == (["de", "zh"] if alpha == 1.0 else ["de"])
    for code, (base, steered) in found.nats.items():
        texts = [row[code] for row in corpus.rows]
        assert base == pytest.approx(naive(model, texts, "en"), rel=1e-5)
        assert steered == pytest.approx(naive(model, texts, code), rel=1e-5)
        assert not math.isclose(base, steered, rel_tol=1e-7)


def test_where_nothing_is_steered_the_paper_s_alpha_is_tried(steered_folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(steered_folder, alpha=0.0)
    corpus = load_corpus("builtin", languages=["en", "de"], skip=150, samples=2)
    found = measure(model, byte_tokenizer(), corpus)
    assert found is not None
    assert found.verdict.startswith("alpha 1: text gets less likely in ")
    assert model.config.alpha == 0.0
    assert model.steering.alpha["default"] == 0.0


def test_rows_are_those_after_the_profiled_ones(tmp_path: Path) -> None:
    corpus = str(write_corpus(tmp_path / "rows.jsonl", CORPUS_ROWS))
    rows = unseen_rows(corpus, ["en", "de"], 2, None)
    assert rows is not None
    assert [row["de"] for row in rows.rows] == [row["de"] for row in CORPUS_ROWS[2 : 2 + ROWS]]
    builtin = unseen_rows(corpus, ["en", "de"], len(CORPUS_ROWS), None)
    assert builtin is not None
    first = PROFILED_ROWS["builtin"]
    assert list(builtin.rows) == list(load_corpus("builtin", languages=["en", "de"], skip=first, samples=ROWS).rows)
    assert unseen_rows(corpus, ["xx", "yy"], 99, None) is None


def test_a_fresh_conversion_steers_nothing_and_says_what_steering_would_do(
    plain_folder: Path, corpus_file: Path, converter: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ended = converter.made(plain_folder, "--corpus", corpus_file, "--out", out)
    assert AutoConfig.from_pretrained(out).alpha == 0.0
    assert "In force: alpha 0 for every language, so nothing is steered: this is the base model\n" in ended.out
    last = ended.out.strip().splitlines()[-1]
    assert last.startswith("alpha 1: text gets less likely in ")
    assert last.endswith(f"; decide with: {EVAL} tune {out} --task … --write")
    card = (out / "README.md").read_text()
    said = last.partition("; decide")[0]
    assert f"On {ROWS} rows a language of builtin that were not profiled, at {said}.\n" in card
    table = [
        line for line in card.split("## Plain text")[1].split("## Evaluation")[0].splitlines() if line[:4] == "| de"
    ]
    assert len(table) == 1
    assert "In force: alpha 0 for every language, so nothing is steered: this is the base model.\n" in card
    assert "# alpha 0: as the base model" in card


def test_a_conversion_without_a_forward_pass_measures_nothing(
    steered_folder: Path, converter: Command, tmp_path: Path
) -> None:
    ended = converter.made(steered_folder, "--out", tmp_path / "out")
    assert "less likely" not in ended.out
    assert "was not measured" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    ("options", "alpha"),
    [
        ((), {"de": -2.0, "zh": 1.0, "default": 0.5}),
        (("--languages", "de"), {"de": -2.0, "default": 0.5}),
        (("--bridge-layers", "1"), {"de": -2.0, "zh": 1.0, "default": 0.5}),
        (("--alpha", "3"), 3.0),
        (("--alpha", "de=3"), {"de": 3.0, "default": 0.5}),
        (("--beta", "0.1"), {"de": -2.0, "zh": 1.0, "default": 0.5}),
    ],
)
def test_strengths_of_a_steered_model_are_kept_unless_others_are_given(
    options: tuple[str, ...], alpha: Any, steered_folder: Path, converter: Command, tmp_path: Path
) -> None:
    converter.made(steered_folder, "--alpha", "de=-2,zh=1,default=0.5", "--gamma", "0.7", "--out", tmp_path / "tuned")
    converter.made(tmp_path / "tuned", *options, "--out", tmp_path / "out")
    config = AutoConfig.from_pretrained(tmp_path / "out")
    assert (config.alpha, config.gamma) == (alpha, 0.7)
    assert config.beta == (0.1 if "--beta" in options else 0.4)


def test_what_a_corpus_keeps_for_tests_is_not_profiled(plain_folder: Path, converter: Command, tmp_path: Path) -> None:
    said = converter.refused(plain_folder, "--samples", "101", "--languages", "de", "--out", tmp_path / "out")
    assert "samples 101: of corpus builtin at most 100 are profiled, the rest is kept for tests" in said
