"""What a token says by itself, in vocabularies of both kinds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from clas_models.profiling.detector.token_text import TokenText, plain, read_tokens, script

LATIN = frozenset({"LATIN"})
NONE: frozenset[str] = frozenset()
CUT_LETTERS = [
    ("猫", 0, 1, {"HAN"}),
    ("猫", 0, 2, {"HAN"}),
    ("中猫", 0, 4, {"HAN"}),
    ("한", 0, 2, {"HANGUL"}),
    ("я", 0, 1, {"CYRILLIC"}),
    ("é", 0, 1, {"LATIN"}),
    ("त", 0, 2, {"DEVANAGARI"}),
    ("เ", 0, 2, {"THAI"}),
    ("ế", 0, 2, {"LATIN"}),
    ("の", 0, 2, {"HIRAGANA"}),
    ("𠀀", 0, 2, {"HAN"}),
]
CUT_SIGNS = [
    ("猫", 1, 3),  # the end of a character
    ("猫", 2, 3),
    ("😀", 0, 1),  # all emoji begin like this, and rare signs of Chinese
    ("😀", 0, 2),
    ("😀", 0, 3),
    ("…", 0, 1),  # signs, and a few rare scripts
    ("…", 0, 2),
    ("、", 0, 2),
    ("\ufe0f", 0, 1),
    ("ℹ", 0, 2),
    ("猫…", 0, 5),
    ("«", 0, 1),
]


def tokenizer_of(tokens: Sequence[str]) -> PreTrainedTokenizerFast:
    """A tokenizer with this vocabulary, `<s>` in front."""
    vocab = {token: index for index, token in enumerate(["<s>", *tokens])}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocab=vocab, merges=[])), bos_token="<s>")


def byte_level(text: str, start: int = 0, stop: int | None = None) -> str:
    """The bytes `start` to `stop` of a text, as a byte-level vocabulary writes them."""
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)
    return "".join(piece for piece, _ in pieces)[start:stop]


def read_byte_level(text: str, start: int = 0, stop: int | None = None) -> TokenText:
    return read_tokens(tokenizer_of([byte_level(text, start, stop), "Ġ"]), 2)[1]


def read_sentencepiece(token: str) -> TokenText:
    return read_tokens(tokenizer_of([token, "▁"]), 2)[1]


@pytest.mark.parametrize(
    ("text", "letters", "scripts", "count", "starts_word", "capital"),
    [
        (" Haus", " haus", {"LATIN"}, 4, True, True),
        ("haus", "haus", {"LATIN"}, 4, False, False),
        ("ÜBER", "über", {"LATIN"}, 4, False, True),
        (' ("Der', " der", {"LATIN"}, 3, True, True),
        ("end!\n\n", "end ", {"LATIN"}, 3, False, False),
        (" don't", " don't", {"LATIN"}, 4, True, False),
        ("’s", "'s", {"LATIN"}, 1, False, False),
        (" co-op", " co op", {"LATIN"}, 4, True, False),
        (" a b", " a b", {"LATIN"}, 2, True, False),
        (" Привет", " привет", {"CYRILLIC"}, 6, True, True),
        (" हिन्दी", " हिन्दी", {"DEVANAGARI"}, 6, True, False),
        ("猫の日", "猫の日", {"HAN", "HIRAGANA"}, 3, False, False),
        ("한국", "한국", {"HANGUL"}, 2, False, False),
        ("，我们", " 我们", {"HAN"}, 2, True, False),
    ],
)
def test_text(text: str, letters: str, scripts: set[str], count: int, starts_word: bool, capital: bool) -> None:
    expected = TokenText(text.encode(), letters, frozenset(scripts), count, starts_word, capital, text == "ÜBER")
    assert read_byte_level(text) == expected
    assert read_sentencepiece(text.replace(" ", "▁")) == expected
    assert expected.speaks


@pytest.mark.parametrize(
    "text",
    [
        "  ",
        "\n\n",
        "7",
        " 2024",
        "3rd",
        "...",
        " —",
        "%",
        "=>",
        "</div>",
        "my_name",
        "fileName",
        ".com",
        "end.",
        "x=1",
        "µ",
        "😀",
        "ª",
    ],
)
def test_signs_digits_and_code_do_not_speak(text: str) -> None:
    for token in (read_byte_level(text), read_sentencepiece(text.replace(" ", "▁"))):
        assert token.raw == text.encode()
        assert not token.speaks
        assert token.scripts == NONE


@pytest.mark.parametrize(("text", "start", "stop", "scripts"), CUT_LETTERS)
def test_letters_that_are_cut_have_the_script_of_all_that_they_can_be(
    text: str, start: int, stop: int, scripts: set[str]
) -> None:
    token = read_byte_level(text, start, stop)
    assert token == TokenText(text.encode()[start:stop], None, frozenset(scripts), len(text), False, False)
    assert read_byte_level(" " + text, start, stop + 1).starts_word


def test_a_lead_byte_of_several_scripts_has_all_of_them() -> None:
    indic, extended = read_byte_level("த", 0, 1), read_byte_level("ế", 0, 1)
    assert {"TAMIL", "DEVANAGARI", "THAI"} <= indic.scripts
    assert "LATIN" not in indic.scripts
    assert {"LATIN", "GEORGIAN", "ETHIOPIC"} <= extended.scripts


@pytest.mark.parametrize(("text", "start", "stop"), CUT_SIGNS)
def test_bytes_that_may_be_a_sign_have_no_script_and_are_left_to_the_counts(text: str, start: int, stop: int) -> None:
    token = read_byte_level(text, start, stop)
    assert token == TokenText(text.encode()[start:stop], None, NONE, 0.0, False, False)
    assert token.speaks


@pytest.mark.parametrize(
    ("token", "raw", "scripts"),
    [("<0xE7>", b"\xe7", {"HAN"}), ("<0x8C>", b"\x8c", NONE), ("<0xF0>", b"\xf0", NONE), ("<0x41>", b"A", {"LATIN"})],
)
def test_bytes_of_sentencepiece(token: str, raw: bytes, scripts: set[str]) -> None:
    found = read_sentencepiece(token)
    assert (found.raw, found.scripts) == (raw, frozenset(scripts))


def test_a_letter_of_maltese_does_not_make_a_vocabulary_byte_level() -> None:
    tokens = read_tokens(tokenizer_of(["▁", "▁ħobż", "Ġ", "ġ"]), 5)
    assert [token.raw.decode() for token in tokens] == ["", " ", " ħobż", "Ġ", "ġ"]
    assert tokens[3] == TokenText("Ġ".encode(), "ġ", LATIN, 1, False, True, shouts=True)


def test_special_tokens_and_ids_without_a_token_are_empty() -> None:
    tokens = read_tokens(tokenizer_of(["Ġ", "a"]), 5)
    empty = TokenText(b"", "", NONE, 0.0, False, False)
    assert [token == empty for token in tokens] == [True, False, False, True, True]
    assert not empty.speaks
    assert len(read_tokens(tokenizer_of(["Ġ", "a"]), 2)) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [("/", True), ("://", True), ("12", True), (" =", True), ("].", True), ("x_1", True), ("/ ", False), (".\n", False)]
    + [(text, False) for text in (" ", "(", " “", ",", ":", "-", "a", "an", "é")],
)
def test_letters_right_behind_a_sign_of_code_are_code(text: str, expected: bool) -> None:
    assert read_byte_level(text).leads_code is expected


def test_no_letters_follow_special_tokens_and_cut_characters_as_code() -> None:
    assert not read_tokens(tokenizer_of(["Ġ"]), 1)[0].leads_code
    assert not read_byte_level("猫", 0, 2).leads_code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("L’été, c'est  BEAU!", "l'été c'est beau "),
        ("(2024) x+y\n", " x y "),
        ("我们，走。", "我们 走 "),
        ("İzmir", "i\u0307zmir"),
        ("", ""),
    ],
)
def test_plain_text(text: str, expected: str) -> None:
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("char", "name"),
    [
        ("ß", "LATIN"),
        ("ё", "CYRILLIC"),
        ("ㅎ", "HANGUL"),
        ("々", "HAN"),
        ("ー", "KATAKANA"),
        ("ｱ", "KATAKANA"),
        ("ไ", "THAI"),
    ],
)
def test_scripts_of_letters(char: str, name: str) -> None:
    assert script(char) == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("ÜBER", True), (" POR", True), ("A", True), ("ПРИ", True)),
        *((" A", False), (" Der", False), ("R2D2", False), ("हिन्दी", False), ("猫", False), ("!", False), ("", False)),
    ],
)
def test_words_and_pieces_in_capitals(text: str, expected: bool) -> None:
    """A single letter is one only within a word."""
    assert read_byte_level(text).shouts is expected


def test_accents_without_a_letter_speak() -> None:
    """They are pieces of decomposed text."""
    accent = read_byte_level("\u0301")
    assert (accent.marks, accent.scripts, accent.starts_word, accent.speaks) == (True, NONE, False, True)
    assert not read_byte_level("e\u0301").marks
    assert not read_byte_level("7").marks
