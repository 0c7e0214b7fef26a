"""Overwriting neurons of a language: the second rule of the patched MLP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import STEERING, TINY, tiny_plain, tiny_steered
from modeling_helpers import one_thread  # noqa: F401
from transformers import AutoModelForCausalLM

LANGUAGES = STEERING["languages"]
SHAPE = (len(LANGUAGES), TINY["num_hidden_layers"], TINY["intermediate_size"])
ROWS = ["en", "de", "zh", "fr"]


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def tables(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(SHAPE, generator=generator) < 0.1, torch.randn(SHAPE, generator=generator)


def overwriting(family: Any, **overrides: Any) -> Any:
    model = tiny_steered(family, **{"alpha": 0.0, **overrides})
    model.set_overwrite(*tables())
    return model


def by_hooks(family: Any, tokens: torch.Tensor, language: str) -> torch.Tensor:
    """The plain model with the outputs of `act_fn` replaced in forward hooks: what the rule must equal."""
    plain, (masks, values) = tiny_plain(family), tables()
    row = LANGUAGES.index(language)
    for index, layer in enumerate(plain.model.layers):
        mask, value = masks[row, index], values[row, index]
        layer.mlp.act_fn.register_forward_hook(lambda module, args, out, m=mask, v=value: torch.where(m, v, out))
    return plain(tokens).logits


@pytest.mark.parametrize("language", ["de", "zh"])
def test_equals_the_plain_model_with_its_activations_replaced(family: Any, tokens: Any, language: str) -> None:
    found = overwriting(family)(tokens, language=language).logits
    assert torch.equal(found, by_hooks(family, tokens, language))
    assert not torch.equal(found, tiny_plain(family)(tokens).logits)


def test_each_row_by_its_language_and_the_anchor_not_at_all(family: Any, tokens: Any) -> None:
    model = overwriting(family)
    mixed, plain = model(tokens, language=ROWS).logits, tiny_plain(family)(tokens).logits
    assert [torch.equal(a, b) for a, b in zip(mixed, plain, strict=True)] == [True, False, False, True]
    for row, language in enumerate(ROWS):
        assert torch.equal(mixed[row], model(tokens, language=language).logits[row])


def test_switched_off_the_model_is_as_it_was(family: Any, tokens: Any) -> None:
    model, plain = overwriting(family), tiny_plain(family)(tokens).logits
    on = model(tokens, language="de").logits
    with model.temporary_steering(overwrite=False):
        assert torch.equal(model(tokens, language="de").logits, plain)
        with model.temporary_steering(alpha=2.0):
            steered = tiny_steered(family, alpha=2.0)
            assert torch.equal(model(tokens, language="de").logits, steered(tokens, language="de").logits)
    assert torch.equal(model(tokens, language="de").logits, on)
    model.set_steering(overwrite=False)
    assert torch.equal(model(tokens, language="de").logits, plain)


def test_both_rules_together(family: Any, tokens: Any) -> None:
    model = overwriting(family)
    alone = model(tokens, language="de").logits
    model.set_steering(alpha=1.0)
    both = model(tokens, language="de").logits
    assert not torch.equal(both, alone)
    model.set_steering(overwrite=False)
    assert not torch.equal(both, model(tokens, language="de").logits)
    assert model.steering.neurons.keys() == {2, 3}


@pytest.mark.parametrize("enabled", [True, False])
def test_save_and_reload(family: Any, tokens: Any, tmp_path: Path, enabled: bool) -> None:
    model = overwriting(family)
    model.set_steering(overwrite=enabled)
    model.save_pretrained(tmp_path)
    again, info = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert torch.equal(again(tokens, language=ROWS).logits, model(tokens, language=ROWS).logits)
    assert AutoModelForCausalLM.from_pretrained(tmp_path, overwrite=not enabled).config.overwrite is not enabled
    half = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    plain = tiny_plain(family)
    plain.save_pretrained(tmp_path / "plain")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "plain", dtype=torch.bfloat16)
    assert torch.equal(half(tokens, language="en").logits, base(tokens).logits)
    assert torch.equal(half(tokens, language="de").logits, base(tokens).logits) is not enabled


def test_tables_can_be_replaced(family: Any, tokens: Any) -> None:
    model = overwriting(family)
    before = model(tokens, language="de").logits
    masks, values = tables(seed=1)
    model.set_overwrite(masks, values)
    assert not torch.equal(model(tokens, language="de").logits, before)
    model.set_overwrite(*tables())
    assert torch.equal(model(tokens, language="de").logits, before)


def test_generation_with_beams(family: Any, tokens: Any) -> None:
    model = overwriting(family)
    options = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "num_beams": 2}
    mixed = model.generate(tokens, language=ROWS, **options)
    assert torch.equal(mixed[0], tiny_plain(family).generate(tokens, **options)[0])
    assert not torch.equal(mixed, model.generate(tokens, language="en", **options))


def test_compiled_to_one_graph_it_can_still_be_switched(family: Any, tokens: Any) -> None:
    model, ids = overwriting(family), torch.tensor([0, 1, 2, 4])
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    on = model(tokens, language=ids).logits
    torch.testing.assert_close(compiled(tokens, language=ids).logits, on, rtol=0, atol=1e-4)
    model.set_steering(overwrite=False)
    plain = tiny_plain(family)(tokens).logits
    torch.testing.assert_close(compiled(tokens, language=ids).logits, plain, rtol=0, atol=1e-4)
    assert (on - plain).abs().max() > 0.1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m, v: (m[:, :2], v), "masks of shape [4, 2, 48]"),
        (lambda m, v: (m, v[:3]), "values of shape [3, 6, 48]"),
        (lambda m, v: (m.float(), v), "torch.float32"),
        (lambda m, v: (m, v.long()), "torch.int64"),
        (lambda m, v: (m, torch.where(m, torch.nan, v)), "not finite"),
    ],
)
def test_tables_that_do_not_fit_are_refused(family: Any, tokens: Any, change: Any, words: str) -> None:
    model, plain = tiny_steered(family, alpha=0.0), tiny_plain(family)
    with pytest.raises(ValueError, match="overwrite: ") as caught:
        model.set_overwrite(*change(*tables()))
    assert words in str(caught.value)
    assert torch.equal(model(tokens, language="de").logits, plain(tokens).logits)


def test_layers_without_tables_are_refused_on_load(family: Any, tmp_path: Path) -> None:
    tiny_steered(family).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"overwrite_layers: \[1\], but the checkpoint has no 'model.layers.1.mlp"):
        AutoModelForCausalLM.from_pretrained(tmp_path, overwrite_layers=[1])


def test_gradients_reach_the_parameters_of_patched_layers(family: Any, tokens: Any) -> None:
    model = overwriting(family).train()
    with torch.enable_grad():
        model(tokens, language="de", labels=tokens).loss.backward()
    assert all(parameter.grad is not None for parameter in model.model.layers.parameters())
