"""Where `generate` finds a language, and what becomes of it in assisted generation and in continuous batching."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import tiny_plain, tiny_steered
from detector_helpers import GERMAN, with_detector
from modeling_helpers import one_thread  # noqa: F401
from torch import Tensor
from transformers import ContinuousBatchingConfig, GenerationConfig

NEW = 6
EXACTLY = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False}
ENDLESS = GenerationConfig(max_new_tokens=NEW, do_sample=False, eos_token_id=-1, pad_token_id=256)
PROMPTS = [[5, 6, 7, 8], [10, 11, 12], [200, 100, 50, 3, 4]]


def generate(model: Any, tokens: Tensor, **options: Any) -> Tensor:
    """Greedily, `NEW` tokens for every prompt."""
    return model.generate(tokens, **EXACTLY, **options)


# ---- the entry `language` of a generation configuration


def test_a_generation_configuration_may_name_the_language(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family, language="zh")
    config = GenerationConfig(language="de", **EXACTLY)
    german = generate(steered, tokens, language="de")
    assert torch.equal(steered.generate(tokens, generation_config=config), german)
    assert torch.equal(steered.generate(tokens, config), german)
    assert config.language == "de"
    steered.generation_config.language = "de"
    assert torch.equal(generate(steered, tokens), german)


def test_the_keyword_comes_before_any_entry(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family)
    mixed = ["en", "de", "zh", "fr"]
    expected = generate(steered, tokens, language=mixed)
    steered.generation_config.language = "de"
    config = GenerationConfig(language="hi", **EXACTLY)
    assert torch.equal(steered.generate(tokens, generation_config=config, language=mixed), expected)
    assert torch.equal(steered.generate(tokens, config), generate(steered, tokens, language="hi"))


def test_an_entry_may_leave_it_to_the_detector(family: Any) -> None:
    steered = with_detector(family, language="zh")
    prompt = torch.tensor([[GERMAN] * 6])
    config = GenerationConfig(language="auto", **EXACTLY)
    german = generate(steered, prompt, language="de")
    assert torch.equal(steered.generate(prompt, config), german)
    assert not torch.equal(generate(steered, prompt), german)


def test_an_entry_that_is_no_language(family: Any, tokens: Tensor) -> None:
    with pytest.raises(ValueError, match="'Hoch Deutsch' is not a language code"):
        tiny_steered(family).generate(tokens, GenerationConfig(language="Hoch Deutsch", **EXACTLY))


# ---- assisted generation


@pytest.mark.parametrize("language", ["de", ["zh"], "auto"], ids=str)
def test_a_plain_assistant_changes_nothing(family: Any, language: Any, tokens: Tensor) -> None:
    steered, assistant = with_detector(family), tiny_plain(family, num_hidden_layers=2)
    expected = generate(steered, tokens[:1], language=language)
    assert torch.equal(generate(steered, tokens[:1], language=language, assistant_model=assistant), expected)


@pytest.mark.parametrize("languages", [["en", "de", "zh", "hi"], ["de", "en"]], ids=["the same", "others"])
def test_a_steered_assistant_changes_nothing(family: Any, languages: list[str], tokens: Tensor) -> None:
    steered, assistant = tiny_steered(family), tiny_steered(family, seed=1, languages=languages, alpha=1.0)
    expected = generate(steered, tokens[:1], language=["hi"])
    assert torch.equal(generate(steered, tokens[:1], language=["hi"], assistant_model=assistant), expected)


def test_a_steered_assistant_drafts_in_the_language(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family)
    passes: list[int] = []
    steered.register_forward_pre_hook(lambda *_: passes.append(1))
    assistant = tiny_steered(family)
    assistant.generation_config.assistant_confidence_threshold = 0.0
    generate(steered, tokens[:1], language="de", assistant_model=assistant)
    assert len(passes) < NEW  # every draft is what the model itself says


# ---- continuous batching


def in_one_batch(model: Any, **options: Any) -> list[list[int]]:
    """What `generate_batch` adds to the prompts."""
    batching = ContinuousBatchingConfig(num_blocks=32, max_batch_tokens=64)
    outputs = model.generate_batch(PROMPTS, ENDLESS, continuous_batching_config=batching, **options)
    return [output.generated_tokens for output in outputs.values()]


def one_by_one(model: Any, **options: Any) -> list[list[int]]:
    return [model.generate(torch.tensor([ids]), ENDLESS, **options)[0, len(ids) :].tolist() for ids in PROMPTS]


@pytest.mark.slow
def test_requests_are_in_the_language_of_the_configuration(family: Any) -> None:
    steered = tiny_steered(family, language="de")
    german, english = one_by_one(steered, language="de"), one_by_one(tiny_plain(family))
    assert in_one_batch(steered) == german != english
    assert in_one_batch(steered, language="DE") == german
    steered.config.language = "en"
    assert in_one_batch(steered) == english


@pytest.mark.parametrize(
    ("language", "named"), [("auto", None), ("en", "de"), ("en", ["en", "de", "en"]), (None, "de")], ids=str
)
def test_languages_that_requests_cannot_have(family: Any, language: str | None, named: Any) -> None:
    steered = with_detector(family, language=language)
    with pytest.raises(ValueError, match=r"language: .* continuous batching.*; set config.language"):
        in_one_batch(steered, language=named)


def test_a_server_that_would_batch_is_told(family: Any) -> None:
    with pytest.raises(ValueError, match="'auto' cannot be kept for each request"):
        with_detector(family, language="auto").init_continuous_batching()
    steered = tiny_steered(family, language="en")
    with pytest.raises(ValueError, match="'de' cannot be kept for each request"):
        steered.init_continuous_batching(GenerationConfig(language="de", eos_token_id=-1))


@pytest.mark.parametrize(
    "packed",
    [
        {"position_ids": torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3]])},
        {"cu_seq_lens_q": torch.tensor([0, 5, 9]), "cu_seq_lens_k": torch.tensor([0, 5, 9])},
    ],
    ids=["positions", "lengths"],
)
def test_the_detector_is_not_asked_about_several_sequences_in_a_row(
    family: Any, packed: dict[str, Any], tokens: Tensor
) -> None:
    steered = with_detector(family, language="auto")
    with pytest.raises(ValueError, match="several sequences share a row; name the one language"):
        steered(tokens[:1], **packed)
    steered(tokens[:1], language="de", **packed)
    steered(tokens[:1], position_ids=torch.arange(9)[None])
