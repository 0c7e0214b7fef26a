"""What brackets keep together."""

from __future__ import annotations

import pytest

from clas_models.brackets import split, unwrapped
from clas_models.errors import InputError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b", ["a", "b"]),
        ("", [""]),
        ("a,(b,c),d", ["a", "(b,c)", "d"]),
        ("x=(a,(b,c),d),e", ["x=(a,(b,c),d)", "e"]),
        ("(a,b)(c,d),", ["(a,b)(c,d)", ""]),
    ],
)
def test_commas_within_brackets_part_nothing(text: str, parts: list[str]) -> None:
    assert split(text, ",") == parts
    assert ",".join(parts) == text


def test_what_parts_is_among_the_parts_where_it_is_a_group() -> None:
    assert split("a or (b and c) and d", r"\s+(or|and)\s+") == ["a", "or", "(b and c)", "and", "d"]


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ("(a or b)", "a or b"),
        (" ( a ) ", "a"),
        ("((a) or (b))", "(a) or (b)"),
        ("()", ""),
        ("(a) or (b)", None),
        ("a", None),
        ("x(a)", None),
        ("", None),
    ],
)
def test_one_pair_around_the_whole(text: str, inner: str | None) -> None:
    assert unwrapped(text) == inner


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(a", "does not close"),
        ("a)", "closes that nobody opened"),
        ("a)(", "closes that nobody"),
        ("((a)", "does not"),
    ],
)
def test_brackets_that_do_not_match(text: str, said: str) -> None:
    for read in (unwrapped, lambda text: split(text, ",")):
        with pytest.raises(InputError, match=said):
            read(text)
