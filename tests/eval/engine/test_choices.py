"""Logits of choices: those of the plain forward pass, whatever is computed together."""

from typing import Any

import pytest
import torch
from conftest import tiny_plain, tiny_steered
from torch import Tensor

from clas_models.errors import InputError
from eval.engine.batches import plan_batches
from eval.engine.choices import choose

from .support import CONDITIONS, mixed_prompts, one_by_one, question_prompts, strengths

CHOICES = [48, 49, 50, 7]


def chosen(model: Any, prompts: list[list[int]], language: str, batch_size: int) -> Tensor:
    """Logits `[prompts, choices]` in the prompts' order."""
    logits = torch.full((len(prompts), len(CHOICES)), torch.nan)
    for batch, values in choose(model, prompts, CHOICES, language, batch_size=batch_size):
        assert (values.dtype, len(values)) == (torch.float32, 1)
        logits[batch] = values[0]
    return logits


@pytest.mark.parametrize("steered", [True, False])
def test_logits_are_those_of_each_prompt_alone(family: Any, steered: bool) -> None:
    model = (tiny_steered if steered else tiny_plain)(family).double()
    prompts = mixed_prompts()
    expected = torch.stack([one_by_one(model, prompt, "de")[-1, CHOICES] for prompt in prompts])
    for batch_size in (1, 3, 8):
        logits = chosen(model, prompts, "de", batch_size)
        torch.testing.assert_close(logits, expected.float(), rtol=1e-6, atol=1e-6)
        assert torch.equal(logits.argmax(-1), expected.argmax(-1))


def test_a_batch_of_one_is_the_forward_pass_bit_for_bit(family: Any) -> None:
    model = tiny_steered(family)
    prompts = question_prompts(2, 2)
    with torch.inference_mode():
        hidden = [model.model(torch.tensor([prompt]), language="de").last_hidden_state[:, -1] for prompt in prompts]
        expected = torch.cat([torch.nn.functional.linear(row, model.lm_head.weight[CHOICES]) for row in hidden])
    assert torch.equal(chosen(model, prompts, "de", 1), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_anchor_is_the_plain_model_bit_for_bit(family: Any, dtype: torch.dtype) -> None:
    steered, plain = tiny_steered(family).to(dtype), tiny_plain(family).to(dtype)
    prompts = mixed_prompts()
    assert torch.equal(chosen(steered, prompts, "en", 8), chosen(plain, prompts, "en", 8))
    assert not torch.equal(chosen(steered, prompts, "de", 8), chosen(plain, prompts, "de", 8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_conditions_together_are_each_alone_bit_for_bit(family: Any, dtype: torch.dtype, language: str) -> None:
    model = tiny_steered(family).to(dtype)
    prompts, before = mixed_prompts(), strengths(model)
    grid = torch.full((len(CONDITIONS), len(prompts), len(CHOICES)), torch.nan)
    for batch, logits in choose(model, prompts, CHOICES, language, CONDITIONS, batch_size=5):
        assert logits.shape == (len(CONDITIONS), len(batch), len(CHOICES))
        grid[:, batch] = logits
    assert strengths(model) == before
    for place, condition in enumerate(CONDITIONS):
        with model.temporary_steering(**condition):
            loop = chosen(model, prompts, language, 5)
        assert torch.equal(grid[place], loop)
    assert torch.equal(grid[0], grid[1]) == (language == "en")


def test_lower_layers_run_once_and_upper_ones_once_a_condition(family: Any) -> None:
    model = tiny_steered(family)
    runs = [0] * 6
    for index, layer in enumerate(model.model.layers):
        layer.register_forward_hook(lambda *_, index=index: runs.__setitem__(index, runs[index] + 1))
    prompts = question_prompts(2, 3)
    list(choose(model, prompts, CHOICES, "de", CONDITIONS, batch_size=3))
    assert runs == [2, 2, 8, 8, 8, 8]
    list(choose(model, prompts, CHOICES, "en", CONDITIONS, batch_size=3))
    assert runs == [4, 4, 10, 10, 10, 10]


def test_a_continued_run_gives_what_the_whole_one_gave(family: Any) -> None:
    model, prompts = tiny_steered(family), mixed_prompts()
    whole = list(choose(model, prompts, CHOICES, "de", batch_size=4))
    rest = list(choose(model, prompts, CHOICES, "de", batch_size=4, skip_batches=2))
    assert [batch for batch, _ in whole] == plan_batches(prompts, 4)
    assert [batch for batch, _ in rest] == [batch for batch, _ in whole[2:]]
    assert all(torch.equal(one, other) for (_, one), (_, other) in zip(whole[2:], rest, strict=True))


def test_nothing_is_left_where_a_caller_stops(family: Any) -> None:
    model = tiny_steered(family)
    before = strengths(model)
    results = choose(model, mixed_prompts(), CHOICES, "de", CONDITIONS, batch_size=2)
    next(results)
    assert strengths(model) == before
    assert not torch.is_inference_mode_enabled()
    del results
    with pytest.raises(IndexError):
        list(choose(model, [[1], [999]], CHOICES, "de", CONDITIONS, batch_size=2))
    assert strengths(model) == before


def test_choices_are_tokens_of_the_vocabulary(family: Any) -> None:
    model = tiny_steered(family)
    with pytest.raises(InputError, match="choices: there are none"):
        next(choose(model, [[1]], [], "de"))
    with pytest.raises(InputError, match="choices: token 260 is not in the vocabulary; ids are 0 to 259"):
        next(choose(model, [[1]], [3, 260], "de"))
