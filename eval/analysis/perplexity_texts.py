"""The texts of a perplexity change: the same parallel rows of a corpus in every language, as windows of tokens.

Rows are read one after the other, from the first on, until the next one would give some language more tokens than were
asked for.  A text that is longer than a window goes on in the next one, which begins without what precedes it.
"""

import hashlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from clas_models.errors import InputError
from clas_models.profiling.corpora import ParallelCorpus
from clas_models.profiling.seen_text import SeenText

LEAST = 2  # texts: the intervals are over texts


@dataclass(frozen=True)
class Text:
    """One language's side of the rows.

    Attributes:
        windows: token ids, of one row after the other; each has at least two, for the first is not predicted.
        rows: int `[windows]`, which row each belongs to.
    """

    windows: tuple[Sequence[int], ...]
    rows: tuple[int, ...]

    @cached_property
    def tokens(self) -> int:
        """How many are predicted."""
        return sum(len(window) - 1 for window in self.windows)

    @property
    def digest(self) -> str:
        """SHA-256 of the windows, the first digits in hexadecimal."""
        digest = hashlib.sha256()
        for window in self.windows:
            digest.update(array("q", window).tobytes() + b"|")
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Texts:
    """The texts of all languages.

    Attributes:
        rows: how many rows of the corpus these are.
        by_language: in the order of the corpus' languages.
        profiled: how many of the rows have a line that was profiled, by language.
    """

    corpus: str
    rows: int
    by_language: Mapping[str, Text]
    profiled: Mapping[str, int]

    @classmethod
    def of(
        cls,
        corpus: ParallelCorpus,
        encode: Callable[[str], Sequence[int]],
        tokens: int,
        window: int,
        seen: SeenText | None = None,
    ) -> Self:
        """The first rows of a corpus that give no language more than `tokens` predicted tokens.

        Args:
            encode: a text to token ids.
            tokens: the most of a language, reached by the language whose texts have most.
            window: the most tokens of a window, those included that are not predicted.
            seen: which text was profiled.

        Raises InputError: fewer than two rows fit, or the corpus has fewer tokens in every language.
        """
        windows: dict[str, list[Sequence[int]]] = {code: [] for code in corpus.languages}
        places: dict[str, list[int]] = {code: [] for code in corpus.languages}
        counts = dict.fromkeys(corpus.languages, 0)
        profiled = dict.fromkeys(corpus.languages, 0)
        rows, full = 0, False
        for row in corpus.rows:
            found = {code: _windows(encode(row[code]), window) for code in corpus.languages}
            after = {code: counts[code] + sum(len(each) - 1 for each in found[code]) for code in corpus.languages}
            if full := max(after.values()) > tokens:
                break
            for code, given in found.items():
                windows[code] += given
                places[code] += [rows] * len(given)
                profiled[code] += bool(seen and seen.has(row[code]))
            counts, rows = after, rows + 1
        _check(corpus.name, rows, tokens, counts, after, full=full)
        by_language = {code: Text(tuple(windows[code]), tuple(places[code])) for code in corpus.languages}
        return cls(corpus.name, rows, by_language, profiled)

    @property
    def tokens(self) -> dict[str, int]:
        return {code: text.tokens for code, text in self.by_language.items()}

    def settings(self) -> dict[str, Any]:
        """What a result depends on."""
        return {"rows": self.rows, "digests": {code: text.digest for code, text in self.by_language.items()}}


def _windows(ids: Sequence[int], size: int) -> list[Sequence[int]]:
    """A last window of one token predicts nothing and is left out."""
    parts = [array("q", ids[start : start + size]) for start in range(0, len(ids), size)]
    return [part for part in parts if len(part) > 1]


def _check(
    corpus: str, rows: int, tokens: int, counts: Mapping[str, int], after: Mapping[str, int], *, full: bool
) -> None:
    most = max(after, key=after.__getitem__)
    if not full and counts[most] < tokens:
        raise InputError(
            f"tokens {tokens:,}: corpus {corpus} has only {counts[most]:,} in {most}, the language with most; give "
            f"--tokens {counts[most]} or a larger corpus"
        )
    if rows < LEAST:
        raise InputError(
            f"tokens {tokens:,}: too few for {LEAST} rows of corpus {corpus} in {most}, where row {rows + 1} ends at "
            f"token {after[most]:,}; give more --tokens"
        )
    if silent := [code for code, count in counts.items() if not count]:
        raise InputError(f"corpus {corpus}: no token to predict in {', '.join(silent)}; leave it out of --languages")
