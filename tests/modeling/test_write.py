"""Writing over neurons of a language for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import STEERING, TINY, tiny_plain, tiny_steered
from transformers import AutoModelForCausalLM

from clas_models import Write

LANGUAGES = STEERING["languages"]
SHAPE = (len(LANGUAGES), TINY["num_hidden_layers"], TINY["intermediate_size"])
ROWS = ["en", "de", "zh", "fr"]


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def tables(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(SHAPE, generator=generator) < 0.1
    masks[0] = False  # English is left alone
    return masks, torch.randn(SHAPE, generator=generator)


def unsteered(family: Any, **overrides: Any) -> Any:
    return tiny_steered(family, **{"bridge_layers": [], **overrides})


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
    model = unsteered(family)
    with model.intervening(Write(*tables())):
        found = model(tokens, language=language).logits
    assert torch.equal(found, by_hooks(family, tokens, language))
    assert not torch.equal(found, tiny_plain(family)(tokens).logits)


def test_each_row_by_its_language_and_others_not_at_all(family: Any, tokens: Any) -> None:
    model, plain = unsteered(family), tiny_plain(family)(tokens).logits
    with model.intervening(Write(*tables())):
        mixed = model(tokens, language=ROWS).logits
        alone = [model(tokens, language=language).logits for language in ROWS]
    assert [torch.equal(a, b) for a, b in zip(mixed, plain, strict=True)] == [True, False, False, True]
    for row, logits in enumerate(alone):
        assert torch.equal(mixed[row], logits[row])


def test_tables_of_some_languages_leave_the_others_alone(family: Any, tokens: Any) -> None:
    model, plain = unsteered(family), tiny_plain(family)(tokens).logits
    masks, values = tables()
    with model.intervening(Write(masks[[2, 1]], values[[2, 1]], languages=("zh", "de"))):
        mixed = model(tokens, language=["hi", "de", "zh", "fr"]).logits
    assert [torch.equal(a, b) for a, b in zip(mixed, plain, strict=True)] == [True, False, False, True]
    assert torch.equal(mixed[1], by_hooks(family, tokens, "de")[1])


def test_the_anchor_is_written_over_where_a_table_says_so(family: Any, tokens: Any) -> None:
    model = unsteered(family)
    with model.intervening(Write(torch.ones(SHAPE, dtype=torch.bool), torch.zeros(SHAPE))):
        assert not torch.equal(model(tokens, language="en").logits, tiny_plain(family)(tokens).logits)


def fail_within(model: Any, write: Write) -> None:
    with model.intervening(write):
        assert model.rules == (write,)
        raise RuntimeError("stop")


def test_after_the_block_the_model_is_as_it_was(family: Any, tokens: Any) -> None:
    model, plain = unsteered(family), tiny_plain(family)(tokens).logits
    with pytest.raises(RuntimeError, match="stop"):
        fail_within(model, Write(*tables()))
    assert model.rules == ()
    assert torch.equal(model(tokens, language="de").logits, plain)


def test_both_rules_together(family: Any, tokens: Any) -> None:
    model, write = tiny_steered(family, alpha=0.0), Write(*tables())
    with model.intervening(write):
        alone = model(tokens, language="de").logits
        with model.temporary_steering(alpha=1.0):
            both = model(tokens, language="de").logits
            assert [rule.name for rule in model.rules] == ["scale", "write"]
    assert torch.equal(alone, by_hooks(family, tokens, "de"))
    assert not torch.equal(both, alone)
    model.set_steering(alpha=1.0)
    assert torch.equal(
        model(tokens, language="de").logits, tiny_steered(family, alpha=1.0)(tokens, language="de").logits
    )


def test_nothing_of_it_is_saved(family: Any, tmp_path: Path) -> None:
    model = tiny_steered(family)
    model.save_pretrained(tmp_path / "before")
    with model.intervening(Write(*tables())):
        model.save_pretrained(tmp_path / "within")
        assert "write" not in "".join(model.state_dict())
    for path in (tmp_path / "before").iterdir():
        assert path.read_bytes() == (tmp_path / "within" / path.name).read_bytes(), path.name


def test_in_half_precision(family: Any, tokens: Any, tmp_path: Path) -> None:
    tiny_plain(family).save_pretrained(tmp_path / "plain")
    tiny_steered(family).save_pretrained(tmp_path / "steered")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "plain", dtype=torch.bfloat16)
    half = AutoModelForCausalLM.from_pretrained(tmp_path / "steered", dtype=torch.bfloat16)
    with half.intervening(Write(*tables())):
        assert torch.equal(half(tokens, language="en").logits, plain(tokens).logits)
        assert not torch.equal(half(tokens, language="de").logits, plain(tokens).logits)


def test_where_weights_are_on_disk(family: Any, tokens: Any, tmp_path: Path) -> None:
    tiny_steered(family).save_pretrained(tmp_path)
    models = [AutoModelForCausalLM.from_pretrained(tmp_path, **kw) for kw in ({}, {"device_map": {"": "disk"}})]
    found = []
    for model in models:
        with model.intervening(Write(*tables())):
            found.append(model(tokens, language=ROWS).logits)
    assert models[1].model.layers[0].mlp.down_proj.weight.device.type == "meta"
    assert torch.equal(*found)


def test_generation_with_beams(family: Any, tokens: Any) -> None:
    model = unsteered(family)
    options = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "num_beams": 2}
    with model.intervening(Write(*tables())):
        mixed = model.generate(tokens, language=ROWS, **options)
        assert not torch.equal(mixed, model.generate(tokens, language="en", **options))
    assert torch.equal(mixed[0], tiny_plain(family).generate(tokens, **options)[0])


@pytest.mark.slow
def test_compiled_to_one_graph(family: Any, tokens: Any) -> None:
    torch.compiler.reset()
    model, ids = unsteered(family), torch.tensor([0, 1, 2, 4])
    plain = tiny_plain(family)(tokens).logits
    with model.intervening(Write(*tables())):
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        on = model(tokens, language=ids).logits
        torch.testing.assert_close(compiled(tokens, language=ids).logits, on, rtol=0, atol=1e-4)
    torch.testing.assert_close(compiled(tokens, language=ids).logits, plain, rtol=0, atol=1e-4)
    assert (on - plain).abs().max() > 0.1


def test_gradients_reach_the_parameters(family: Any, tokens: Any) -> None:
    model = unsteered(family).train()
    with torch.enable_grad(), model.intervening(Write(*tables())):
        model(tokens, language="de", labels=tokens).loss.backward()
    assert all(parameter.grad is not None for parameter in model.model.layers.parameters())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m, v: (m[:, :2], v), "masks of shape [4, 2, 48]"),
        (lambda m, v: (m, v[:3]), "values of shape [3, 6, 48]"),
        (lambda m, v: (m.float(), v), "torch.float32"),
        (lambda m, v: (m, v.long()), "torch.int64"),
        (lambda m, v: (m, torch.where(m, torch.nan, v)), "not finite"),
        (lambda m, v: (m, v, ("de", "zh")), "tables of 4 languages for the codes de, zh"),
    ],
)
def test_tables_that_cannot_be_are_refused(change: Any, words: str) -> None:
    with pytest.raises(ValueError, match="write: ") as caught:
        Write(*change(*tables()))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m, v: (m[:, :2], v[:, :2]), "tables of shape [4, 2, 48]"),
        (lambda m, v: (m[:3], v[:3]), "tables of shape [3, 6, 48]"),
        (lambda m, v: (m, v, ("de", "zh", "sw", "hi")), "sw not among the model's languages en, de, zh, hi"),
    ],
)
def test_tables_of_another_model_are_refused(family: Any, tokens: Any, change: Any, words: str) -> None:
    model, write = unsteered(family), Write(*change(*tables()))
    with pytest.raises(ValueError, match="write: ") as caught, model.intervening(write):
        pass
    assert words in str(caught.value)
    assert torch.equal(model(tokens, language="de").logits, tiny_plain(family)(tokens).logits)


def test_one_block_at_a_time(family: Any) -> None:
    model, write = unsteered(family), Write(*tables())
    with model.intervening(write):
        with pytest.raises(ValueError, match="another one is in force"), model.intervening(write):
            pass
        assert model.rules == (write,)
