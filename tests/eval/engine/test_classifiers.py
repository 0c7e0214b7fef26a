"""Logits of a classifier's labels: those of its own forward pass, under every rule, whatever is computed together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import tiny_plain, tiny_steered
from torch import Tensor
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from clas_models.errors import InputError
from clas_models.modeling.write import Write
from eval.engine.choices import choose
from eval.engine.generation import generate

from .support import CONDITIONS, asked_for, mixed_prompts, question_prompts

LABELS = [0, 1, 2]
VECTORS = {"vector_layers": [2, 4], "vector_positions": "last", "vector_strength": 2.0}


def classifier(model: Any) -> Any:
    """A classifier on the decoder of a causal language model, with a random head."""
    torch.manual_seed(5)
    model.config.num_labels = len(LABELS)
    found: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(model.config)](model.config).eval()
    found.model = model.model
    return found.to(model.dtype)


def with_vectors(family: Any, positions: str) -> Any:
    model = tiny_steered(family, **{**VECTORS, "vector_positions": positions})
    generator = torch.Generator().manual_seed(3)
    for layer in model.config.vector_layers:
        vectors = model.model.layers[layer].add.vectors
        vectors.copy_(torch.randn(vectors.shape, generator=generator))
        vectors[0] = 0
    return classifier(model)


def forward(model: Any, prompts: list[list[int]], language: str) -> Tensor:
    with torch.inference_mode():
        rows = [model(torch.tensor([prompt]), **asked_for(model, language)).logits for prompt in prompts]
    return torch.cat(rows).float()


def chosen(model: Any, prompts: list[list[int]], language: str, batch_size: int, labels: list[int] = LABELS) -> Tensor:
    logits = torch.full((len(prompts), len(labels)), torch.nan)
    for batch, values in choose(model, prompts, labels, language, batch_size=batch_size):
        logits[batch] = values[0]
    return logits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("steered", [True, False])
def test_one_prompt_alone_is_the_forward_pass_bit_for_bit(family: Any, steered: bool, dtype: torch.dtype) -> None:
    model = classifier((tiny_steered if steered else tiny_plain)(family).to(dtype))
    prompts = mixed_prompts()
    expected = forward(model, prompts, "de")
    assert torch.equal(chosen(model, prompts, "de", 1), expected)
    assert torch.equal(chosen(model, prompts, "de", 1, [2, 0]), expected[:, [2, 0]])
    assert torch.equal(expected, forward(model, prompts, "en")) == (not steered)


def test_packs_are_each_prompt_alone_up_to_rounding(family: Any) -> None:
    model = classifier(tiny_steered(family).double())
    prompts = mixed_prompts()
    expected = forward(model, prompts, "de")
    for batch_size in (3, 8):
        logits = chosen(model, prompts, "de", batch_size)
        torch.testing.assert_close(logits, expected, rtol=1e-6, atol=1e-6)
        assert torch.equal(logits.argmax(-1), expected.argmax(-1))


def test_conditions_together_are_each_alone_bit_for_bit(family: Any) -> None:
    model, prompts = classifier(tiny_steered(family)), question_prompts(2, 3)
    grid = torch.full((len(CONDITIONS), len(prompts), len(LABELS)), torch.nan)
    for batch, logits in choose(model, prompts, LABELS, "zh", CONDITIONS, batch_size=4):
        grid[:, batch] = logits
    for place, condition in enumerate(CONDITIONS):
        with model.temporary_steering(**condition):
            assert torch.equal(grid[place], chosen(model, prompts, "zh", 4))
            assert torch.equal(chosen(model, prompts, "zh", 1), forward(model, prompts, "zh"))
    assert not torch.equal(grid[0], grid[1])


def test_what_is_written_over_neurons_acts_on_it(family: Any) -> None:
    model, prompts = classifier(tiny_steered(family)), question_prompts(1, 3)
    before = chosen(model, prompts, "de", 1)
    masks = torch.zeros(4, 6, 48, dtype=torch.bool)
    masks[1, 1:, :10] = True
    with model.intervening(Write(masks, torch.ones(4, 6, 48))):
        written = chosen(model, prompts, "de", 1)
        assert torch.equal(written, forward(model, prompts, "de"))
        assert torch.equal(chosen(model, prompts, "en", 1), forward(model, prompts, "en"))
    assert not torch.equal(written, before)
    assert torch.equal(chosen(model, prompts, "de", 1), before)


@pytest.mark.parametrize("positions", ["last", "all"])
def test_vectors_act_on_it(family: Any, positions: str) -> None:
    model, prompts = with_vectors(family, positions), question_prompts(1, 3)
    with torch.inference_mode():
        rows = []
        for prompt in prompts:
            acting = torch.arange(len(prompt))[None] >= (len(prompt) - 1 if positions == "last" else 0)
            rows.append(model(torch.tensor([prompt]), language="de", positions=acting).logits)
    for batch_size in (1, 3):
        found = chosen(model, prompts, "de", batch_size)
        torch.testing.assert_close(found, torch.cat(rows), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, forward(model, prompts, "en"), atol=1e-2)


def test_a_label_that_it_has_not_and_text_are_refused(family: Any) -> None:
    model = classifier(tiny_steered(family))
    with pytest.raises(InputError, match="choices: label 3 is not in the head; ids are 0 to 2"):
        next(choose(model, [[1]], [0, 3], "de"))
    with pytest.raises(InputError, match="choices: there are none; give the labels to choose from"):
        next(choose(model, [[1]], [], "de"))
    with pytest.raises(InputError, match=r"ForSequenceClassification of type 'clas_.*give a causal language model"):
        next(generate(model, [[1]], "de", 4, frozenset({258})))
