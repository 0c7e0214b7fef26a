"""Vectors on some tokens in every kind of generation: each equals a loop that names the tokens itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from conftest import tiny_plain, tiny_steered
from torch import Tensor

NEW = 5
ROWS = ["en", "de", "zh", "hi"]
GREEDY = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False}
acting = pytest.mark.parametrize("acting", ["last", "generated"])


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def with_vectors(family: Any, acting: str, **overrides: Any) -> Any:
    """Without masks, with vectors in two layers."""
    model = tiny_steered(
        family, bridge_layers=[], vector_layers=[1, 4], vector_positions=acting, vector_strength=1.5, **overrides
    )
    noise = torch.Generator().manual_seed(3)
    for layer in model.config.vector_layers:
        vectors = model.model.layers[layer].add.vectors
        vectors[1:] = torch.randn(3, vectors.shape[1], generator=noise)
    return model


def places(tokens: Tensor, prompt: int, acting: str) -> Tensor:
    """The tokens that vectors act on, bool `[batch, tokens]`, where the prompt has so many."""
    numbers = torch.arange(tokens.shape[1]).expand(len(tokens), -1)
    return numbers == prompt - 1 if acting == "last" else numbers >= prompt - 1


def next_scores(model: Any, tokens: Tensor, acts: Tensor, language: Any) -> Tensor:
    """Log-probabilities of the next token, the end left out."""
    logits = model(tokens, language=language, positions=acts, use_cache=False).logits[:, -1]
    logits[:, model.generation_config.eos_token_id] = -torch.inf
    return logits.log_softmax(-1)


def greedy(model: Any, tokens: Tensor, acting: str, language: Any) -> Tensor:
    """A loop without a cache."""
    prompt = tokens.shape[1]
    for _ in range(NEW):
        best = next_scores(model, tokens, places(tokens, prompt, acting), language).argmax(-1, keepdim=True)
        tokens = torch.cat([tokens, best], dim=1)
    return tokens


def beam_search(model: Any, prompt: Tensor, acting: str, language: str, width: int) -> Tensor:
    """The `width` best continuations of one prompt, the best first; all have one length."""
    tokens, scores = prompt, torch.zeros(1)
    for _ in range(NEW):
        told = next_scores(model, tokens, places(tokens, prompt.shape[1], acting), language)
        best = (scores[:, None] + told).flatten().topk(width)
        rows, new = best.indices // told.shape[1], best.indices % told.shape[1]
        tokens, scores = torch.cat([tokens[rows], new[:, None]], dim=1), best.values
    return tokens


@acting
def test_beams_and_returned_sequences(family: Any, tokens: Tensor, acting: str) -> None:
    model = with_vectors(family, acting)
    found = model.generate(tokens, language=ROWS, num_beams=3, num_return_sequences=2, **GREEDY)
    for row, language in enumerate(ROWS):
        expected = beam_search(model, tokens[row : row + 1], acting, language, 3)[:2]
        assert torch.equal(found[2 * row : 2 * row + 2], expected)


@acting
def test_sequences_that_are_sampled_follow_their_prompt(family: Any, tokens: Tensor, acting: str) -> None:
    model = with_vectors(family, acting)
    options = {**GREEDY, "do_sample": True, "top_k": 1, "num_return_sequences": 3}
    expected = greedy(model, tokens, acting, ROWS).repeat_interleave(3, dim=0)
    assert torch.equal(model.generate(tokens, language=ROWS, **options), expected)


@acting
@pytest.mark.parametrize(
    "options",
    [{"cache_implementation": "static"}, {"prefill_chunk_size": 4}, {"use_cache": False}],
    ids=["static", "chunked", "uncached"],
)
def test_caches_of_every_kind(family: Any, tokens: Tensor, acting: str, options: dict[str, Any]) -> None:
    model = with_vectors(family, acting)
    model.generation_config.disable_compile = True
    expected = greedy(model, tokens, acting, ROWS)
    assert torch.equal(model.generate(tokens, language=ROWS, **GREEDY, **options), expected)


@acting
@pytest.mark.parametrize("kind", ["plain", "steered", "lookup"])
def test_assistants(family: Any, tokens: Tensor, acting: str, kind: str) -> None:
    """Drafts are checked in passes of several tokens."""
    model, prompt = with_vectors(family, acting), tokens[1:2]
    assistants = {
        "plain": {"assistant_model": tiny_plain(family, num_hidden_layers=2)},
        "steered": {"assistant_model": with_vectors(family, acting)},
        "lookup": {"prompt_lookup_num_tokens": 3},
    }
    expected = greedy(model, prompt, acting, "de")
    assert torch.equal(model.generate(prompt, language="de", **GREEDY, **assistants[kind]), expected)


@acting
@pytest.mark.parametrize("given", ["all", "new"])
def test_a_chat_that_goes_on_with_its_cache(family: Any, tokens: Tensor, acting: str, given: str) -> None:
    """What was computed in the first turn stays: its own last token, not the second turn's."""
    model = with_vectors(family, acting)
    first = model.generate(tokens, language=ROWS, return_dict_in_generate=True, **GREEDY)
    assert torch.equal(first.sequences, greedy(model, tokens, acting, ROWS))
    longer = torch.cat([first.sequences, tokens[:, :3]], dim=1)
    cache, ids = first.past_key_values, longer
    if given == "new":  # transformers takes these for new ones because the mask counts more
        ids = longer[:, cache.get_seq_length() :]
    options = {"past_key_values": cache, "attention_mask": torch.ones_like(longer)}
    found = model.generate(ids, language=ROWS, **options, **GREEDY)
    found = torch.cat([longer, found[:, -NEW:]], dim=1)
    # The last token of the first turn was not computed in it: it is part of the second prompt.
    acts = torch.zeros(longer.shape, dtype=torch.bool)
    end = tokens.shape[1]
    acts[:, end - 1 : end if acting == "last" else end + NEW - 1] = True
    expected = longer
    for step in range(NEW):
        grown = torch.zeros(expected.shape, dtype=torch.bool)
        grown[:, : acts.shape[1]] = acts
        grown[:, longer.shape[1] - 1 : longer.shape[1] if acting == "last" else longer.shape[1] + step] = True
        best = next_scores(model, expected, grown, ROWS).argmax(-1, keepdim=True)
        expected = torch.cat([expected, best], dim=1)
    assert torch.equal(found, expected)
