"""The quality of the built-in corpus, row by row and language by language."""

import re
import unicodedata
from collections import Counter

import pytest

from clas_models.profiling.corpora import BUILTIN_LANGUAGES, load_corpus

SCRIPTS = {
    "ar": "ARABIC",
    "bg": "CYRILLIC",
    "el": "GREEK",
    "hi": "DEVANAGARI",
    "ru": "CYRILLIC",
    "th": "THAI",
    "ur": "ARABIC",
    "zh": "CJK",
}


@pytest.fixture(scope="module")
def rows():
    return list(load_corpus("builtin").rows)


@pytest.fixture(scope="module")
def detector():
    lingua = pytest.importorskip("lingua", reason="the extra 'test' brings the language identifier")
    codes = [getattr(lingua.IsoCode639_1, code.upper()) for code in BUILTIN_LANGUAGES]
    return lingua.LanguageDetectorBuilder.from_iso_codes_639_1(*codes).build()


def numerals(text):
    return Counter(int(digits) for digits in re.findall(r"\d+", text))


def share_in_script(text, script):
    letters = [char for char in text if unicodedata.category(char)[0] in "LM"]
    return sum(unicodedata.name(char).startswith(script) for char in letters) / len(letters)


def test_has_160_complete_rows_in_16_languages(rows):
    assert len(rows) == 160
    assert len(BUILTIN_LANGUAGES) == 16
    for row in rows:
        assert tuple(row) == BUILTIN_LANGUAGES
        assert all(row.values())


@pytest.mark.parametrize("language", BUILTIN_LANGUAGES)
def test_has_no_duplicates(rows, language):
    texts = [row[language] for row in rows]
    assert [text for text, count in Counter(texts).items() if count > 1] == []


@pytest.mark.parametrize("language", BUILTIN_LANGUAGES)
def test_is_clean_text(rows, language):
    for row in rows:
        text = row[language]
        assert text == unicodedata.normalize("NFC", text)
        assert text == " ".join(text.split())
        assert not [char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cn", "Co")]


def test_english_sentences_are_long_in_the_rows_that_are_profiled_by_default(rows):
    assert [row["en"] for row in rows[:100] if not 12 <= len(row["en"].split()) <= 25] == []


def test_later_rows_are_questions_and_speech_too(rows):
    later = [row["en"] for row in rows[100:]]
    assert sum(text.endswith("?") for text in later) >= 20
    assert sum("'" in text for text in later) >= 15
    assert [text for text in later if not 7 <= len(text.split()) <= 25] == []


@pytest.mark.parametrize("language", BUILTIN_LANGUAGES)
def test_is_written_in_its_script(rows, language):
    script = SCRIPTS.get(language, "LATIN")
    assert [row[language] for row in rows if share_in_script(row[language], script) <= 0.95] == []


@pytest.mark.parametrize("language", BUILTIN_LANGUAGES)
def test_has_the_numerals_of_the_english_sentence(rows, language):
    assert [row[language] for row in rows if numerals(row[language]) != numerals(row["en"])] == []


def test_some_sentences_have_numerals(rows):
    assert sum(bool(numerals(row["en"])) for row in rows) >= 20


@pytest.mark.parametrize("language", BUILTIN_LANGUAGES)
def test_language_identifier_agrees(rows, detector, language):
    found = [detector.detect_language_of(row[language]) for row in rows]
    agreed = sum(guess is not None and guess.iso_code_639_1.name.lower() == language for guess in found)
    assert agreed >= 0.97 * len(rows)
