"""Full-graph compilation, training and gradient checkpointing of steered models."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from conftest import tiny_plain, tiny_steered
from modeling_helpers import (
    MIXED,
    bridge_mlps,
    one_thread,  # noqa: F401
)
from torch import Tensor

LANGUAGES = ["en", "de", "zh", "fr"]
IDS = torch.tensor([0, 1, 2, 4])


# ---- compilation


@pytest.fixture
def graphs() -> Iterator[list[Any]]:
    """The graphs that `backend` below has compiled; nothing is left of them afterwards."""
    torch._dynamo.reset()
    yield []
    torch._dynamo.reset()


def compile_into(graphs: list[Any], model: Any) -> Callable[..., Tensor]:
    """The model as one graph, run as it was captured; a second graph would be listed, a break is an error."""

    def backend(graph: Any, _: list[Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, fullgraph=True, backend=backend)

    def run(tokens: Tensor, **options: Any) -> Tensor:
        with torch.no_grad():
            return compiled(tokens, **options).logits

    return run


def small(family: Any) -> Any:
    return tiny_steered(family, num_hidden_layers=2, bridge_layers=[1])


def logits(model: Any, tokens: Tensor, language: Any) -> Tensor:
    with torch.no_grad():
        return model(tokens, language=language).logits


@pytest.mark.parametrize("language", ["de", LANGUAGES, IDS, None], ids=["code", "codes", "ids", "none"])
def test_a_model_compiles_into_one_graph(family: Any, language: Any, tokens: Tensor, graphs: list[Any]) -> None:
    model = small(family)
    compiled = compile_into(graphs, model)
    torch.testing.assert_close(compiled(tokens, language=language), logits(model, tokens, language))
    compiled(tokens, language=language)
    assert len(graphs) == 1


def test_other_strengths_need_no_new_graph(family: Any, tokens: Tensor, graphs: list[Any]) -> None:
    model = small(family)
    compiled = compile_into(graphs, model)
    before = compiled(tokens, language="de")

    model.set_steering(alpha=-1.5, beta=0.9, gamma=0.6)
    after = compiled(tokens, language="de")
    with model.temporary_steering(alpha=0):
        off = compiled(tokens, language="de")

    assert len(graphs) == 1
    torch.testing.assert_close(after, logits(model, tokens, "de"))
    torch.testing.assert_close(off, logits(model, tokens, "en"))
    assert not torch.allclose(after, before)
    assert not torch.allclose(off, before)


def test_other_ids_need_no_new_graph(family: Any, tokens: Tensor, graphs: list[Any]) -> None:
    model = small(family)
    compiled = compile_into(graphs, model)
    for ids in (IDS, IDS.flip(0), torch.zeros_like(IDS)):
        torch.testing.assert_close(compiled(tokens, language=ids), logits(model, tokens, ids))
    assert len(graphs) == 1


@pytest.mark.slow
def test_each_code_gets_its_own_strength_in_compiled_code(family: Any, tokens: Tensor, graphs: list[Any]) -> None:
    model = small(family)
    compiled = compile_into(graphs, model)
    for language in ("en-US", "de", "fr"):
        torch.testing.assert_close(compiled(tokens, language=language), logits(model, tokens, language))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="the default backend needs a C++ compiler")
def test_the_default_backend_gives_the_same(family: Any) -> None:
    mlp = bridge_mlps(small(family))[0]
    x = torch.randn(4, 5, 32, generator=torch.Generator().manual_seed(0))
    torch._dynamo.reset()
    with torch.inference_mode():
        compiled = torch.compile(mlp, fullgraph=True)(x, IDS)
        torch.testing.assert_close(compiled, mlp(x, IDS), rtol=1e-4, atol=1e-4)


# ---- training


def gradients(model: Any, tokens: Tensor, language: Any) -> dict[str, Tensor]:
    """The gradient of the loss of predicting `tokens`, by parameter."""
    model.zero_grad()
    options = {} if language is None else {"language": language}
    model(tokens, labels=tokens, **options).loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def test_gradients_flow_to_every_weight(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family).train()
    found = gradients(steered, tokens, MIXED)
    assert [name for name, gradient in found.items() if not gradient.isfinite().all() or not gradient.any()] == []


def test_the_loss_and_gradients_of_the_anchor_are_those_of_the_plain_model(family: Any, tokens: Tensor) -> None:
    plain, steered = tiny_plain(family).train(), tiny_steered(family).train()
    assert torch.equal(steered(tokens, labels=tokens, language="en").loss, plain(tokens, labels=tokens).loss)
    assert not torch.equal(steered(tokens, labels=tokens, language="de").loss, plain(tokens, labels=tokens).loss)
    expected = gradients(plain, tokens, None)
    anchor, german = gradients(steered, tokens, "en"), gradients(steered, tokens, "de")
    assert list(anchor) == list(expected)
    assert all(torch.equal(anchor[name], expected[name]) for name in expected)
    assert not any(torch.equal(german[name], expected[name]) for name in expected)


def test_a_step_of_training_leaves_masks_and_strengths_alone(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family).train()
    before = deepcopy(steered)
    optimizer = torch.optim.SGD(steered.parameters(), lr=0.1)
    losses = []
    for _ in range(2):
        loss = steered(tokens, labels=tokens, language=MIXED).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    assert losses[1] < losses[0]
    for mlp, old in zip(bridge_mlps(steered), bridge_mlps(before), strict=True):
        assert not torch.equal(mlp.gate_proj.weight, old.gate_proj.weight)
        for name in ("shared_mask", "specific_mask", "row_scales"):
            assert torch.equal(getattr(mlp.scale, name), getattr(old.scale, name))
            assert not getattr(mlp.scale, name).requires_grad


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing_changes_no_gradient(family: Any, use_reentrant: bool, tokens: Tensor) -> None:
    ordinary, checkpointing = tiny_steered(family).train(), tiny_steered(family).train()
    checkpointing.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    assert checkpointing.is_gradient_checkpointing

    runs = {"ordinary": 0, "checkpointing": 0}

    def count(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            runs[name] += 1

        return hook

    bridge_mlps(ordinary)[0].act_fn.register_forward_hook(count("ordinary"))
    bridge_mlps(checkpointing)[0].act_fn.register_forward_hook(count("checkpointing"))

    expected, found = gradients(ordinary, tokens, MIXED), gradients(checkpointing, tokens, MIXED)
    assert runs == {"ordinary": 1, "checkpointing": 2}
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_gradient_checkpointing_in_a_bridge_layer_reaches_frozen_models(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family).train()
    for name, parameter in steered.named_parameters():
        parameter.requires_grad = name == "model.layers.3.mlp.down_proj.weight"
    steered.gradient_checkpointing_enable({"use_reentrant": False})
    steered(tokens, labels=tokens, language="de").loss.backward()
    assert steered.model.layers[3].mlp.down_proj.weight.grad.any()
