"""Conditions: in force for a while, and computed once where they are the same arithmetic."""

from typing import Any

import pytest
from conftest import tiny_plain, tiny_steered

from clas_models.errors import InputError
from eval.engine.conditions import DistinctConditions, in_force
from eval.engine.decoder import SplitDecoder

from .support import strengths


def test_a_condition_is_in_force_for_the_block(family: Any) -> None:
    model = tiny_steered(family)
    before = strengths(model)
    with in_force(SplitDecoder(model), {"alpha": 7.0, "beta": 0.3}):
        assert (model.steering.alpha["de"], model.steering.beta, model.steering.gamma) == (7.0, 0.3, 0.2)
    assert strengths(model) == before


def test_conditions_with_the_same_arithmetic_are_one(family: Any) -> None:
    conditions: list[dict[str, Any]] = [
        {"alpha": 0, "beta": 0.2},
        {"alpha": 0, "gamma": 0.9},
        {"alpha": 2, "beta": 0.2, "gamma": 0.1},
        {"alpha": 1, "beta": 0.4, "gamma": 0.2},
        {"alpha": {"default": 5, "de": 0}},
        {"alpha": 2, "beta": 0.4, "gamma": 0.2},
    ]
    decoder = SplitDecoder(tiny_steered(family))
    german = DistinctConditions.of(decoder, "de", conditions)
    assert german.index == (0, 0, 1, 1, 0, 2)
    assert german.conditions == tuple({"language": "de", **conditions[place]} for place in (0, 2, 5))
    assert DistinctConditions.of(decoder, "zh", conditions).index == (0, 0, 1, 1, 2, 3)
    assert DistinctConditions.of(decoder, "en-GB", conditions).index == (0,) * 6


def test_a_plain_model_knows_no_strengths(family: Any) -> None:
    decoder = SplitDecoder(tiny_plain(family))
    assert DistinctConditions.of(decoder, "de", [{}, {}]).index == (0, 0)
    with pytest.raises(InputError, match=r"alpha: \w+ForCausalLM is not steered; convert it first"):
        DistinctConditions.of(decoder, "de", [{}, {"alpha": 1.0}])


def test_what_is_not_allowed_leaves_nothing_behind(family: Any) -> None:
    model = tiny_steered(family)
    decoder, before = SplitDecoder(model), strengths(model)
    with pytest.raises(InputError, match="conditions: there are none"):
        DistinctConditions.of(decoder, "de", [])
    with pytest.raises(ValueError, match="alpha: inf is not finite"):
        DistinctConditions.of(decoder, "de", [{"beta": 2.0}, {"alpha": float("inf")}])
    with pytest.raises(ValueError, match="is not a language code"):
        DistinctConditions.of(decoder, "German!", [{"beta": 2.0}])
    assert strengths(model) == before
