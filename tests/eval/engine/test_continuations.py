"""Scores of continuations: those of plain forward passes, one for each prompt and continuation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import tiny_plain, tiny_steered
from torch import Tensor

from clas_models.errors import InputError
from eval.engine.batches import plan_batches
from eval.engine.continuations import score_continuations
from eval.engine.token_nats import LOGITS_BYTES

from .support import CONDITIONS, asked_for, mixed_prompts, question_prompts, random_tokens, strengths
from .test_rules import with_vectors

CHOICES = 3


def choices_of(prompts: list[list[int]]) -> list[list[list[int]]]:
    """Of different lengths; some begin alike, one is how another prompt goes on, the first two prompts share one."""
    found = [[random_tokens(1 + (place + choice) % 5, 7 * place + choice) for choice in range(CHOICES)]
             for place in range(len(prompts))]  # fmt: skip
    found[0][1] = found[0][0] + [9]
    found[1][0] = found[0][0]
    for place, prompt in enumerate(prompts):
        longer = next((other for other in prompts if len(other) > len(prompt) and other[: len(prompt)] == prompt), None)
        if longer:
            found[place][2] = longer[len(prompt) :]
    return found


def forward(model: Any, prompt: list[int], choice: list[int], language: str) -> float:
    """The mean log p of a choice's tokens by the model's own forward, with `positions=` where it has vectors."""
    text = torch.tensor([prompt + choice])
    known: dict[str, Any] = asked_for(model, language)
    if getattr(model.config, "vector_layers", ()):
        places, end = torch.arange(text.shape[1])[None], len(prompt) - 1
        acting = {"last": places == end, "generated": places >= end, "all": places >= 0}
        known["positions"] = acting[model.config.vector_positions]
    with torch.inference_mode():
        log_p = model(text, **known).logits[0].log_softmax(-1)
    return float(log_p[len(prompt) - 1 : -1].gather(1, torch.tensor(choice)[:, None]).mean())


def scored(model: Any, prompts: list[list[int]], language: str, **options: Any) -> Tensor:
    """Scores `[prompts, choices]` under the first condition."""
    scores = torch.full((len(prompts), CHOICES), torch.nan, dtype=torch.float64)
    for batch, values in score_continuations(model, prompts, choices_of(prompts), language, **options):
        scores[batch] = values[0]
    return scores


def expected(model: Any, prompts: list[list[int]], language: str) -> Tensor:
    choices = choices_of(prompts)
    rows = [
        [forward(model, prompt, choice, language) for choice in given]
        for prompt, given in zip(prompts, choices, strict=True)
    ]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("steered", [True, False])
def test_scores_are_those_of_each_choice_alone(family: Any, steered: bool) -> None:
    model = (tiny_steered if steered else tiny_plain)(family).double()
    prompts = mixed_prompts()
    loop = expected(model, prompts, "de")
    for batch_size in (1, 3, 8):
        found = scored(model, prompts, "de", batch_size=batch_size)
        torch.testing.assert_close(found, loop, rtol=1e-6, atol=1e-6)  # the head's logits are rounded to float32
        assert torch.equal(found.argmax(-1), loop.argmax(-1))


@pytest.mark.parametrize("positions", ["last", "generated", "all"])
def test_vectors_act_where_the_prompt_ends_and_on_what_follows_if_on_generated_tokens(
    family: Any, positions: str
) -> None:
    model, prompts = with_vectors(family, positions), mixed_prompts()
    found = scored(model, prompts, "de", batch_size=100)
    torch.testing.assert_close(found, expected(model, prompts, "de"), rtol=1e-5, atol=1e-5)
    others = [scored(with_vectors(family, other), prompts, "de", batch_size=100) for other in ("last", "generated")]
    assert not torch.allclose(others[0], others[1], rtol=1e-3), "where they act makes a difference"


def test_the_anchor_is_the_plain_model_bit_for_bit(family: Any) -> None:
    steered, plain, prompts = tiny_steered(family), tiny_plain(family), mixed_prompts()
    assert torch.equal(scored(steered, prompts, "en"), scored(plain, prompts, "en"))
    assert not torch.equal(scored(steered, prompts, "de"), scored(plain, prompts, "de"))


@pytest.mark.parametrize("language", ["zh", "en"])
def test_conditions_together_are_each_alone_bit_for_bit(family: Any, language: str) -> None:
    model, prompts = tiny_steered(family), mixed_prompts()
    before = strengths(model)
    [(batch, grid)] = score_continuations(
        model, prompts, choices_of(prompts), language, CONDITIONS, batch_size=len(prompts)
    )
    assert strengths(model) == before
    for place, condition in enumerate(CONDITIONS):
        with model.temporary_steering(**condition):
            alone = scored(model, prompts, language, batch_size=len(prompts))
        assert torch.equal(grid[place], alone[batch])
    assert torch.equal(grid[0], grid[1]) == (language == "en")


def test_lower_layers_run_once_and_a_prompt_once_for_its_choices(family: Any) -> None:
    model = tiny_steered(family)
    runs, tokens = [0] * 6, [0]
    for index, layer in enumerate(model.model.layers):
        layer.register_forward_hook(lambda *_, index=index: runs.__setitem__(index, runs[index] + 1))
    model.model.embed_tokens.register_forward_hook(lambda _, given, __: tokens.append(given[0].numel()))
    prompts = question_prompts(2, 3)
    choices = choices_of(prompts)
    list(score_continuations(model, prompts, choices, "de", CONDITIONS, batch_size=3))
    assert runs == [2, 2, 8, 8, 8, 8]
    assert sum(tokens) < sum(map(len, prompts)) + sum(len(choice) for given in choices for choice in given)


def test_a_continued_run_gives_what_the_whole_one_gave(family: Any) -> None:
    model, prompts = tiny_steered(family), mixed_prompts()
    whole = list(score_continuations(model, prompts, choices_of(prompts), "de", batch_size=4))
    assert [batch for batch, _ in whole] == plan_batches(prompts, 4)
    rest = list(score_continuations(model, prompts, choices_of(prompts), "de", batch_size=4, skip_batches=2))
    assert [batch for batch, _ in rest] == [batch for batch, _ in whole[2:]]
    assert all(torch.equal(one, other) for (_, one), (_, other) in zip(whole[2:], rest, strict=True))


def test_only_the_choices_go_through_the_head_and_a_few_at_a_time(family: Any) -> None:
    model = tiny_plain(family, vocab_size=60_000)
    rows: list[int] = []
    model.lm_head.register_forward_hook(lambda _, __, out: rows.append(out.shape[0]))
    prompts, choices = [random_tokens(90, 0)], [[random_tokens(70, 1), random_tokens(80, 2), [5]]]
    list(score_continuations(model, prompts, choices, "de"))
    assert sum(rows) == 1 + 69 + 79, "the prompt's end once for all"
    assert 3 * 4 * 60_000 * max(rows) <= LOGITS_BYTES


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ([[[1], [2]], [[1]]], "prompt 1: its continuations have 1 tokens; give each prompt 2"),
        ([[[1], [2]], [[1], []]], "prompt 1: its continuations have 1, 0 tokens"),
    ],
)
def test_bad_continuations(family: Any, choices: list[list[list[int]]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        next(score_continuations(tiny_plain(family), [[1], [2]], choices, "de"))
