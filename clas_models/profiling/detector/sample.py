"""The corpus as the detector sees it: its texts by language, and the scripts and letters of each."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from .token_text import plain, script

# Letters of the national alphabets in lower case, as the Unicode Common Locale Data Repository lists them: a small
# sample of text does not show all of them.
_LATIN = "abcdefghijklmnopqrstuvwxyz'-"
_ARABIC = "ءآأؤإئابةتثجحخدذرزسشصضطظعغفقكلمنهوىيًٌٍَُِّْٰـ"

ALPHABETS: dict[str, frozenset[str]] = {
    code: frozenset(letters)
    for code, letters in {
        "ar": _ARABIC,
        "bg": "абвгдежзийклмнопрстуфхцчшщъьюяѝ",
        "de": _LATIN + "äöüß",
        "el": "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ",
        "en": _LATIN,
        "es": _LATIN + "áéíóúüñ",
        "fr": _LATIN + "àâæçèéêëîïôœùûüÿ",
        "ro": _LATIN + "ăâîșțşţ",
        "ru": "абвгдежзийклмнопрстуфхцчшщъыьэюяё",
        "sw": _LATIN,
        "tr": _LATIN + "çğıöşüâîû\u0307",
        "ur": "ءآأؤئابپتٹثجچحخدڈذرڑزژسشصضطظعغفقکگلمنںهھہۂوۃیےۓًَُِّٰ",
        "vi": _LATIN + "ăâđêôơưàảãáạằẳẵắặầẩẫấậèẻẽéẹềểễếệìỉĩíịòỏõóọồổỗốộờởỡớợùủũúụừửữứựỳỷỹýỵ",
    }.items()
}


@dataclass(frozen=True)
class Sample:
    """The corpus by language; the anchor is the first of `codes`.

    An alphabet is None where it is not known: a sample shows few of the signs of Chinese.
    """

    codes: list[str]
    texts: list[list[str]]
    scripts: list[frozenset[str]]
    alphabets: list[frozenset[str] | None]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, str]], anchor: str) -> Self:
        codes = list(dict.fromkeys([anchor, *(code for row in rows for code in row)]))
        texts = [[row[code] for row in rows if code in row] for code in codes]
        seen = [frozenset(plain("".join(sentences))) for sentences in texts]
        known = [ALPHABETS.get(code) for code in codes]
        alphabets = [letters and letters | more for letters, more in zip(known, seen, strict=True)]
        return cls(codes, texts, [_scripts(sentences) for sentences in texts], alphabets)

    def shared_scripts(self) -> frozenset[str]:
        """Scripts of more than one language: only there letters must tell languages apart."""
        uses = Counter(name for scripts in self.scripts for name in scripts)
        return frozenset(name for name, number in uses.items() if number > 1)


def _scripts(sentences: Iterable[str]) -> frozenset[str]:
    """The scripts that a language is written in: those of at least a tenth of the letters of its sentences."""
    found = Counter(script(char) for char in "".join(sentences) if char.isalpha())
    return frozenset(name for name, number in found.items() if 10 * number >= found.total())
