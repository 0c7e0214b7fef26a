"""How people write: in capitals, without capitals or accents, with accents as signs of their own.

A tokenizer cuts each of these in its own way, so the tokens of one say little about those of another.
"""

import unicodedata
from collections.abc import Callable, Sequence

# Letters that lose a stroke or a dot where people write without accents, and have no decomposition in Unicode.
_STROKES = str.maketrans({"đ": "d", "Đ": "D", "ı": "i", "ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "ß": "ss"})
_ACCENTED_SCRIPTS = ("LATIN", "GREEK")


def decomposed(text: str) -> str:
    """Letters and their accents apart (NFD), as some systems and PDF files give them."""
    return unicodedata.normalize("NFD", text)


def without_accents(text: str) -> str:
    """Accents left out, where letters of the script are legible without them; other scripts stay as they are."""
    kept: list[str] = []
    accented = False
    for char in decomposed(text.translate(_STROKES)):
        if not unicodedata.combining(char):
            accented = unicodedata.name(char, "").startswith(_ACCENTED_SCRIPTS)
        if not (accented and unicodedata.combining(char)):
            kept.append(char)
    return unicodedata.normalize("NFC", "".join(kept))


def capitals_without_accents(text: str) -> str:
    """As signs and headlines are often written."""
    return without_accents(text).upper()


Spelling = Callable[[str], str]
# How much each counts beside the sentence as it stands.
AS_IT_STANDS: tuple[Spelling, float] = (str, 1.0)
SPELLINGS: tuple[tuple[Spelling, float], ...] = (
    (str.upper, 0.3),
    (capitals_without_accents, 0.2),
    (str.lower, 0.05),
    (without_accents, 0.1),
    (decomposed, 0.2),
)


def respelled(sentences: Sequence[str], spell: Spelling) -> list[str]:
    """The sentences in another spelling; none where it makes no difference to any of them."""
    spelled = [spell(sentence) for sentence in sentences]
    return spelled if spelled != list(sentences) else []
