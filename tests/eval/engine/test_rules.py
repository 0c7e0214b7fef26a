"""The engine under every rule: vectors on some tokens, neurons that are written over, rows that act as others."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from conftest import tiny_steered
from torch import Tensor

from clas_models.errors import InputError
from clas_models.modeling.write import Write
from eval.engine.choices import choose
from eval.engine.conditions import DistinctConditions
from eval.engine.decoder import SplitDecoder
from eval.engine.generation import generate
from eval.engine.perplexity import negative_log_likelihood

from .support import EOS, generated, mixed_prompts

CHOICES = [48, 49, 50, 7]
NEW = 8


def with_vectors(family: Any, positions: str) -> Any:
    """Vectors below and above the bridge layers, in double precision."""
    model = tiny_steered(family, vector_layers=[1, 4], vector_positions=positions).double()
    noise = torch.Generator().manual_seed(3)
    for layer in (1, 4):
        vectors = model.model.layers[layer].add.vectors
        vectors.copy_(2 * torch.randn(vectors.shape, generator=noise, dtype=vectors.dtype))
    return model


def write_of(model: Any, first_layer: int) -> Write:
    """Over some neurons of German and Chinese, from a layer on."""
    shape = (4, model.config.num_hidden_layers, model.config.intermediate_size)
    noise = torch.Generator().manual_seed(5)
    masks = torch.rand(shape, generator=noise) < 0.3
    masks[0], masks[3], masks[:, :first_layer] = False, False, False
    return Write(masks, torch.randn(shape, generator=noise))


def forward(model: Any, prompt: list[int], language: str) -> Tensor:
    """Logits of the choices behind one prompt, by the model's own forward."""
    positions = torch.zeros(1, len(prompt), dtype=torch.bool)
    positions[0, -1] = True
    if model.config.vector_positions == "all":
        positions[:] = True
    with torch.inference_mode():
        return model(torch.tensor([prompt]), language=language, positions=positions).logits[0, -1, CHOICES].float()


@pytest.mark.parametrize("positions", ["last", "generated", "all"])
def test_vectors_act_on_the_tokens_that_generate_gives_them(family: Any, positions: str) -> None:
    model, prompts = with_vectors(family, positions), mixed_prompts()
    logits = torch.empty(len(prompts), len(CHOICES))
    for batch, (rows,) in choose(model, prompts, CHOICES, "de", batch_size=100):
        logits[batch] = rows
    expected = torch.stack([forward(model, prompt, "de") for prompt in prompts])
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    answers: dict[int, list[int]] = {}
    for batch, (tokens,) in generate(model, prompts, "de", NEW, EOS, batch_size=8):
        answers.update(zip(batch, tokens, strict=True))
    assert [answers[place] for place in range(len(prompts))] == [generated(model, p, "de", NEW) for p in prompts]


def test_where_vectors_act_makes_a_difference(family: Any) -> None:
    prompts = mixed_prompts()
    found = []
    for positions in ("last", "generated", "all"):
        [(_, answers)] = generate(with_vectors(family, positions), prompts, "de", NEW, EOS, batch_size=100)
        found.append(answers)
    assert found[0] != found[1] != found[2] != found[0]


def test_a_text_has_no_end_of_a_prompt(family: Any) -> None:
    rows = mixed_prompts()
    model = with_vectors(family, "last")
    with pytest.raises(InputError, match=r"vector_positions: .*\(last\).*strength 0"):
        next(negative_log_likelihood(model, rows, "de", [{"vector_strength": 0.0}, {}]))
    plain = tiny_steered(family).double()
    for language, conditions in (("de", [{"vector_strength": 0.0}]), ("en", [{"vector_strength": 0.0}])):
        found = list(negative_log_likelihood(model, rows, language, conditions))
        assert found == list(negative_log_likelihood(plain, rows, language))
    everywhere = with_vectors(family, "all")
    [(_, sums, _)] = negative_log_likelihood(everywhere, rows, "de", [{}, {"vector_strength": 0.0}], batch_size=100)
    assert sums[0] != sums[1]


@pytest.mark.parametrize("first_layer", [0, 4])
def test_what_is_written_is_in_the_upper_layers(family: Any, first_layer: int) -> None:
    model, prompts = tiny_steered(family).double(), mixed_prompts()
    write = write_of(model, first_layer)
    with model.intervening(write):
        assert SplitDecoder(model).first_upper == min(first_layer, 2)
        [(batch, (logits,))] = choose(model, prompts, CHOICES, "de", batch_size=100)
        expected = torch.stack([forward(model, prompts[place], "de") for place in batch])
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_conditions_with_a_language_are_the_model_asked_for_it(family: Any) -> None:
    model, prompts = tiny_steered(family), mixed_prompts()
    languages = ["zh", "en", "hi", "fr"]
    for write in (None, write_of(model, 3)):
        with model.intervening(write) if write else nullcontext():
            together = [{}, *({"language": language} for language in languages), {"alpha": 0.0, "language": "zh"}]
            [(_, logits)] = choose(model, prompts, CHOICES, "de", together, batch_size=100)
            for place, language in enumerate(["de", *languages]):
                [(_, (alone,))] = choose(model, prompts, CHOICES, language, batch_size=100)
                assert torch.equal(logits[place], alone)


def test_only_what_differs_in_the_arithmetic_is_computed(family: Any) -> None:
    conditions = [{"alpha": 0.0, "language": language} for language in ("de", "zh", "en", "hi", "fr")]
    model = tiny_steered(family)
    assert DistinctConditions.of(SplitDecoder(model), "de", conditions).index == (0, 0, 0, 0, 0)
    with model.intervening(write_of(model, 2)):  # over nothing in en, hi and fr
        assert DistinctConditions.of(SplitDecoder(model), "de", conditions).index == (0, 1, 2, 2, 2)
    vectors = with_vectors(family, "all")
    assert DistinctConditions.of(SplitDecoder(vectors), "de", conditions).index == (0, 1, 2, 3, 2)
    off = [{**condition, "vector_strength": 0.0} for condition in conditions]
    assert DistinctConditions.of(SplitDecoder(vectors), "de", off).index == (0, 0, 0, 0, 0)
