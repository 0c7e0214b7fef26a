"""Strengths by language without a default keep the one in force, and those that turn the sign of neurons are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import STEERING, TINY, tiny_steered
from transformers import AutoConfig, AutoModelForCausalLM

from clas_models import FAMILIES

FIELDS = ("alpha", "vector_strength")


def default_of(alpha: Any) -> float:
    return float(alpha["default"])


@pytest.mark.parametrize(
    ("before", "default"), [(0.5, 0.5), ({"de": 3, "zh": 4, "default": -1.5}, -1.5), ({"zh": 4}, 1.0)], ids=str
)
@pytest.mark.parametrize("field", FIELDS)
def test_a_mapping_without_default_keeps_the_default_in_force(
    family: Any, field: str, before: Any, default: float, tmp_path: Path
) -> None:
    """Only the default: what the mapping does not name has no strength of its own any more."""
    model = tiny_steered(family, **{field: before})
    expected = {"ger": 2.0}
    wanted = {"de": 2.0, "default": default}
    was = getattr(model.config, field)
    with model.temporary_steering(**{field: expected}):
        assert getattr(model.config, field) == wanted
    assert getattr(model.config, field) == was
    model.save_pretrained(tmp_path)
    assert getattr(AutoModelForCausalLM.from_pretrained(tmp_path, **{field: expected}).config, field) == wanted
    assert getattr(AutoConfig.from_pretrained(tmp_path, **{field: expected}), field) == wanted
    model.set_steering(**{field: expected})
    assert getattr(model.config, field) == wanted
    model.config.update({field: {"zh": 3}})
    model.config.validate_steering()
    assert getattr(model.config, field) == {"zh": 3.0, "default": default}


def test_what_is_in_force_follows(family: Any) -> None:
    model = tiny_steered(family)  # default 1
    model.set_steering(alpha={"German": 2})
    assert model.steering.alpha == {"en": 0.0, "de": 2.0, "zh": 1.0, "hi": 1.0, "default": 1.0}
    model.set_steering(alpha=-3)
    model.set_steering(alpha={"zh": 2})
    assert model.steering.alpha == {"en": 0.0, "de": -3.0, "zh": 2.0, "hi": -3.0, "default": -3.0}


@pytest.mark.parametrize(
    ("strengths", "told"),
    [
        ({"alpha": {"de": -3.25, "default": 1}}, ["de (alpha -3.25): -0.3 for shared neurons"]),
        ({"alpha": {"zh": 5.25, "default": 1}}, ["zh (alpha 5.25): -0.05 for specific neurons"]),
        ({"alpha": {"de": 0, "zh": 0, "hi": 0, "default": -4.75}}, ["default (alpha -4.75): -0.9 for shared neurons"]),
        ({"beta": -2.125, "alpha": 1}, ["de (alpha 1): -1.125 for shared neurons", "hi (alpha 1): -1.125"]),
    ],
    ids=str,
)
def test_strengths_that_turn_the_sign_of_neurons_are_told_once(
    strengths: dict[str, Any], told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", logger="clas_models.modeling.steering")  # a program may have silenced it
    model = tiny_steered(FAMILIES["llama"])
    assert caplog.text == ""
    for _ in range(3):
        model.set_steering(**strengths)
    assert [text in caplog.text for text in told] == [True] * len(told), caplog.text
    assert caplog.text.count("turn the sign of neurons") == 1
    assert "en (" not in caplog.text, "the anchor is never steered"


@pytest.mark.parametrize("strengths", [{"alpha": -2.5}, {"alpha": 5.0}, {"alpha": 0.0, "beta": -9.0}], ids=str)
def test_factors_of_zero_and_more_are_no_matter(
    strengths: dict[str, Any], family: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", logger="clas_models.modeling.steering")
    family.config(**{**TINY, **STEERING, **strengths})
    family.config(**{**TINY, **STEERING, "alpha": -9.5, "bridge_layers": []})
    assert caplog.text == ""
