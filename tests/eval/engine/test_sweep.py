"""Many vectors on the last tokens of prompts: the same as one forward pass for each, for the price of little more."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from conftest import TINY, tiny_steered
from torch import Tensor
from transformers import MistralConfig

from clas_models import FAMILIES
from eval.engine.choices import choose
from eval.engine.decoder import SplitDecoder

from .support import mixed_prompts, question_prompts

CHOICES = [5, 60, 111, 200]
LAYERS, STRENGTHS = (0, 1, 3, 5), (-1.0, 0.5, 2.0)
SWEEP = [{"alpha": 0.0, "vectors": {layer: strength}} for layer, strength in product(LAYERS, STRENGTHS)]


def with_vectors(family: Any, positions: str = "last", layers: Any = LAYERS, **overrides: Any) -> Any:
    """A double-precision model with random vectors in some layers."""
    model = tiny_steered(family, **overrides).double()
    generator = torch.Generator().manual_seed(3)
    tables = {layer: torch.randn(4, TINY["hidden_size"], generator=generator) for layer in layers}
    for table in tables.values():
        table[0] = 0
    model.set_vectors(tables, strength=0.0, positions=positions)
    return model


def together(model: Any, prompts: Any, language: str, conditions: Any, batch_size: int = 16) -> Tensor:
    """Logits `[conditions, prompts, choices]`."""
    logits = torch.empty(len(conditions), len(prompts), len(CHOICES))
    for batch, found in choose(model, prompts, CHOICES, language, conditions, batch_size=batch_size):
        logits[:, batch] = found
    return logits


def straightforward(model: Any, prompts: Any, language: str, condition: Any) -> Tensor:
    """Logits `[prompts, choices]` of a loop: hooks on a model without vectors, one prompt after the other."""
    vectors = {layer: strength * model.vectors[layer][model.config.languages.index(language)]
               for layer, strength in condition.get("vectors", {}).items()}  # fmt: skip
    strengths = {name: value for name, value in condition.items() if name != "vectors"}
    hooks = []
    for layer, vector in vectors.items():

        def add(_: Any, args: Any, out: Tensor, vector: Tensor = vector) -> Tensor:
            return torch.cat([out[:, :-1], out[:, -1:] + vector], 1)

        hooks.append(model.model.layers[layer].register_forward_hook(add))
    rows = []
    with torch.inference_mode(), model.temporary_steering(**strengths):
        for prompt in prompts:
            logits = model(torch.tensor([prompt]), language=language).logits
            rows.append(logits[0, -1, CHOICES])
    for hook in hooks:
        hook.remove()
    return torch.stack(rows).float()


@pytest.mark.parametrize("positions", ["last", "generated"])
def test_equals_the_straightforward_loop(family: Any, positions: str) -> None:
    model, prompts = with_vectors(family, positions), mixed_prompts()
    conditions = [{"alpha": 0.0}, *SWEEP, {"alpha": 0.0, "vectors": {1: 1.0, 3: -2.0}}]
    found = together(model, prompts, "de", conditions)
    for condition, logits in zip(conditions, found, strict=True):
        expected = straightforward(model, prompts, "de", condition)
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(logits.argmax(-1), expected.argmax(-1))
    assert len({tuple(logits.argmax(-1).tolist()) for logits in found}) > 2


def test_beside_other_steering_and_other_languages(family: Any) -> None:
    model, prompts = with_vectors(family), question_prompts()
    conditions: list[Any] = [
        {"alpha": alpha, "vectors": vectors}
        for alpha, vectors in product((0.0, -3.0, 2.0), ({}, {1: 1.5}, {3: 1.5}, {5: -1.0}))
    ]
    found = together(model, prompts, "hi", conditions)
    for condition, logits in zip(conditions, found, strict=True):
        torch.testing.assert_close(logits, straightforward(model, prompts, "hi", condition), rtol=1e-5, atol=1e-5)
    as_chinese = {"alpha": 0.0, "vectors": {3: 1.0}, "language": "zh"}
    both = together(model, prompts, "hi", [{**as_chinese, "language": "hi"}, as_chinese])
    condition = {name: value for name, value in as_chinese.items() if name != "language"}
    torch.testing.assert_close(both[1], straightforward(model, prompts, "zh", condition), rtol=1e-5, atol=1e-5)


def test_the_batch_changes_nothing(family: Any) -> None:
    model, prompts = with_vectors(family), mixed_prompts()
    found = together(model, prompts, "de", SWEEP)
    for batch_size in (1, 5):
        torch.testing.assert_close(together(model, prompts, "de", SWEEP, batch_size), found, rtol=1e-5, atol=1e-5)


def test_the_anchor_and_languages_without_a_vector_are_the_base_to_the_bit(family: Any) -> None:
    model, prompts = with_vectors(family), question_prompts()
    for language in ("en", "fr"):
        found = together(model, prompts, language, SWEEP)
        base = together(model, prompts, language, [{"alpha": 0.0}])
        assert all(torch.equal(logits, base[0]) for logits in found)


def test_sliding_windows() -> None:
    window = {"sliding_window": 20}
    model = with_vectors(FAMILIES["mistral"], **window)
    assert isinstance(model.config, MistralConfig)
    prompts = question_prompts()
    found = together(model, prompts, "de", SWEEP[:4])
    for condition, logits in zip(SWEEP[:4], found, strict=True):
        torch.testing.assert_close(logits, straightforward(model, prompts, "de", condition), rtol=1e-5, atol=1e-5)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What each run of layers cost: tokens times layers."""
    costs: list[int] = []
    run = SplitDecoder._run

    def counted(self: Any, state: Any, layers: range, **steering: Any) -> Tensor:
        costs.append(state.hidden.shape[1] * len(layers))
        return run(self, state, layers, **steering)

    monkeypatch.setattr(SplitDecoder, "_run", counted)
    return costs


def test_a_sweep_runs_the_tokens_before_the_last_once(family: Any, ran: list[int]) -> None:
    model, prompts = with_vectors(family), question_prompts()
    together(model, prompts, "de", [{"alpha": 0.0}])
    base = sum(ran)
    ran.clear()
    together(model, prompts, "de", [{"alpha": 0.0}, *SWEEP])
    layers_above = sum(len(STRENGTHS) * (5 - layer) for layer in LAYERS)
    assert sum(ran) == base + len(prompts) * layers_above


def test_vectors_on_all_tokens_cost_the_layers_above_them(family: Any, ran: list[int]) -> None:
    model, prompts = with_vectors(family, "all"), question_prompts()
    together(model, prompts, "de", [{"alpha": 0.0}])
    base = sum(ran)
    ran.clear()
    together(model, prompts, "de", [{"alpha": 0.0}, *SWEEP])
    each = base // 6
    assert sum(ran) == base + sum(len(STRENGTHS) * (5 - layer) * each for layer in LAYERS)


def test_vectors_on_all_tokens_are_those_of_each_condition_alone_bit_for_bit(family: Any) -> None:
    model, prompts = with_vectors(family, "all").float(), mixed_prompts()
    conditions = [{"alpha": 0.0}, *SWEEP, {"alpha": -2.0, "vectors": {1: 1.0, 3: -2.0}}, {"alpha": 1.0, "vectors": {}}]
    found = together(model, prompts, "de", conditions)
    for condition, logits in zip(conditions, found, strict=True):
        assert torch.equal(together(model, prompts, "de", [condition])[0], logits)
        alone = together(model, prompts[:3], "de", [condition], batch_size=1)[0]
        with torch.inference_mode(), model.temporary_steering(alpha=condition["alpha"]):
            tables = {layer: model.vectors[layer] * s for layer, s in condition.get("vectors", {}).items()}
            with model.temporary_vectors(tables, strength=1.0, positions="all"):
                for row, prompt in zip(alone, prompts, strict=False):
                    expected = model(torch.tensor([prompt]), language="de").logits[0, -1, CHOICES]
                    torch.testing.assert_close(row, expected)
