"""The quality of the corpora that come with the package, row by row and language by language."""

import re
import unicodedata
from collections import Counter

import pytest

from clas_models.profiling.corpora import BUILTIN_LANGUAGES, NEIGHBOURS, load_corpus

SCRIPTS = {
    "ar": "ARABIC",
    "bg": "CYRILLIC",
    "el": "GREEK",
    "hi": "DEVANAGARI",
    "ru": "CYRILLIC",
    "th": "THAI",
    "ur": "ARABIC",
    "zh": "CJK",
    "fa": "ARABIC",
    "mr": "DEVANAGARI",
    "ne": "DEVANAGARI",
    "uk": "CYRILLIC",
}
# Those of the built-in corpus that the neighbours' sentences translate.
_PROSE = (
    *(0, 1, 2, 3, 5, 6, 7, 10, 11, 13, 14, 17, 19, 20, 21, 25, 26, 27, 30, 32, 33, 37, 44, 45, 48, 52, 54),
    60,
    69,
    83,
)
_SPEECH = (*range(100, 109), 110, 113, 116, 117, 118, 120, 121, 125, 127, 130, 132, 135, 138)
_FORMAL = (140, 142, 143, 144, 147, 148, 150, 152)
TRANSLATED = (*_PROSE, *_SPEECH, *_FORMAL)
JOINERS = "\u200c\u200d"  # letters of Persian, Marathi and Nepali are told apart by them


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


# ---- the neighbours


@pytest.fixture(scope="module")
def neighbours():
    return list(load_corpus("neighbours").rows)


def test_neighbours_are_60_complete_rows_in_16_other_languages(neighbours):
    assert len(neighbours) == len(TRANSLATED) == 60
    assert len(NEIGHBOURS) == 16
    assert not set(NEIGHBOURS) & set(BUILTIN_LANGUAGES)
    for row in neighbours:
        assert tuple(row) == NEIGHBOURS
        assert all(row.values())


@pytest.mark.parametrize("language", NEIGHBOURS)
def test_neighbours_are_clean_text_in_their_script(neighbours, language):
    texts = [row[language] for row in neighbours]
    assert len(set(texts)) == len(texts)
    for text in texts:
        assert text == unicodedata.normalize("NFC", text)
        assert text == " ".join(text.split())
        kept = text.translate(dict.fromkeys(map(ord, JOINERS)))
        assert not [char for char in kept if unicodedata.category(char) in ("Cc", "Cf", "Cn", "Co")]
    script = SCRIPTS.get(language, "LATIN")
    assert [text for text in texts if share_in_script(text.replace("\u200d", ""), script) <= 0.95] == []


@pytest.mark.parametrize("language", NEIGHBOURS)
def test_neighbours_have_the_numerals_and_the_questions_of_the_english_sentence(rows, neighbours, language):
    for place, row in zip(TRANSLATED, neighbours, strict=True):
        assert numerals(row[language]) == numerals(rows[place]["en"])
        assert row[language].endswith(("?", "؟")) == rows[place]["en"].endswith("?")


@pytest.mark.parametrize("language", [code for code in NEIGHBOURS if code not in ("jv", "ne")])
def test_language_identifier_agrees_about_the_neighbours(neighbours, language):
    """It knows no Javanese and no Nepali."""
    lingua = pytest.importorskip("lingua", reason="the extra 'test' brings the language identifier")
    codes = [
        getattr(lingua.IsoCode639_1, code.upper())
        for code in (*BUILTIN_LANGUAGES, *NEIGHBOURS)
        if code not in ("jv", "ne")
    ]
    detector = lingua.LanguageDetectorBuilder.from_iso_codes_639_1(*codes).build()
    found = [detector.detect_language_of(row[language]) for row in neighbours]
    agreed = sum(guess is not None and guess.iso_code_639_1.name.lower() == language for guess in found)
    assert agreed >= 0.9 * len(neighbours)
