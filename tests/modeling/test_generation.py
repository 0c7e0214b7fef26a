"""Text generation: every prompt is continued in its own language, whatever the strategy, padding or cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import tiny_plain, tiny_steered
from modeling_helpers import (
    MIXED,
    assert_anchor_rows_are_plain,
)
from torch import Tensor
from transformers import pipeline

NEW = 6
LANGUAGES = ["en", "de", "zh", "fr"]
GREEDY = {"do_sample": False}
BEAMS = {"do_sample": False, "num_beams": 3}
BOTH_STRATEGIES = pytest.mark.parametrize("strategy", [GREEDY, BEAMS], ids=["greedy", "beams"])


def generate(model: Any, tokens: Tensor | None = None, **options: Any) -> Any:
    """`NEW` tokens for every prompt, no fewer."""
    return model.generate(tokens, min_new_tokens=NEW, max_new_tokens=NEW, **options)


@BOTH_STRATEGIES
def test_each_prompt_gets_what_it_gets_alone(family: Any, strategy: dict[str, Any], tokens: Tensor) -> None:
    steered = tiny_steered(family).double()
    mixed = generate(steered, tokens, language=LANGUAGES, **strategy)
    for row, language in enumerate(LANGUAGES):
        assert torch.equal(mixed[row], generate(steered, tokens[row : row + 1], language=language, **strategy)[0])


@BOTH_STRATEGIES
def test_the_anchor_is_continued_as_by_the_plain_model(family: Any, strategy: dict[str, Any], tokens: Tensor) -> None:
    plain, steered = tiny_plain(family), tiny_steered(family)
    expected = generate(plain, tokens, **strategy)
    assert_anchor_rows_are_plain(generate(steered, tokens, language=MIXED, **strategy), expected)
    assert torch.equal(generate(steered, tokens, language="en", **strategy), expected)
    steered.set_steering(alpha=0)
    assert torch.equal(generate(steered, tokens, language=MIXED, **strategy), expected)


def test_logits_of_the_anchor_are_those_of_the_plain_model_at_every_step(family: Any, tokens: Tensor) -> None:
    request = {"output_logits": True, "return_dict_in_generate": True, **GREEDY}
    plain = generate(tiny_plain(family), tokens, **request)
    steered = generate(tiny_steered(family), tokens, language=MIXED, **request)
    assert len(steered.logits) == NEW
    for steered_step, plain_step in zip(steered.logits, plain.logits, strict=True):
        assert_anchor_rows_are_plain(steered_step, plain_step)


def test_samples_of_a_prompt_follow_its_language(family: Any, tokens: Tensor) -> None:
    plain, steered = tiny_plain(family), tiny_steered(family)

    def sample(model: Any, **language: Any) -> Tensor:
        torch.manual_seed(11)
        return generate(model, tokens[:2], do_sample=True, top_k=0, num_return_sequences=3, **language)

    unsteered, german = sample(plain), sample(steered, language="de")
    mixed = sample(steered, language=["en", "de"])
    assert torch.equal(mixed[:3], unsteered[:3])
    assert torch.equal(mixed[3:], german[3:])
    assert not torch.equal(mixed[3:], unsteered[3:])
    assert len({tuple(row) for row in mixed.tolist()}) == 6


def test_beams_that_are_returned_follow_their_prompt(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family).double()
    options = {**BEAMS, "num_return_sequences": 2}
    mixed = generate(steered, tokens[:2], language=["de", "en"], **options)
    assert torch.equal(mixed[:2], generate(steered, tokens[:1], language="de", **options))
    assert torch.equal(mixed[2:], generate(steered, tokens[1:2], language="en", **options))


@BOTH_STRATEGIES
def test_ids_and_codes_say_the_same(family: Any, strategy: dict[str, Any], tokens: Tensor) -> None:
    steered = tiny_steered(family)
    by_code = generate(steered, tokens, language=LANGUAGES, **strategy)
    by_id = generate(steered, tokens, language=torch.tensor([0, 1, 2, 4]), **strategy)
    assert torch.equal(by_code, by_id)
    assert torch.equal(generate(steered, input_ids=tokens, language=LANGUAGES, **strategy), by_code)


def test_without_a_language_the_default_of_the_configuration_holds(family: Any, tokens: Tensor) -> None:
    explicit, german = tiny_steered(family), tiny_steered(family, language="de")
    assert torch.equal(generate(german, tokens, **GREEDY), generate(explicit, tokens, language="de", **GREEDY))
    assert torch.equal(generate(explicit, tokens, **GREEDY), generate(explicit, tokens, language="fr", **GREEDY))


def test_the_cache_changes_nothing(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family).double()
    cached = generate(steered, tokens, language=LANGUAGES, use_cache=True, **GREEDY)
    assert torch.equal(generate(steered, tokens, language=LANGUAGES, use_cache=False, **GREEDY), cached)
    assert torch.equal(generate(steered, tokens, language=LANGUAGES, cache_implementation="static", **GREEDY), cached)


def test_a_returned_cache_can_be_continued(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family).double()
    first = generate(steered, tokens, language=LANGUAGES, return_dict_in_generate=True, **GREEDY)
    resumed = {"past_key_values": first.past_key_values, "attention_mask": torch.ones_like(first.sequences)}
    second = generate(steered, first.sequences, language=LANGUAGES, **resumed, **GREEDY)
    whole = steered.generate(tokens, language=LANGUAGES, min_new_tokens=2 * NEW, max_new_tokens=2 * NEW, **GREEDY)
    assert torch.equal(second, whole)


def test_left_padding_changes_nothing(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family).double()
    prompts = [tokens[0, :3], tokens[1, :9], tokens[2, :5], tokens[3, :1]]
    padded = torch.full((4, 9), steered.config.pad_token_id)
    for row, prompt in enumerate(prompts):
        padded[row, 9 - len(prompt) :] = prompt

    mask = (padded != steered.config.pad_token_id).long()
    together = generate(steered, padded, attention_mask=mask, language=LANGUAGES, **GREEDY)

    for row, (prompt, language) in enumerate(zip(prompts, LANGUAGES, strict=True)):
        alone = generate(steered, prompt[None], language=language, **GREEDY)
        assert torch.equal(together[row, -NEW:], alone[0, -NEW:])


def test_right_padding_changes_no_logits_before_it(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family).double()
    lengths = [3, 9, 5, 1]
    mask = torch.stack([torch.arange(9) < length for length in lengths]).long()
    padded = tokens.masked_fill(mask == 0, steered.config.pad_token_id)

    together = steered(padded, attention_mask=mask, language=LANGUAGES).logits

    for row, (length, language) in enumerate(zip(lengths, LANGUAGES, strict=True)):
        alone = steered(tokens[row : row + 1, :length], language=language).logits
        torch.testing.assert_close(together[row : row + 1, :length], alone, rtol=0, atol=1e-10)


@BOTH_STRATEGIES
def test_embeddings_are_continued_like_ids(family: Any, strategy: dict[str, Any], tokens: Tensor) -> None:
    steered = tiny_steered(family)
    embeddings = steered.get_input_embeddings()(tokens)
    by_ids = generate(steered, tokens, language=LANGUAGES, **strategy)
    by_embeddings = generate(steered, inputs_embeds=embeddings, language=LANGUAGES, **strategy)
    assert torch.equal(by_embeddings, by_ids[:, -NEW:])


@pytest.mark.parametrize(
    "options",
    [{"prompt_lookup_num_tokens": 2}, {"repetition_penalty": 1.3}, {"prefill_chunk_size": 4}],
    ids=str,
)
def test_other_strategies_take_a_language(family: Any, options: dict[str, Any], tokens: Tensor) -> None:
    plain, steered = tiny_plain(family), tiny_steered(family)
    expected = generate(plain, tokens[:1], **GREEDY, **options)
    assert torch.equal(generate(steered, tokens[:1], language=["en"], **GREEDY, **options), expected)
    assert not torch.equal(generate(steered, tokens[:1], language=["de"], **GREEDY, **options), expected)


@pytest.mark.parametrize(
    ("language", "error", "words"),
    [
        (["de"], ValueError, ["language: 1 entries for a batch of 4 rows", "one a row"]),
        (torch.tensor([0, 1, 2, 7]), ValueError, ["language: ids from 0 to 7", "allowed are 0 to 4"]),
        (3, TypeError, ["language: 3 is of type int", "a list of codes"]),
        ("Hoch Deutsch", ValueError, ["language: 'Hoch Deutsch'", "ISO 639"]),
    ],
    ids=str,
)
def test_languages_that_are_not_allowed(
    family: Any, language: Any, error: type[Exception], words: list[str], tokens: Tensor
) -> None:
    with pytest.raises(error) as caught:
        generate(tiny_steered(family), tokens, language=language, **BEAMS)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_misspelt_option_is_still_refused(family: Any, tokens: Tensor) -> None:
    with pytest.raises(ValueError, match="langauge"):
        generate(tiny_steered(family), tokens, langauge="de", **GREEDY)


def test_a_text_generation_pipeline_takes_a_language(family: Any, tokenizer: Any) -> None:
    plain, steered = tiny_plain(family), tiny_steered(family)
    options = {"max_new_tokens": NEW, "min_new_tokens": NEW, "return_full_text": False, **GREEDY}
    prompt = "Guten Tag!"

    def answer(model: Any, **language: Any) -> str:
        return pipeline("text-generation", model=model, tokenizer=tokenizer)(prompt, **options, **language)[0][
            "generated_text"
        ]

    ids = generate(steered, tokenizer(prompt, return_tensors="pt").input_ids, language="de", **GREEDY)
    assert answer(steered, language="de") == tokenizer.decode(ids[0, -NEW:], skip_special_tokens=True)
    assert answer(steered, language="en") == answer(plain) != answer(steered, language="de")
