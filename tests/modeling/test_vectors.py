"""The vectors of a model as a whole: told, replaced for good or for a while, and refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, tiny_plain, tiny_steered
from conversion.support import change_tensors
from transformers import AutoModelForCausalLM

HIDDEN = TINY["hidden_size"]


def table(seed: int = 0) -> torch.Tensor:
    """Vectors of four languages; those of English, the first, are 0."""
    vectors = torch.randn(4, HIDDEN, generator=torch.Generator().manual_seed(seed))
    vectors[0] = 0
    return vectors


def test_vectors_are_put_into_a_model_that_has_none(family: Any, tokens: Any, tmp_path: Path) -> None:
    model = tiny_steered(family, alpha=0.0)
    plain = tiny_plain(family)(tokens).logits
    model.set_vectors({1: table(1), 4: table(4)}, strength={"de": 2.0, "default": 0.5}, positions="all")
    assert sorted(model.vectors) == [1, 4]
    assert torch.equal(model.vectors[4], table(4))
    steering = model.steering
    assert (steering.vector_layers, steering.vector_positions) == ((1, 4), "all")
    assert steering.vector_strength == {"en": 0.0, "de": 2.0, "zh": 0.5, "hi": 0.5, "default": 0.5}
    steered = model(tokens, language="de").logits
    assert not torch.equal(steered, plain)
    assert torch.equal(model(tokens, language="en").logits, plain)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(loaded(tokens, language="de").logits, steered)


def test_another_call_takes_the_place_of_all_of_them(family: Any, tokens: Any) -> None:
    model = tiny_steered(family, alpha=0.0)
    model.set_vectors({1: table(), 4: table()}, positions="all")
    model.set_vectors({2: table()})
    assert sorted(model.vectors) == [2]
    assert model.config.vector_layers == model.model.config.vector_layers == [2]
    model.set_vectors({})
    assert model.steering.vector_strength is None
    assert torch.equal(model(tokens, language="de").logits, tiny_plain(family)(tokens).logits)


def test_for_a_while_the_models_own_come_back(family: Any, tokens: Any) -> None:
    model = tiny_steered(family)
    model.set_vectors({3: table(3)}, strength=1.5, positions="all")
    before = model(tokens, language="zh").logits
    with model.temporary_vectors({0: table(9)}, strength=-1.0):
        assert sorted(model.vectors) == [0]
        assert not torch.equal(model(tokens, language="zh").logits, before)
    assert sorted(model.vectors) == [3]
    assert torch.equal(model(tokens, language="zh").logits, before)


def test_what_is_put_in_under_inference_mode_can_be_changed_later(family: Any, tokens: Any) -> None:
    model = tiny_steered(family)
    mask = torch.zeros(TINY["intermediate_size"], dtype=torch.bool)
    with torch.inference_mode():
        model.set_vectors({1: table()}, positions="all")
        model.set_masks({0: (mask, ~mask)})
    model.set_steering(vector_strength=2.0, alpha=1.0)
    model.set_masks({0: (~mask, mask)})
    assert model.steering.vector_strength["de"] == 2.0  # type: ignore[index]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_they_take_the_precision_of_the_model(family: Any, dtype: torch.dtype) -> None:
    model = tiny_steered(family).to(dtype)
    model.set_vectors({1: table()}, strength=1 / 3, positions="all")
    add = model.model.layers[1].add
    assert add.vectors.dtype == dtype
    assert add.row_strengths.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_what_the_precision_of_the_model_cannot_hold_is_refused(family: Any) -> None:
    model = tiny_steered(family).to(torch.float16)
    with pytest.raises(ValueError, match="layer 1: vectors are not finite"):
        model.set_vectors({1: 1e5 * table()})
    assert model.vectors == {}


@pytest.mark.parametrize(
    ("row", "value", "message"),
    [(2, math.nan, "layer 1: vectors are not finite"), (0, 1.0, "layer 1: the vector of the anchor en is not 0")],
)
def test_a_checkpoint_with_vectors_that_cannot_be_is_refused(
    family: Any, tmp_path: Path, row: int, value: float, message: str
) -> None:
    model = tiny_steered(family)
    model.set_vectors({1: table()})
    model.save_pretrained(tmp_path)
    change_tensors(
        tmp_path / "model.safetensors", lambda tensors: tensors["model.layers.1.add.vectors"][row].fill_(value)
    )
    with pytest.raises(ValueError, match=message):
        AutoModelForCausalLM.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("vectors", "arguments", "message"),
    [
        ({9: table()}, {}, r"vector_layers\[0\]: 9 is out of range; layers are 0 to 5"),
        ({1: table()[:3]}, {}, r"layer 1: vectors are torch.float32 \[3, 32\]; allowed is .* = \[4, 32\]"),
        ({1: table().int()}, {}, r"layer 1: vectors are torch.int32"),
        ({1: "vectors"}, {}, "layer 1: vectors are a str"),
        ({1: table() / 0}, {}, "layer 1: vectors are not finite"),
        ({1: table() + 1}, {}, "layer 1: the vector of the anchor en is not 0"),
        ({1: table()}, {"strength": "2"}, "vector_strength: '2' is of type str"),
        ({1: table()}, {"strength": {"en": 1.0}}, "vector_strength: the anchor language 'en' is never steered"),
        ({1: table()}, {"positions": "first"}, "vector_positions: 'first'; allowed are last, generated, all"),
    ],
)
def test_what_does_not_fit_changes_nothing(vectors: Any, arguments: Any, message: str, tokens: Any) -> None:
    from clas_models import FAMILIES

    model = tiny_steered(FAMILIES["llama"])
    before = model(tokens, language="de").logits
    with pytest.raises((TypeError, ValueError), match=message):
        model.set_vectors(vectors, **arguments)
    assert model.vectors == {}
    assert torch.equal(model(tokens, language="de").logits, before)
