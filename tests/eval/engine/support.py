"""Prompts as tasks make them, and the plain ways to run a model on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from clas_models.modeling.steering import Strengths

EOS = (258, *range(0, 256, 16))  # several, so that tiny models end early now and then
CONDITIONS = [{"alpha": -4.0}, {"alpha": 3.0, "beta": 0.8, "gamma": 0.6}, {}, {"beta": 0.9}]


def random_tokens(count: int, seed: int) -> list[int]:
    return torch.randint(0, 256, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def question_prompts(paragraphs: int = 3, questions: int = 4) -> list[list[int]]:
    """An instruction, paragraphs of different lengths, and questions of different lengths to each."""
    instruction = random_tokens(34, 0)
    return [
        instruction + random_tokens(33 + 20 * paragraph, 1 + paragraph) + random_tokens(2 + 3 * question, 50 + question)
        for paragraph in range(paragraphs)
        for question in range(questions)
    ]


def mixed_prompts() -> list[list[int]]:
    """Questions, and everything awkward: one token, a long one, a repeated one, one that others begin with."""
    questions = question_prompts()
    return [*questions, [3], random_tokens(130, 90), questions[0], questions[5][:40], random_tokens(8, 91)]


def asked_for(model: Any, language: str) -> dict[str, str]:
    """The keyword that a steered model takes and a plain one does not."""
    return {"language": language} if hasattr(model, "set_steering") else {}


def one_by_one(model: Any, prompt: Sequence[int], language: str) -> Tensor:
    """Logits `[tokens, vocabulary]` of the plain forward pass."""
    with torch.inference_mode():
        return model(torch.tensor([list(prompt)]), **asked_for(model, language)).logits[0]


def generated(model: Any, prompt: Sequence[int], language: str, max_new_tokens: int) -> list[int]:
    """What `model.generate` adds to one prompt, without the token that ends it."""
    ids = torch.tensor([list(prompt)])
    tokens = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=list(EOS),
        pad_token_id=256,
        **asked_for(model, language),
    )[0, len(prompt) :].tolist()
    return next((tokens[:end] for end, token in enumerate(tokens) if token in EOS), tokens)


def strengths(model: Any) -> list[tuple[Strengths, list[float]]]:
    """What is in force on a steered model: of every bridge layer the strengths and the table made of them."""
    scales = [model.model.layers[index].mlp.scale for index in model.config.bridge_layers]
    return [(scale.strengths, scale.row_scales.flatten().tolist()) for scale in scales]
