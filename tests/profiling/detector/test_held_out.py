"""The accuracy that the converter reports, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
from trained_tokenizers import builtin_rows

from clas_models.errors import InputError
from clas_models.profiling.detector.detector_building import DetectorAccuracy, build_detector, judge

from .conftest import OTHER, Made

Rows = list[dict[str, str]]
LANGUAGES = ["en", "de"]


def judged(tokenizer: Any, rows: Rows, languages: list[str], anchor: str, vocab_size: int | None = None) -> Any:
    return judge(tokenizer, rows, languages, anchor, vocab_size)[0]


def rows_of(*codes: str) -> Rows:
    return [{code: row[code] for code in codes} for row in builtin_rows()[:50]]


def test_every_fifth_row_is_asked_about(trained: Any) -> None:
    rows = rows_of("en", "de", "ru")
    assert judged(trained, rows, LANGUAGES, "en") == DetectorAccuracy(30, 1.0, 1.0, 1.0)


def test_shares_are_those_of_a_detector_without_these_rows(trained: Any) -> None:
    """Some texts are in another language than their column says."""
    rows = rows_of("en", "de", "ru")
    for number, wrong in ((0, {"de": rows[0]["en"]}), (5, {"ru": rows[5]["de"]}), (10, {"en": rows[10]["ru"]})):
        rows[number] |= wrong
    kept = [row for number, row in enumerate(rows) if number % 5]
    made = Made(build_detector(trained, kept, LANGUAGES, "en"), trained, tuple(LANGUAGES))
    answers = [(code, made.language(text)) for row in rows[::5] for code, text in row.items()]
    anchor = [found == "en" for code, found in answers if code == "en"]
    expected = DetectorAccuracy(
        rows=30,
        anchor_or_not=sum((code == "en") == (found == "en") for code, found in answers) / 30,
        language=sum(found == (code if code in LANGUAGES else OTHER) for code, found in answers) / 30,
        anchor=sum(anchor) / 10,
    )
    assert (expected.anchor_or_not, expected.language, expected.anchor) == (28 / 30, 27 / 30, 9 / 10)
    assert judged(trained, rows, LANGUAGES, "en") == expected


def test_the_detector_that_is_judged_has_not_seen_the_rows(trained: Any) -> None:
    """One that had would take the second script for one of German."""
    rows, russian = rows_of("en", "de"), rows_of("ru")
    for number in range(0, 50, 5):
        rows[number]["de"] = russian[number]["ru"]
    assert judged(trained, rows, LANGUAGES, "en") == DetectorAccuracy(20, 1.0, 0.5, 1.0)
    seen = Made.of(trained, LANGUAGES, "en", rows)
    assert seen.language(russian[1]["ru"]) == "de"


def test_languages_that_cannot_be_told_apart_are_all_taken_for_the_anchor(trained: Any) -> None:
    rows = [{"en": row["en"], "de": row["en"], "ru": row["en"]} for row in rows_of("en")]
    assert judged(trained, rows, LANGUAGES, "en") == DetectorAccuracy(30, 1 / 3, 1 / 3, 1.0)


def test_a_larger_embedding_changes_nothing(trained: Any) -> None:
    rows = rows_of("en", "de")
    larger = judged(trained, rows, LANGUAGES, "en", len(trained) + 100)
    assert larger == judged(trained, rows, LANGUAGES, "en")


def test_faults_are_those_of_the_detector(trained: Any) -> None:
    with pytest.raises(InputError, match="detector: its corpus lacks fr; it has en, de"):
        judged(trained, rows_of("en", "de"), ["en", "fr"], "en")
    with pytest.raises(InputError, match="detector: the corpus has no rows"):
        judged(trained, [], LANGUAGES, "en")


def test_one_line_for_a_person() -> None:
    assert str(DetectorAccuracy(512, 0.998, 0.9871, 1.0)) == (
        "anchor or not right in 99.8%, the language in 98.7%, the anchor kept in 100.0% of 512 held-out texts"
    )
