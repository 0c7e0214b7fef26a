"""Texts under the writes of many languages: those of one hooked pass for each, and no layer more often than needed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import TINY, tiny_steered
from torch import Tensor

from clas_models.modeling.write import Write
from eval.engine.batches import plan_batches
from eval.engine.writes import WriteTree, nats_under_writes

from .support import mixed_prompts, strengths

LANGUAGES = ("en", "de", "zh", "hi")
SHAPE = (len(LANGUAGES), TINY["num_hidden_layers"], TINY["intermediate_size"])
# English and German share their first neurons, Chinese begins in a later layer, Hindi in the last.
NEURONS = {
    "en": {2: (1, 2), 3: (5,)},
    "de": {2: (1, 2), 4: (7, 8, 9)},
    "zh": {3: (0, 40), 5: (1,)},
    "hi": {5: (3, 4, 5)},
}


def written(value: float = 0.0, neurons: Any = NEURONS) -> Write:
    """The same value in every language, so that what is written alike is alike."""
    masks = torch.zeros(SHAPE, dtype=torch.bool)
    for row, code in enumerate(LANGUAGES):
        for layer, chosen in neurons[code].items():
            masks[row, layer, list(chosen)] = True
    return Write(masks, torch.full(SHAPE, value, dtype=torch.float64), LANGUAGES)


def together(model: Any, write: Write, rows: Any, batch_size: int = 8) -> Tensor:
    """Nats float64 `[1 + languages, texts]`."""
    found = torch.zeros(1 + len(LANGUAGES), len(rows), dtype=torch.float64)
    for batch, sums in nats_under_writes(model, write, rows, batch_size=batch_size):
        found[:, batch] = torch.tensor(sums, dtype=torch.float64)
    return found


def plain_loop(model: Any, write: Write | None, place: int, rows: Any) -> Tensor:
    """Nats `[texts]`: hooks on `act_fn`, one forward pass a text."""
    hooks = []
    for layer in range(SHAPE[1]) if write else ():
        mask, values = write.masks[place, layer], write.values[place, layer]

        def put(_: Any, __: Any, out: Tensor, mask: Tensor = mask, values: Tensor = values) -> Tensor:
            out = out.clone()
            out[..., mask] = values[mask].to(out.dtype)
            return out

        # One module serves all layers in some families, so the hook goes to a copy of it.
        mlp = model.model.layers[layer].mlp
        mlp.act_fn = type(mlp.act_fn)() if isinstance(mlp.act_fn, torch.nn.Module) else mlp.act_fn
        hooks.append(mlp.act_fn.register_forward_hook(put))
    sums = []
    with torch.inference_mode(), model.temporary_steering(alpha=0.0):
        for row in rows:
            log_p = model(torch.tensor([row]), language="en").logits[0, :-1].double().log_softmax(-1)
            sums.append(-log_p.gather(1, torch.tensor(row[1:], dtype=torch.long)[:, None]).sum())
    for hook in hooks:
        hook.remove()
    return torch.stack(sums)


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_equals_a_loop_with_hooks(family: Any, value: float) -> None:
    model, rows, write = tiny_steered(family).double(), mixed_prompts(), written(value)
    found = together(model, write, rows)
    torch.testing.assert_close(found[0], plain_loop(model, None, 0, rows), rtol=1e-6, atol=1e-6)
    for place in range(len(LANGUAGES)):
        torch.testing.assert_close(found[1 + place], plain_loop(model, write, place, rows), rtol=1e-6, atol=1e-6)
    assert len({tuple(nats.tolist()) for nats in found}) == 1 + len(LANGUAGES), "every language changes something"


def test_each_language_is_as_alone_bit_for_bit(family: Any) -> None:
    model, rows, write = tiny_steered(family), mixed_prompts(), written(0.3)
    found, before = together(model, write, rows), strengths(model)
    for place, code in enumerate(LANGUAGES):
        alone = Write(write.masks[place : place + 1], write.values[place : place + 1], (code,))
        for batch, sums in nats_under_writes(model, alone, rows, batch_size=8):
            assert found[[0, 1 + place]][:, batch].tolist() == sums
    assert strengths(model) == before
    assert not [rule for rule in model.rules if rule.name == "write"], "nothing is left on the model"


def test_a_language_without_neurons_is_the_base(family: Any) -> None:
    found = together(tiny_steered(family), written(neurons={**NEURONS, "de": {}}), mixed_prompts())
    assert torch.equal(found[0], found[2])


@pytest.fixture
def ran() -> tuple[Any, list[int]]:
    """A steered model, and how often each of its layers has run."""
    from clas_models import FAMILIES

    model = tiny_steered(FAMILIES["llama"])
    runs = [0] * SHAPE[1]

    def count(layer: int) -> Any:
        def add(*_: Any) -> None:
            runs[layer] += 1

        return add

    for index, layer in enumerate(model.model.layers):
        layer.register_forward_hook(count(index))
    return model, runs


def test_layers_below_the_first_neuron_run_once_and_shared_ones_together(ran: tuple[Any, list[int]]) -> None:
    model, runs = ran
    rows = mixed_prompts()
    list(nats_under_writes(model, written(), rows, batch_size=8))
    packs = runs[0]
    assert packs >= len(plan_batches(rows, 8))
    assert runs == [packs * times for times in (1, 1, 2, 4, 4, 5)]
    tree = WriteTree.of(written(), LANGUAGES)
    assert [tree.passes(layer) for layer in range(SHAPE[1])] == [1, 1, 2, 4, 4, 5]


def test_other_values_part_at_the_first_neuron(ran: tuple[Any, list[int]]) -> None:
    model, runs = ran
    write = written()
    values = write.values + torch.arange(4.0)[:, None, None]
    list(nats_under_writes(model, Write(write.masks, values, LANGUAGES), mixed_prompts(), batch_size=8))
    assert [each // runs[0] for each in runs] == [1, 1, 3, 4, 4, 5]
