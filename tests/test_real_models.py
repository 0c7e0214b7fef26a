"""The main job on real models: profile, convert, reload, generate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import DATA
from real_models import REAL_MODELS
from transformers import AutoModelForCausalLM, AutoTokenizer

from clas_models.conversion.conversion import Result, convert
from clas_models.conversion.options import ConversionOptions

pytestmark = pytest.mark.real

PROMPTS = {
    "en": "Tell me a short story about a dog that lives by the sea.",
    "de": "Erzähle mir eine kurze Geschichte über einen Hund, der am Meer lebt.",
    "es": "Cuéntame un cuento corto sobre un perro que vive junto al mar.",
    "zh": "给我讲一个关于住在海边的狗的小故事。",
    "ar": "احك لي قصة قصيرة عن كلب يعيش بجانب البحر.",
}


@pytest.fixture(scope="module", params=sorted(REAL_MODELS))
def converted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Each real model, profiled on a few samples of XQuAD (of the built-in corpus where that is missing)."""
    base = REAL_MODELS[request.param]()
    xquad = DATA / "xquad"
    corpus: dict[str, Any] = {"corpus": "xquad", "data_dir": xquad} if xquad.is_dir() else {"corpus": "builtin"}
    out = tmp_path_factory.mktemp("real") / "steered"
    # The layers that a full profile gives (docs/results/layers.md): three samples are too few to choose them by.
    layers = {"smollm2": "24-27", "qwen_coder": "18-21"}[request.param]
    options = ConversionOptions(
        str(base),
        out=out,
        languages=tuple(PROMPTS),
        samples=3,
        max_length=96,
        bridge_layers=layers,
        alpha=1.0,
        **corpus,
    )
    result = convert(options)
    return base, result


def _generate(model: Any, tokenizer: Any, **kwargs: Any) -> dict[str, str]:
    """The answers to all prompts in one batch, greedy, padded on the left."""
    chats = [[{"role": "user", "content": prompt}] for prompt in PROMPTS.values()]
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    inputs = tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    )
    tokens = model.generate(**inputs, max_new_tokens=40, do_sample=False, **kwargs)
    answers = tokenizer.batch_decode(tokens[:, inputs["input_ids"].shape[1] :])
    return dict(zip(PROMPTS, answers, strict=True))


def test_steering_changes_every_language_but_english(converted: tuple[Path, Result]) -> None:
    base, result = converted
    tokenizer = AutoTokenizer.from_pretrained(result.out)
    expected = _generate(AutoModelForCausalLM.from_pretrained(base), tokenizer)
    steered = AutoModelForCausalLM.from_pretrained(result.out)
    for alpha in (-1, 0, 1):
        with steered.temporary_steering(alpha=alpha):
            found = _generate(steered, tokenizer, language=list(PROMPTS))
        for language in PROMPTS:
            if alpha == 0 or language == "en":
                assert found[language] == expected[language]
            else:
                assert found[language] != expected[language]


def test_anchor_logits_are_bit_identical(converted: tuple[Path, Result]) -> None:
    base, result = converted
    for dtype in (torch.float32, torch.bfloat16):
        plain = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
        steered = AutoModelForCausalLM.from_pretrained(result.out, dtype=dtype)
        tokens = torch.arange(100, 164).view(2, 32)
        with torch.inference_mode():
            expected = plain(tokens).logits
            found = steered(tokens, language=["en", "de"]).logits
        assert torch.equal(found[0], expected[0])
        assert not torch.equal(found[1], expected[1])


def test_tokenizer_is_the_base_models(converted: tuple[Path, Result]) -> None:
    base, result = converted
    mine, theirs = AutoTokenizer.from_pretrained(result.out), AutoTokenizer.from_pretrained(base)
    assert type(mine) is type(theirs)
    for prompt in PROMPTS.values():
        assert mine(prompt) == theirs(prompt)
    assert mine.chat_template == theirs.chat_template


def test_reload_and_save_again_are_bit_identical(converted: tuple[Path, Result], tmp_path: Path) -> None:
    _, result = converted
    model = AutoModelForCausalLM.from_pretrained(result.out)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokens = torch.arange(50, 82).view(2, 16)
    with torch.inference_mode():
        assert torch.equal(model(tokens, language="de").logits, again(tokens, language="de").logits)
