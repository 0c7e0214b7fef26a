"""The logit lens against the plain forward pass with one text at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from conftest import tiny_plain, tiny_steered
from torch import Tensor

from clas_models.errors import InputError
from eval.engine.batches import plan_batches
from eval.engine.lens import Latent, latent

from .support import CONDITIONS, asked_for, question_prompts, random_tokens, strengths

LAYERS = (1, 3, 5)
CHOICES = (40, 41, 99)
PARTS = ("texts", "choices", "states", "answers")


def asked() -> tuple[list[list[int]], list[list[list[int]]]]:
    """Questions, one of which another goes on from, with texts that share beginnings, repeat, or are one token."""
    prompts = [*question_prompts(2, 3), [3], random_tokens(12, 90)]
    prompts.append([*prompts[-1], *random_tokens(4, 92)])
    texts = [[random_tokens(1 + (row + text) % 5, 7 * row + text) for text in range(4)] for row in range(len(prompts))]
    for given in texts:
        given[2] = [*given[0][:-1], 17]
        given[3] = given[1]
    texts[-2][0] = [*prompts[-1][len(prompts[-2]) :], 5]  # the prompt with this text is the next prompt
    return prompts, texts


def vectors(family: Any, positions: str, layers: Sequence[int] = (3,)) -> Any:
    model = tiny_steered(
        family, bridge_layers=[4], vector_layers=list(layers), vector_strength=2.0, vector_positions=positions
    )
    generator = torch.Generator().manual_seed(3)
    for layer in model.config.vector_layers:
        add = model.model.layers[layer].add
        add.vectors.copy_(torch.randn(add.vectors.shape, generator=generator))
    return model


def seen(model: Any, language: str, conditions: Any = ({},), layers: Any = LAYERS, **options: Any) -> Latent:
    """The batches put together, in the order of the prompts."""
    prompts, texts = asked()
    sizes = (len(texts[0]), len(CHOICES), model.config.hidden_size)
    whole = Latent.empty(len(conditions), len(layers), len(prompts), *sizes)
    for batch, found in latent(model, prompts, texts, CHOICES, language, layers, conditions, **options):
        whole.put(batch, found)
    return whole


def _steering(model: Any, language: str, end: int, tokens: int, positions: str) -> dict[str, Any]:
    places = torch.arange(tokens)[None]
    acts = {"last": places == end - 1, "generated": places >= end - 1}
    return {**asked_for(model, language), **({"positions": acts[positions]} if positions in acts else {})}


@torch.inference_mode()
def alone(model: Any, language: str, normed: bool = True, positions: str = "all") -> Latent:
    """One text at a time, with the hidden states that the model returns."""
    prompts, texts = asked()
    found = [[_one(model, prompt, text, language, normed, positions) for text in given]
             for prompt, given in zip(prompts, texts, strict=True)]  # fmt: skip
    log_p = torch.tensor([[[each[0][layer] for each in row] for row in found] for layer in range(len(LAYERS))])
    ends = [torch.stack([row[0][part] for row in found], dim=1) for part in (1, 2)]
    answers = [model(torch.tensor([prompt]), **_steering(model, language, len(prompt), len(prompt), positions)).logits
               for prompt in prompts]  # fmt: skip
    return Latent(
        log_p[None], ends[0][None], ends[1][None], torch.stack([each[0, -1, list(CHOICES)] for each in answers])[None]
    )


@torch.inference_mode()
def _one(
    model: Any, prompt: list[int], text: list[int], language: str, normed: bool, positions: str
) -> tuple[list[float], Tensor, Tensor]:
    ids, end = torch.tensor([[*prompt, *text]]), len(prompt)
    steering = _steering(model, language, end, ids.shape[1], positions)
    states: dict[int, Tensor] = {}
    hooks = [
        model.model.layers[layer].register_forward_hook(
            lambda _, __, out, layer=layer: states.update({layer: (out[0] if isinstance(out, tuple) else out)[0]})
        )
        for layer in LAYERS
    ]
    model(ids, **steering)
    for hook in hooks:
        hook.remove()
    means, letters = [], []
    for layer in LAYERS:
        logits = model.lm_head(model.model.norm(states[layer]) if normed else states[layer])
        log_p = logits.log_softmax(-1)
        means.append(float(sum(log_p[end - 1 + place, token] for place, token in enumerate(text)) / len(text)))
        letters.append(logits[end - 1, list(CHOICES)])
    return means, torch.stack(letters), torch.stack([states[layer][end - 1] for layer in LAYERS])


def check_same(found: Latent, expected: Latent) -> None:
    for name in PARTS:
        torch.testing.assert_close(
            getattr(found, name).double(), getattr(expected, name).double(), rtol=1e-5, atol=1e-5, msg=name
        )


@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize("steered", [True, False])
def test_the_lens_is_the_plain_pass_with_one_text_at_a_time(family: Any, steered: bool, normed: bool) -> None:
    model = (tiny_steered if steered else tiny_plain)(family).double()
    expected = alone(model, "de", normed)
    for batch_size in (1, 4, 16):
        check_same(seen(model, "de", batch_size=batch_size, normed=normed), expected)


def test_the_last_layer_is_what_the_model_says(family: Any) -> None:
    model = tiny_plain(family).double()
    prompts, _ = asked()
    with torch.inference_mode():
        logits = torch.stack([model(torch.tensor([prompt])).logits[0, -1, list(CHOICES)] for prompt in prompts])
        first = model(torch.tensor([prompts[0]]), output_hidden_states=True).hidden_states
    found = seen(model, "de", layers=(0, 5))
    torch.testing.assert_close(found.choices[0, 1].double(), logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.states[0, 0, 0].double(), first[1][0, -1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("positions", ["last", "generated", "all"])
def test_vectors_act_where_the_checkpoint_says(family: Any, positions: str) -> None:
    model = vectors(family, positions).double()
    found = seen(model, "de", batch_size=16)
    check_same(found, alone(model, "de", positions=positions))
    base = seen(tiny_plain(family).double(), "de")
    torch.testing.assert_close(found.texts[:, 0], base.texts[:, 0], rtol=1e-6, atol=1e-6, msg="below the vectors")
    assert (found.texts[:, 1:] - base.texts[:, 1:]).abs().min(-1).values.max() > 1e-3, "above them"


@pytest.mark.parametrize("language", ["zh", "en"])
def test_conditions_together_are_each_alone_bit_for_bit(family: Any, language: str) -> None:
    model = tiny_steered(family)
    before = strengths(model)
    together = seen(model, language, CONDITIONS)
    assert strengths(model) == before
    for place, condition in enumerate(CONDITIONS):
        with model.temporary_steering(**condition):
            alone = seen(model, language)
        for name in PARTS:
            assert torch.equal(getattr(together, name)[place], getattr(alone, name)[0])
    assert torch.equal(together.texts[0, 0], together.texts[1, 0]), "layer 1 lies below the steered ones"
    assert torch.equal(together.texts[0, 1:], together.texts[1, 1:]) == (language == "en")


@pytest.mark.parametrize("positions", ["last", "generated", "all"])
def test_vectors_of_other_layers_together_are_each_alone_bit_for_bit(family: Any, positions: str) -> None:
    model = vectors(family, positions, layers=[1, 3, 5])
    conditions = [{"vectors": {3: 2.0}}, {"vectors": {1: 2.0, 5: -1.0}, "alpha": 3.0}, {"vector_strength": 0.0}, {}]
    together = seen(model, "de", conditions)
    for place, condition in enumerate(conditions):
        alone = seen(model, "de", [condition])
        for name in PARTS:
            assert torch.equal(getattr(together, name)[place], getattr(alone, name)[0])
    states = together.states
    assert torch.equal(states[0, 0], states[2, 0]), "a vector after layer 3 leaves layer 1 alone"
    assert not torch.equal(states[0, 1], states[2, 1]), "and is seen in layer 3"


def test_what_predicts_goes_through_the_head_once(family: Any) -> None:
    model = tiny_plain(family)
    prompt, texts = random_tokens(20, 0), [[1, 2, 3], [1, 2, 4], [1, 2, 3], [9]]
    rows: list[int] = []
    model.lm_head.register_forward_hook(lambda _, __, out: rows.append(out[..., 0].numel()))
    tokens: list[int] = []
    model.model.layers[0].register_forward_hook(lambda _, inputs, __: tokens.append(inputs[0].shape[1]))
    list(latent(model, [prompt], [texts], CHOICES, "de", LAYERS))
    assert rows == [3] * len(LAYERS), "the prompt's end, 1, and 1 2"
    assert tokens == [22]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layers": (1, 6)}, "layer 6: the model's layers are 0 to 5"),
        ({"layers": (-1,)}, "layer -1: the model's layers are 0 to 5"),
        ({"layers": (2, 2)}, "layer 2 is given more than once"),
        ({"layers": ()}, "layers: there are none"),
        ({"texts": [[[5], []]]}, "texts: one has no tokens"),
    ],
)
def test_what_cannot_be_read_is_said(change: dict[str, Any], said: str, family: Any) -> None:
    given = {"texts": [[[5], [6]]], "layers": LAYERS} | change
    with pytest.raises(InputError, match=said):
        list(latent(tiny_plain(family), [[1, 2]], given["texts"], CHOICES, "de", given["layers"]))


def test_batches_are_as_planned(family: Any) -> None:
    prompts, texts = asked()
    found = latent(tiny_plain(family), prompts, texts, CHOICES, "de", (5,), batch_size=4)
    assert [batch for batch, _ in found] == plan_batches(prompts, 4)
