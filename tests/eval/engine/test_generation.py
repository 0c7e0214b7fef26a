"""Greedy generation: the tokens of `model.generate`, prompt by prompt, whatever is computed together."""

from typing import Any

import pytest
import torch
from conftest import tiny_plain, tiny_steered

from clas_models import FAMILIES
from clas_models.errors import InputError
from eval.engine.batches import plan_batches
from eval.engine.generation import generate

from .support import CONDITIONS, EOS, generated, mixed_prompts, question_prompts, strengths

NEW = 12


def texts(model: Any, prompts: list[list[int]], language: str, batch_size: int) -> list[list[int]]:
    answers: dict[int, list[int]] = {}
    for batch, (tokens,) in generate(model, prompts, language, NEW, EOS, batch_size=batch_size):
        answers.update(zip(batch, tokens, strict=True))
    return [answers[index] for index in range(len(prompts))]


@pytest.mark.parametrize("steered", [True, False])
def test_tokens_are_those_of_generate(family: Any, steered: bool) -> None:
    model = (tiny_steered if steered else tiny_plain)(family).double()
    prompts = mixed_prompts()
    expected = [generated(model, prompt, "de", NEW) for prompt in prompts]
    lengths = {len(tokens) for tokens in expected}
    assert len(lengths) > 2  # some end early, in different steps
    for batch_size in (1, 3, 8):
        assert texts(model, prompts, "de", batch_size) == expected


def test_a_batch_of_one_is_generate_in_single_precision(family: Any) -> None:
    model, prompts = tiny_steered(family), mixed_prompts()
    assert texts(model, prompts, "zh", 1) == [generated(model, prompt, "zh", NEW) for prompt in prompts]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "window"),
    [("qwen2", {"use_sliding_window": True, "max_window_layers": 1}), ("mistral", {})],
    ids=["qwen2", "mistral"],
)
def test_sliding_windows(name: str, window: dict[str, Any]) -> None:
    model = tiny_steered(FAMILIES[name], sliding_window=6, **window).double()
    prompts = mixed_prompts()
    expected = [generated(model, prompt, "de", NEW) for prompt in prompts]
    assert texts(model, prompts, "de", 8) == expected != texts(tiny_steered(FAMILIES[name]), prompts, "de", 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_anchor_is_the_plain_model(family: Any, dtype: torch.dtype) -> None:
    steered, plain = tiny_steered(family).to(dtype), tiny_plain(family).to(dtype)
    prompts = mixed_prompts()
    assert texts(steered, prompts, "en", 8) == texts(plain, prompts, "en", 8) != texts(steered, prompts, "de", 8)


@pytest.mark.slow
@pytest.mark.parametrize("language", ["zh", "en"])
def test_conditions_together_are_each_alone(family: Any, language: str) -> None:
    model = tiny_steered(family)
    prompts, before = mixed_prompts(), strengths(model)
    grid: dict[int, list[list[int]]] = {}
    for batch, by_condition in generate(model, prompts, language, NEW, EOS, CONDITIONS, batch_size=6):
        for place, index in enumerate(batch):
            grid[index] = [answers[place] for answers in by_condition]
    assert strengths(model) == before
    whole = [[grid[index][place] for index in range(len(prompts))] for place in range(len(CONDITIONS))]
    for condition, answers in zip(CONDITIONS, whole, strict=True):
        with model.temporary_steering(**condition):
            assert texts(model, prompts, language, 6) == answers
    assert (whole[0] != whole[1]) == (language != "en")


def test_the_prompts_lower_layers_run_once(family: Any) -> None:
    model = tiny_steered(family)
    prompt_runs = [0] * 6

    def count(index: int, hidden: torch.Tensor) -> None:
        prompt_runs[index] += hidden.shape[1] > 1

    for index, layer in enumerate(model.model.layers):
        layer.register_forward_hook(lambda _, inputs, __, index=index: count(index, inputs[0]))
    list(generate(model, question_prompts(1, 4), "de", 3, EOS, CONDITIONS, batch_size=4))
    assert prompt_runs == [1, 1, 4, 4, 4, 4]


def test_a_prompt_that_ends_at_once_has_no_tokens(family: Any) -> None:
    model, prompts = tiny_steered(family).double(), mixed_prompts()
    ((batch, (answers,)),) = generate(model, prompts, "de", 1, (), batch_size=100)
    first = answers[batch.index(0)]
    ((batch, (answers,)),) = generate(model, prompts, "de", 4, first, batch_size=100)
    assert answers[batch.index(0)] == []
    assert any(answers)
    everything = range(260)
    ((_, (none,)),) = generate(model, prompts, "de", 4, everything, batch_size=100)
    assert none == [[] for _ in prompts]


def test_without_an_end_every_answer_has_all_tokens(family: Any) -> None:
    ((_, (answers,)),) = generate(tiny_steered(family), mixed_prompts(), "de", 5, (), batch_size=100)
    assert {len(tokens) for tokens in answers} == {5}


def test_a_row_that_has_ended_leaves_the_batch(family: Any) -> None:
    model, prompts = tiny_steered(family), mixed_prompts()
    rows: list[int] = []
    model.lm_head.register_forward_hook(lambda _, inputs, __: rows.append(len(inputs[0])))
    ((_, (answers,)),) = generate(model, prompts, "de", NEW, EOS, batch_size=100)
    lengths = [len(tokens) for tokens in answers]
    assert rows == [sum(length >= step for length in lengths) for step in range(min(max(lengths) + 1, NEW))]


def test_a_continued_run_gives_what_the_whole_one_gave(family: Any) -> None:
    model, prompts = tiny_steered(family), mixed_prompts()
    whole = list(generate(model, prompts, "de", 6, EOS, batch_size=4))
    assert [batch for batch, _ in whole] == plan_batches(prompts, 4)
    assert list(generate(model, prompts, "de", 6, EOS, batch_size=4, skip_batches=2)) == whole[2:]


def test_nothing_is_left_where_a_caller_stops(family: Any) -> None:
    model = tiny_steered(family)
    before = strengths(model)
    results = generate(model, mixed_prompts(), "de", 3, EOS, CONDITIONS, batch_size=2)
    next(results)
    assert strengths(model) == before
    assert not torch.is_inference_mode_enabled()


def test_at_least_one_new_token(family: Any) -> None:
    with pytest.raises(InputError, match="max_new_tokens: 0 is not positive"):
        next(generate(tiny_steered(family), [[1]], "de", 0, EOS))
