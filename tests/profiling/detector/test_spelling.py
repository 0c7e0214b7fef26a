"""The ways of writing that the detector learns beside the sentences as they stand."""

from __future__ import annotations

import unicodedata

import pytest
from trained_tokenizers import builtin_rows

from clas_models.profiling.detector.spelling import (
    Spelling,
    capitals_without_accents,
    decomposed,
    respelled,
    without_accents,
)

from .conftest import Made

NEW_ROWS = builtin_rows()[::5]
CASED = ("bg", "de", "el", "es", "fr", "ro", "ru", "sw", "tr", "vi")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Explícame cómo", "Explicame como"),
        ("Việt Nam, đường", "Viet Nam, duong"),
        ("Straße, ılık, łódź", "Strasse, ilik, lodz"),
        ("καλημέρα", "καλημερα"),
        ("й и ё", "й и ё"),
        ("हिन्दी में", "हिन्दी में"),
        ("مُحَمَّد", "مُحَمَّد"),
        ("日本のが", "日本のが"),
        ("", ""),
    ],
)
def test_accents_are_left_out_where_people_leave_them_out(text: str, expected: str) -> None:
    assert without_accents(text) == unicodedata.normalize("NFC", expected)
    assert without_accents(decomposed(text)) == without_accents(text)


def test_capitals_without_accents() -> None:
    assert capitals_without_accents("Där är Ñandú") == "DAR AR NANDU"


def test_a_spelling_that_changes_nothing_is_left_out() -> None:
    assert respelled(["我们走。", "猫"], str.upper) == []
    assert respelled(["猫", "a"], str.upper) == ["猫", "A"]


@pytest.mark.parametrize(
    ("spell", "allowed"), [(str.lower, 0.02), (without_accents, 0.05), (decomposed, 0.02), (str.upper, 0.25)]
)
def test_sentences_are_recognised_in_every_spelling(full: Made, spell: Spelling, allowed: float) -> None:
    """New ones.  These small tokenizers have seen no words in capitals: each letter is a token."""
    texts = [(code, spell(row[code])) for row in NEW_ROWS for code in ("en", *CASED)]
    wrong = [(code, text) for code, text in texts if full.language(text) != code]
    assert len(wrong) <= allowed * len(texts), wrong
