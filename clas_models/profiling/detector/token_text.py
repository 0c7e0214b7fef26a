"""What a token says by itself: its bytes, whether it begins a word, its script and its letters."""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Any

# Signs that may stand at the edge of a word.  Any other sign makes the token code, markup or a list of numbers.
_EDGE = " \t\n\r\"“”„«»‘’'`´()[]¿¡-–—,;:!?。，、「」《》（）！？：；،؛؟।۔…"
# Letters right behind one of these are part of an address, a formula or code.
_CODE_SIGNS = frozenset(b"/\\=&@_.#%+*~|<>$^?0123456789")
_SENTENCEPIECE_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_CAMEL_CASE = re.compile(r"[a-zа-яё][A-ZА-ЯЁ]")
_EMOJI = 0x1F600  # in the midst of them

# Scripts by the first word of a character's Unicode name, where the two differ.
_SCRIPT_NAMES = {"CJK": "HAN", "IDEOGRAPHIC": "HAN", "HALFWIDTH": "KATAKANA", "KATAKANA-HIRAGANA": "KATAKANA"}
# Signs that Unicode files under letters or marks and that any language may write: mathematics, ornaments, accents.
_NO_SCRIPT = {
    *("MATHEMATICAL", "MODIFIER", "MICRO", "FULLWIDTH", "COMBINING", "VARIATION", "MASCULINE", "FEMININE"),
    *("SUPERSCRIPT", "DOUBLE-STRUCK", "SCRIPT", "BLACK-LETTER", "KELVIN", "ANGSTROM", "OHM", "UNKNOWN", "SUBSCRIPT"),
}


@dataclass(frozen=True)
class TokenText:
    """One token.

    Attributes:
        raw: its bytes, as they stand in a text; empty for special tokens.
        text: its letters in lower case, a blank for each sign at its edges; None if it is not whole characters.
        scripts: the scripts that it has, or may have where a character is cut.
        letters: how many letters of those scripts it has; a cut character counts where it begins.
        starts_word: no letter before it can belong to the same word.
        capital: its first letter is upper case.
        shouts: all its letters are upper case; a single one only within a word.
        marks: it is nothing but accents that belong to a letter before it.
    """

    raw: bytes
    text: str | None
    scripts: frozenset[str]
    letters: float
    starts_word: bool
    capital: bool
    shouts: bool = False
    marks: bool = False

    @property
    def speaks(self) -> bool:
        """Whether it can tell a language at all: digits, signs, code and special tokens cannot."""
        return bool(self.scripts) or self.marks or (self.text is None and bool(self.raw))

    @property
    def leads_code(self) -> bool:
        """Whether letters right behind it, without a blank, are no word of a text."""
        return not self.letters and bool(self.raw) and self.raw[-1] in _CODE_SIGNS


def read_tokens(tokenizer: Any, vocab_size: int) -> list[TokenText]:
    """All tokens of a tokenizer, by id; ids without a token are empty."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values()}
    vocabulary = tokenizer.get_vocab()
    by_id = {index: token for token, index in vocabulary.items() if token not in special}
    # "Ġ" alone does not tell: it is a letter of Maltese.
    to_bytes = _byte_level if "Ġ" in vocabulary and "▁" not in vocabulary else _sentencepiece
    return [_read(to_bytes(by_id[index]) if index in by_id else b"") for index in range(vocab_size)]


def plain(text: str) -> str:
    """Text as the byte model reads it: letters in lower case, one blank between words, apostrophes kept."""
    kept = (char if char == "'" or _is_letter(char) else " " for char in text.replace("’", "'").lower())
    return re.sub(" +", " ", "".join(kept))


def _read(raw: bytes) -> TokenText:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return _read_cut(raw)
    core = text.strip(_EDGE)
    letters = [char for char in core if _is_letter(char)]
    if not letters or _is_code(core):
        return TokenText(raw, "", frozenset(), 0.0, _starts_word(text), False)
    scripts = frozenset(script(char) for char in letters) - _NO_SCRIPT
    starts = _starts_word(text)
    return TokenText(
        raw,
        plain(text),
        scripts,
        float(len(letters)),
        starts,
        capital=letters[0].isupper(),
        shouts="".join(letters).isupper() and (len(letters) > 1 or not starts),
        marks=all(map(unicodedata.combining, text)),
    )


def _read_cut(raw: bytes) -> TokenText:
    """A token that begins or ends within a character."""
    ranges = _character_ranges(raw)
    scripts = [_range_scripts(first, last) for first, last in ranges]
    starts = raw[:1] in (b" ", b"\n")
    # Where the lead bytes leave open what the characters are, the counts must tell.
    if not ranges or not all(scripts):
        return TokenText(raw, None, frozenset(), 0.0, starts, False)
    return TokenText(raw, None, frozenset().union(*scripts), float(len(ranges)), starts, False)


def _character_ranges(raw: bytes) -> list[tuple[int, int]]:
    """First and last code point that each character in the bytes can be; continuation bytes at the front are left."""
    ranges: list[tuple[int, int]] = []
    place = 0
    while place < len(raw):
        size = _utf8_size(raw[place])
        if size:
            piece = raw[place : place + size]
            low = _completed(piece, size, b"\x80\x90\xa0", b"\x80")
            high = _completed(piece, size, b"\xbf\x9f\x8f", b"\xbf")
            if low is not None and high is not None and low > 0x7F:
                ranges.append((low, high))
        place += max(size, 1)
    return ranges


def _completed(piece: bytes, size: int, next_bytes: bytes, others: bytes) -> int | None:
    """The code point of a cut character with the first of `next_bytes` that makes it one, and `others` behind it."""
    for byte in next_bytes:
        try:
            return ord((piece + bytes([byte]) + others * 2)[:size].decode())
        except UnicodeDecodeError:
            continue
    return None


def _utf8_size(byte: int) -> int:
    """Bytes of the character that this byte leads; 0 for one that leads none."""
    if byte < 0x80:
        return 1
    return 2 if 0xC2 <= byte <= 0xDF else 3 if 0xE0 <= byte <= 0xEF else 4 if 0xF0 <= byte <= 0xF4 else 0


@cache
def _range_scripts(first: int, last: int) -> frozenset[str]:
    """Scripts of a range of code points; none if it has emoji, or not more letters than signs."""
    if first < _EMOJI < last:
        return frozenset()
    # 256 samples show the scripts of a range: no block of a script is smaller than that in a range so large.
    chars = [chr(code) for code in range(first, last + 1, max(1, (last - first) // 256))]
    names = [script(char) for char in chars if _is_letter(char)]
    found = [name for name in names if name not in _NO_SCRIPT]
    assigned = sum(unicodedata.category(char) != "Cn" for char in chars)
    return frozenset(found) if 2 * len(found) > assigned else frozenset()


def _is_letter(char: str) -> bool:
    return unicodedata.category(char)[0] in "LM"


@cache
def script(char: str) -> str:
    """The script of a letter, in capitals: LATIN, CYRILLIC, HAN, ..."""
    name = unicodedata.name(char, "UNKNOWN").split(" ", 1)[0]
    return _SCRIPT_NAMES.get(name, name)


def _is_code(core: str) -> bool:
    inner_signs = any(not _is_letter(char) and char not in " '’-" for char in core)
    return inner_signs or bool(_CAMEL_CASE.search(core))


def _starts_word(text: str) -> bool:
    """Whether the token cannot continue the word before it: a blank or a sign comes first."""
    return bool(text) and not _is_letter(text[0]) and text[0] not in "'’"


@cache
def _byte_of_char() -> dict[str, int]:
    """The bytes that byte-level tokenizers write as printable characters (the table of GPT-2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    return table | {chr(256 + place): byte for place, byte in enumerate(others)}


def _byte_level(token: str) -> bytes:
    table = _byte_of_char()
    return bytes(table[char] for char in token) if all(char in table for char in token) else token.encode()


def _sentencepiece(token: str) -> bytes:
    byte = _SENTENCEPIECE_BYTE.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace("▁", " ").encode()
