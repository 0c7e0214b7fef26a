"""The two halves together are the model's own forward pass, bit for bit."""

from typing import Any

import pytest
import torch
from conftest import tiny_plain, tiny_steered
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache, GPT2Config

from clas_models import FAMILIES
from clas_models.errors import InputError
from eval.engine.decoder import SplitDecoder
from eval.engine.packing import pack_prompts

from .support import asked_for, one_by_one, question_prompts, random_tokens, strengths

DTYPES = [torch.float32, torch.bfloat16]
ROWS, TOKENS, CACHED = 3, 9, 4
SLIDING = {
    "qwen2": {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    "mistral": {"sliding_window": 5},
}
FULL = {"qwen2": {}, "mistral": {"sliding_window": None}}


def padding(side: str, tokens: int) -> Tensor | None:
    """A mask `[rows, tokens]` that leaves rows of 9, 6 and 2 tokens where 9 are the most."""
    if side == "none":
        return None
    mask = torch.ones(ROWS, tokens, dtype=torch.long)
    for row, empty in enumerate((0, 3, 7)):
        if empty:
            mask[row, slice(None, empty) if side == "left" else slice(-empty, None)] = 0
    return mask


def halves(model: Any, ids: Tensor, language: str, **inputs: Any) -> Tensor:
    decoder = SplitDecoder(model)
    with torch.inference_mode():
        return decoder.upper(decoder.lower(ids, **inputs), language)


def whole(model: Any, ids: Tensor, language: str, cache: Any = None, **inputs: Any) -> Tensor:
    with torch.inference_mode():
        inputs = {**inputs, **asked_for(model, language), "past_key_values": cache}
        return model.model(ids, use_cache=cache is not None, **inputs).last_hidden_state


def tokens_of(seed: int, count: int) -> Tensor:
    return torch.tensor([random_tokens(count, seed + row) for row in range(ROWS)])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("side", ["none", "left", "right"])
@pytest.mark.parametrize("language", ["de", "fr", "en"])
def test_the_halves_are_the_forward_pass(family: Any, dtype: torch.dtype, side: str, language: str) -> None:
    model = tiny_steered(family).to(dtype)
    ids, mask = tokens_of(0, TOKENS), padding(side, TOKENS)
    expected = whole(model, ids, language, attention_mask=mask)
    assert torch.equal(halves(model, ids, language, attention_mask=mask), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("side", ["none", "left", "right"])
def test_the_halves_continue_a_cache(family: Any, dtype: torch.dtype, side: str) -> None:
    model = tiny_steered(family).to(dtype)
    before, ids, mask = tokens_of(10, CACHED), tokens_of(0, TOKENS - CACHED), padding(side, TOKENS)
    first = None if mask is None else mask[:, :CACHED]
    caches = [SplitDecoder(model).new_cache() for _ in range(2)]
    for cache in caches:
        whole(model, before, "de", cache, attention_mask=first)
    expected = whole(model, ids, "de", caches[0], attention_mask=mask)
    assert torch.equal(halves(model, ids, "de", attention_mask=mask, cache=caches[1]), expected)
    for one, other in zip(caches[0].layers, caches[1].layers, strict=True):
        for kept in ("keys", "values"):
            assert torch.equal(getattr(one, kept), getattr(other, kept))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_positions_are_those_that_are_given(family: Any, dtype: torch.dtype) -> None:
    model = tiny_steered(family).to(dtype)
    ids, mask = tokens_of(0, TOKENS), padding("left", TOKENS)
    assert mask is not None
    inputs = {"attention_mask": mask, "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}
    assert torch.equal(halves(model, ids, "zh", **inputs), whole(model, ids, "zh", **inputs))


@pytest.mark.parametrize("first", [0, 5])
def test_wherever_the_first_steered_layer_is(family: Any, first: int) -> None:
    model = tiny_steered(family, bridge_layers=[first])
    ids = tokens_of(0, TOKENS)
    assert SplitDecoder(model).first_upper == first
    assert torch.equal(halves(model, ids, "de"), whole(model, ids, "de"))


def test_a_plain_model_has_lower_layers_only(family: Any) -> None:
    plain = tiny_plain(family)
    ids = tokens_of(0, TOKENS)
    assert SplitDecoder(plain).first_upper == 6
    assert torch.equal(halves(plain, ids, "de"), whole(plain, ids, "de"))
    assert torch.equal(halves(tiny_steered(family), ids, "en"), whole(plain, ids, "en"))


@pytest.mark.parametrize("side", ["none", "left", "right"])
@pytest.mark.parametrize("name", SLIDING)
def test_sliding_windows_are_the_models(name: str, side: str) -> None:
    model = tiny_steered(FAMILIES[name], **SLIDING[name])
    ids, mask = tokens_of(0, TOKENS), padding(side, TOKENS)
    expected = whole(model, ids, "de", attention_mask=mask)
    assert torch.equal(halves(model, ids, "de", attention_mask=mask), expected)
    full = tiny_steered(FAMILIES[name], **FULL[name])
    assert torch.equal(halves(full, ids, "de", attention_mask=mask), whole(full, ids, "de", attention_mask=mask))
    assert not torch.equal(whole(full, ids, "de", attention_mask=mask), expected)


def test_eager_attention_is_the_models(family: Any) -> None:
    model = tiny_steered(family)
    model.set_attn_implementation("eager")
    ids, mask = tokens_of(0, TOKENS), padding("right", TOKENS)
    expected = whole(model, ids, "de", attention_mask=mask)
    assert torch.equal(halves(model, ids, "de", attention_mask=mask), expected)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("windows", [FULL, SLIDING], ids=["full", "sliding"])
@pytest.mark.parametrize("name", SLIDING)
def test_a_pack_gives_what_each_prompt_alone_gives(attention: str, windows: dict[str, Any], name: str) -> None:
    model = tiny_steered(FAMILIES[name], **windows[name]).double()
    model.set_attn_implementation(attention)
    decoder = SplitDecoder(model)
    prompts = question_prompts(2, 3)
    (pack,) = pack_prompts(prompts)
    with torch.inference_mode():
        logits = decoder.head(decoder.upper(decoder.lower_pack(pack, DynamicCache()), "de")[0])
    near = 1e-9 if attention == "sdpa" else 1e-4  # eager attention takes its softmax in float32
    for row, path in zip(pack.rows, pack.paths, strict=True):
        torch.testing.assert_close(logits[path], one_by_one(model, prompts[row], "de"), rtol=near, atol=near)


def test_a_pack_of_one_prompt_is_the_forward_pass(family: Any) -> None:
    model = tiny_steered(family)
    decoder = SplitDecoder(model)
    (pack,) = pack_prompts([random_tokens(20, 0)])
    with torch.inference_mode():
        hidden = decoder.upper(decoder.lower_pack(pack), "de")
    assert torch.equal(hidden, whole(model, pack.ids[None], "de"))


def test_branches_of_a_state_grow_apart(family: Any) -> None:
    model = tiny_steered(family)
    decoder = SplitDecoder(model)
    ids, following = tokens_of(0, TOKENS), tokens_of(20, 1)
    before = strengths(model)
    with torch.inference_mode():
        state = decoder.lower(ids, cache=decoder.new_cache())
        for alpha in (3.0, -2.0):
            with model.temporary_steering(alpha=alpha):
                branch, cache = state.branch(), decoder.new_cache()
                assert torch.equal(decoder.upper(branch, "de"), whole(model, ids, "de", cache))
                hidden = decoder.upper(decoder.lower(following, cache=branch.cache), "de")
                assert torch.equal(hidden, whole(model, following, "de", cache))
        assert state.cache is not None
        assert state.cache.get_seq_length() == TOKENS
    assert strengths(model) == before


def test_some_rows_of_the_head(family: Any) -> None:
    model = tiny_steered(family).double()
    hidden = torch.randn(2, 32, dtype=torch.float64)
    wanted = torch.tensor([4, 200, 4])
    decoder = SplitDecoder(model)
    torch.testing.assert_close(decoder.head(hidden, wanted), model.lm_head(hidden)[:, wanted])
    model.lm_head.bias = torch.nn.Parameter(torch.randn(260, dtype=torch.float64))
    torch.testing.assert_close(decoder.head(hidden, wanted), model.lm_head(hidden)[:, wanted])


def test_what_is_not_supported_is_refused(family: Any) -> None:
    other = AutoModelForCausalLM.from_config(GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=10)).eval()
    with pytest.raises(InputError, match=r"GPT2LMHeadModel of type 'gpt2' is not supported.*clas_llama"):
        SplitDecoder(other)
    with pytest.raises(InputError, match="is not supported; give a causal language model"):
        SplitDecoder(tiny_plain(family).model)
    with pytest.raises(InputError, match=r"call model\.eval"):
        SplitDecoder(tiny_steered(family).train())
    model = tiny_steered(family)
    model.set_attn_implementation("flex_attention")
    with pytest.raises(InputError, match=r"attn_implementation: 'flex_attention'.*\"sdpa\""):
        SplitDecoder(model)
