"""Without `language=` the checkpoint's detector decides, also in the batches that the harness pads.

For likelihoods it pads on the right with the token 0 and hands the model no mask, for generation on the left with one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conversion.support import ROWS, write_corpus
from lm_eval.models.huggingface import HFLM
from run_helpers import evaluation_fixture, records, save_steered  # noqa: F401
from transformers import AutoModelForCausalLM, AutoTokenizer

from .support import Harness


@pytest.fixture(scope="module", name="gated")
def detector_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its detector knows languages by their bytes."""
    folder = tmp_path_factory.mktemp("gated")
    corpus = write_corpus(folder / "rows.jsonl", 6 * ROWS)
    return save_steered(folder / "steered", "--detector-corpus", corpus, "--language", "auto")


@pytest.mark.parametrize(("task", "language"), [("xnli", "en"), ("xnli", "zh"), ("xquad", "zh")])
def test_the_detector_steers_padded_batches_as_eval_steers_a_named_language(
    gated: Path, harness: Harness, sources: Path, evaluation: Any, tmp_path: Path, task: str, language: str
) -> None:
    evaluation.made(
        *("run", gated, "--tasks", task, "--languages", language, "--methods", "base,clas"),
        *("--data-dir", sources / "data", "--templates", sources / "templates", "--out", tmp_path / "run"),
    )
    base, clas = (
        {record.key: record.prediction for record in records(tmp_path / "run", task, method, language)}
        for method in ("base", "clas")
    )
    assert (base == clas) == (language == "en")
    assert Harness(gated, harness.metadata)(f"clas_{task}_{language}", batch_size=5).given == clas


def test_the_token_that_the_harness_pads_with_says_nothing(gated: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(gated)
    assert not model.base_model.language_detector.evidence[0].any()
    heard = []
    model.base_model.language_detector.register_forward_hook(
        lambda detector, given, decided: heard.append((given, decided))
    )
    harness = HFLM(pretrained=model, tokenizer=AutoTokenizer.from_pretrained(gated), batch_size=2)
    texts = ["die Katze schläft auf Brot und die Katze schläft auf dem Tisch", "猫在桌上睡觉"]
    pairs = [((text, "0"), harness.tok_encode(text), harness.tok_encode("0")) for text in texts]
    harness._loglikelihood_tokens(pairs, disable_tqdm=True)
    ((ids, mask), decision) = heard[0]
    assert mask is None
    assert (ids[1, -1], ids.shape[1]) == (0, len(texts[0].encode()))
    codes = [model.config.languages[number] for number in decision.language_ids]
    assert codes == ["de", "zh"]
