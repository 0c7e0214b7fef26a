"""JSON from outside becomes a dataclass of the declared types, or an error that says which value is not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from clas_models.json_data import from_json, parse_json


@dataclass(frozen=True)
class Inner:
    codes: tuple[str, ...]


@dataclass(frozen=True)
class Outer:
    name: str
    count: int | None
    scores: dict[str, float]
    inner: Inner
    more: dict[str, Any] = field(default_factory=dict)


SOUND: dict[str, Any] = {"name": "a", "count": None, "scores": {"f1": 1}, "inner": {"codes": ["de"]}}


def test_values_have_the_declared_types() -> None:
    assert from_json(Outer, SOUND) == Outer("a", None, {"f1": 1.0}, Inner(("de",)))
    assert type(from_json(Outer, SOUND).scores["f1"]) is float


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 1}, "name: 1 in place of a text"),
        ({"count": True}, "count: True in place of int | None"),
        ({"count": 2**63}, "count: 9223372036854775808 in place of"),
        ({"scores": {"f1": "1"}}, "scores: '1' in place of a number"),
        ({"scores": []}, "scores: .* in place of an object"),
        ({"inner": {"codes": "de"}}, "inner: codes: 'de' in place of a list"),
        ({"inner": {}}, "inner: Inner lacks the field 'codes'"),
        ({"other": 1}, "Outer has no field 'other'"),
    ],
)
def test_what_is_not_of_its_type_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        from_json(Outer, SOUND | change)


def test_nesting_too_deep_to_be_read_is_no_json() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 200_000)
