"""Vectors in the residual stream: which rows and tokens they change, and how they travel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, tiny_plain, tiny_steered
from transformers import AutoModel, AutoModelForCausalLM

from clas_models.modeling.positions import PromptEnd

ROWS = ["en", "de", "zh", "fr"]
LAYERS = [1, 4]
GREEDY = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def with_vectors(family: Any, **overrides: Any) -> Any:
    """A model without bridge layers, with random vectors in two layers; those of English are 0."""
    settings = {"bridge_layers": [], "vector_layers": LAYERS, "vector_positions": "all", "vector_strength": 1.5}
    model = tiny_steered(family, **{**settings, **overrides})
    generator = torch.Generator().manual_seed(3)
    for layer in model.config.vector_layers:
        vectors = model.model.layers[layer].add.vectors
        vectors.copy_(torch.randn(vectors.shape, generator=generator))
        vectors[0] = 0
    return model


def by_hooks(family: Any, tokens: torch.Tensor, language: str, places: slice = slice(None)) -> torch.Tensor:
    """The plain model with vectors added to the outputs of layers in forward hooks."""
    plain, model = tiny_plain(family), with_vectors(family)
    row = model.config.languages.index(language)
    for layer in LAYERS:
        vector = model.config.vector_strength * model.model.layers[layer].add.vectors[row]

        def hook(module: Any, args: Any, out: torch.Tensor, vector: torch.Tensor = vector) -> torch.Tensor:
            out = out.clone()
            out[:, places] += vector
            return out

        plain.model.layers[layer].register_forward_hook(hook)
    return plain(tokens).logits


@pytest.mark.parametrize("language", ["de", "zh"])
def test_equals_the_plain_model_with_vectors_added(family: Any, tokens: Any, language: str) -> None:
    found = with_vectors(family)(tokens, language=language).logits
    assert torch.equal(found, by_hooks(family, tokens, language))
    assert not torch.equal(found, tiny_plain(family)(tokens).logits)


def test_in_double_precision_the_rule_is_a_naive_hook_to_1e_12(family: Any, tokens: Any) -> None:
    model, plain = with_vectors(family).double(), tiny_plain(family).double()
    for layer in LAYERS:
        vector = 1.5 * model.model.layers[layer].add.vectors[2]
        plain.model.layers[layer].register_forward_hook(lambda _, args, out, vector=vector: out + vector)
    expected = plain(tokens).logits
    assert (model(tokens, language="zh").logits - expected).abs().max() <= 1e-12
    assert (model(tokens, language="de").logits - expected).abs().max() > 1e-3


def test_each_row_by_its_language_and_the_anchor_not_at_all(family: Any, tokens: Any) -> None:
    model = with_vectors(family)
    mixed, plain = model(tokens, language=ROWS).logits, tiny_plain(family)(tokens).logits
    # French was not profiled and has no vector.
    assert [torch.equal(a, b) for a, b in zip(mixed, plain, strict=True)] == [True, False, False, True]
    for row, language in enumerate(ROWS):
        assert torch.equal(mixed[row], model(tokens, language=language).logits[row])


def test_a_row_that_is_left_alone_keeps_negative_zeros(family: Any) -> None:
    add = with_vectors(family).model.layers[1].add
    hidden = torch.full((2, 3, TINY["hidden_size"]), -0.0)
    out = add(hidden, torch.tensor([0, 1]))
    assert out[0].signbit().all()
    assert not torch.equal(out[1], hidden[1])


def test_only_the_tokens_that_are_named(family: Any, tokens: Any) -> None:
    model = with_vectors(family, vector_positions="last")
    places = torch.zeros(tokens.shape, dtype=torch.bool)
    places[:, 5:7] = True
    found = model(tokens, language="de", positions=places).logits
    assert torch.equal(found, by_hooks(family, tokens, "de", slice(5, 7)))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("acting", ["last", "generated"])
def test_forward_over_whole_prompts_takes_the_last_token_of_the_mask(
    family: Any, tokens: Any, side: str, acting: str
) -> None:
    model = with_vectors(family, vector_positions=acting)
    lengths = [9, 6, 3, 7]
    mask = torch.tensor([[1] * length + [0] * (9 - length) for length in lengths])
    mask = mask.flip(1) if side == "left" else mask
    ends = torch.zeros(tokens.shape, dtype=torch.bool)
    for row, length in enumerate(lengths):
        ends[row, -1 if side == "left" else length - 1] = True
    expected = model(tokens, attention_mask=mask, language="de", positions=ends).logits
    assert torch.equal(model(tokens, attention_mask=mask, language="de").logits, expected)
    # The first row has no padding, so alone it needs no mask.
    alone = model(tokens[:1], language="de", positions=ends[:1]).logits
    assert torch.equal(model(tokens[:1], language="de").logits, alone)


def test_forward_asks_where_the_prompt_ends(family: Any, tokens: Any) -> None:
    model = with_vectors(family, vector_positions="last")
    asks = r"positions: .* as positions"
    with pytest.raises(ValueError, match=asks):  # some rows may end in padding
        model(tokens, language="de")
    cache = model(tokens[:1], language="de", use_cache=True).past_key_values
    with pytest.raises(ValueError, match=asks):  # a step may be the prompt's, or not
        model(tokens[:1, :2], language="de", past_key_values=cache)
    with pytest.raises(ValueError, match=asks):  # several texts share the row
        model(tokens[:1], language="de", position_ids=torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3, 4]]))
    with pytest.raises(ValueError, match=r"positions: shape \[4, 3\] for a batch of \[4, 9\]"):
        model(tokens, language="de", positions=torch.ones(4, 3, dtype=torch.bool))
    model.set_steering(vector_strength=0)
    assert torch.equal(model(tokens, language="de").logits, tiny_plain(family)(tokens).logits)


def step_by_step(model: Any, tokens: torch.Tensor, acting: str) -> torch.Tensor:
    """Greedy tokens of a loop without a cache, in which every pass sees the whole sequence."""
    length = tokens.shape[1]
    for _ in range(GREEDY["max_new_tokens"]):
        places = torch.arange(tokens.shape[1]).expand(len(tokens), -1)
        acts = {"last": places == length - 1, "generated": places >= length - 1, "all": places >= 0}[acting]
        logits = model(tokens, language=ROWS, positions=acts, use_cache=False).logits[:, -1]
        logits[:, model.generation_config.eos_token_id] = -torch.inf
        tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], dim=1)
    return tokens


@pytest.mark.parametrize("acting", ["last", "generated", "all"])
def test_generate_says_where_the_prompt_ends(family: Any, tokens: Any, acting: str) -> None:
    model = with_vectors(family, vector_positions=acting)
    expected = step_by_step(model, tokens, acting)
    assert torch.equal(model.generate(tokens, language=ROWS, **GREEDY), expected)
    other = with_vectors(family, vector_positions="last" if acting == "all" else "all")
    assert torch.equal(other.generate(tokens, language=ROWS, positions=acting, **GREEDY), expected)
    embeds = model.get_input_embeddings()(tokens)
    found = model.generate(inputs_embeds=embeds, language=ROWS, **GREEDY)
    assert torch.equal(found, expected[:, tokens.shape[1] :])
    assert len({tuple(other.generate(tokens, language="de", positions=p, **GREEDY)[0].tolist()) for p in POSITIONS}) > 1


POSITIONS = ("last", "generated", "all")


def test_beams_padding_and_a_continued_cache(family: Any, tokens: Any) -> None:
    model = with_vectors(family, vector_positions="generated")
    padded = torch.cat([torch.full((4, 3), 256), tokens], dim=1)
    mask = (padded != 256).long()
    mask[:, :3] = 0
    mask[:, 3:] = 1
    alone = model.generate(tokens, language=ROWS, **GREEDY)[:, 9:]
    assert torch.equal(model.generate(padded, attention_mask=mask, language=ROWS, **GREEDY)[:, 12:], alone)
    beams = model.generate(tokens, language=ROWS, num_beams=2, **GREEDY)
    for row, language in enumerate(ROWS):
        assert torch.equal(
            beams[row], model.generate(tokens[row : row + 1], language=language, num_beams=2, **GREEDY)[0]
        )


def test_words_that_name_no_position(family: Any, tokens: Any) -> None:
    model = with_vectors(family)
    with pytest.raises(ValueError, match="positions: 'first'; allowed are last, generated, all"):
        model.generate(tokens, language="de", positions="first", **GREEDY)
    with pytest.raises(ValueError, match="vector_positions: 3; allowed are"):
        family.config(**{**TINY, "vector_positions": 3})


def test_requests_that_share_a_row_are_refused(family: Any) -> None:
    model = with_vectors(family, vector_positions="last")
    model.config.language = "de"
    with pytest.raises(ValueError, match="vector_positions: 'last' cannot be told for each request"):
        model.init_continuous_batching()


def test_vectors_travel_with_the_checkpoint(family: Any, tokens: Any, tmp_path: Path) -> None:
    model = with_vectors(family, bridge_layers=[2, 3])
    model.save_pretrained(tmp_path)
    again, info = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert torch.equal(again(tokens, language=ROWS).logits, model(tokens, language=ROWS).logits)
    assert str(again.steering) == str(model.steering)
    assert [rule.name for rule in again.rules] == ["scale", "add"]
    states = AutoModel.from_pretrained(tmp_path)(tokens, language=ROWS)[0]
    assert torch.equal(states, model.model(tokens, language=ROWS)[0])
    off = AutoModelForCausalLM.from_pretrained(tmp_path, vector_strength=0)
    assert torch.equal(off(tokens, language=ROWS).logits, tiny_steered(family)(tokens, language=ROWS).logits)
    with pytest.raises(
        ValueError, match=r"vector_layers: \[0\], but the checkpoint has no 'model.layers.0.add.vectors'"
    ):
        AutoModelForCausalLM.from_pretrained(tmp_path, vector_layers=[0])


def test_strengths_by_language_at_once(family: Any, tokens: Any) -> None:
    model = with_vectors(family)
    before = model(tokens, language=ROWS).logits
    with model.temporary_steering(vector_strength={"de": 0, "default": 1.5}):
        changed = model(tokens, language=ROWS).logits
        assert model.steering.vector_strength == {"en": 0, "de": 0, "zh": 1.5, "hi": 1.5, "default": 1.5}
    assert [torch.equal(a, b) for a, b in zip(changed, before, strict=True)] == [True, False, True, True]
    assert torch.equal(model(tokens, language=ROWS).logits, before)
    with pytest.raises(ValueError, match="vector_strength: the anchor language 'en' is never steered"):
        model.set_steering(vector_strength={"en": 1, "default": 0})


def test_half_precision_keeps_the_strengths(family: Any) -> None:
    model = with_vectors(family, vector_strength=1 / 3)
    before = model.model.layers[1].add.row_strengths.clone()
    assert torch.equal(model.half().model.layers[1].add.row_strengths, before)


@pytest.mark.slow
def test_compiled_to_one_graph(family: Any, tokens: Any) -> None:
    torch.compiler.reset()
    model, ids = with_vectors(family, vector_positions="last"), torch.tensor([0, 1, 2, 4])
    places = torch.arange(9).expand(4, -1) == 8
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for strength in (1.5, -1.0):
        model.set_steering(vector_strength=strength)
        expected = model(tokens, language=ids, positions=places).logits
        torch.testing.assert_close(compiled(tokens, language=ids, positions=places).logits, expected, rtol=0, atol=1e-4)


def test_where_a_step_stands() -> None:
    end = PromptEnd("last", prompt_length=4)
    cpu = torch.device("cpu")
    assert end.mask(4, 1, 4, cpu).tolist() == [[False, False, False, True]]
    assert end.mask(5, 2, 1, cpu).tolist() == [[False], [False]]
    assert PromptEnd("generated", 4).mask(7, 1, 3, cpu).tolist() == [[True, True, True]]
    assert PromptEnd("generated", 4, embedded=4).mask(0, 1, 4, cpu).tolist() == [[False, False, False, True]]
    assert PromptEnd("all", 4).mask(6, 1, 2, cpu).tolist() == [[True, True]]
