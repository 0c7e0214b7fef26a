"""What a corpus is, and the rules that hold for all of them: complete rows, non-empty text, a range of rows.

Where rows come from is left to the other modules of this folder.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ...errors import InputError

Row = dict[str, str]


@dataclass(frozen=True)
class ParallelCorpus:
    """Rows that say the same in every language.

    Attributes:
        name: `builtin`, `xquad`, `xnli`, the name of a file, or a Hub id.
        languages: the codes, in the order of the rows' keys.
        rows: can be iterated again and again; each row has a non-empty text in every language.
    """

    name: str
    languages: tuple[str, ...]
    rows: Iterable[Row]


@dataclass(frozen=True)
class RowRange:
    """`count` rows of a corpus from `start` on, read from the source again on every iteration."""

    rows: Iterable[Row]
    start: int
    count: int

    def __iter__(self) -> Iterator[Row]:
        return islice(iter(self.rows), self.start, self.start + self.count)

    def __len__(self) -> int:
        return self.count


def select_rows(corpus: ParallelCorpus, skip: int, samples: int | None, *, fewer: bool = False) -> ParallelCorpus:
    """The corpus cut down to `samples` rows after the first `skip`, each of them read once to find faults early.

    Its rows have a length.  With `fewer`, a corpus that has fewer than `samples` rows gives those that it has.

    Raises InputError: a negative `skip`, `samples` below 1, fewer rows than asked for, or a row that cannot be used.
    """
    if skip < 0:
        raise InputError(f"skip is {skip}: give 0 or more")
    if samples is not None and samples < 1:
        raise InputError(f"samples is {samples}: give 1 or more")
    stop = None if samples is None else skip + samples
    total = sum(1 for _ in islice(iter(corpus.rows), stop))
    if total <= skip or (stop is not None and total < stop and not fewer):
        wanted = f"{skip} to skip and {1 if samples is None else samples} to read"
        raise InputError(f"corpus {corpus.name} has only {total} rows, asked for {wanted}: ask for fewer")
    return replace(corpus, rows=RowRange(corpus.rows, skip, total - skip))


def join_text(parts: Iterable[object], place: str) -> str:
    """The parts joined by newlines. Raises InputError: one is missing, blank, no string, or holds half a character."""
    texts = []
    for part in parts:
        if not isinstance(part, str):
            raise InputError(f"{place}: the text is {type(part).__name__}, not a string; write a non-empty text there")
        if not part.strip():
            raise InputError(f"{place}: the text is empty; write a non-empty text there, or remove the row everywhere")
        try:
            part.encode()
        except UnicodeEncodeError:
            raise InputError(f"{place}: the text holds a lone surrogate, half a character; mend the text") from None
        texts.append(part)
    return "\n".join(texts)


def index_rows(pairs: Iterable[tuple[str, str]], place: str) -> dict[str, str]:
    """Texts by id, in their order. Raises InputError: the same id twice."""
    indexed: dict[str, str] = {}
    for identity, text in pairs:
        if identity in indexed:
            raise InputError(f"{place}: the id {identity!r} is there twice; every row needs an id of its own")
        indexed[identity] = text
    return indexed


def align(texts: Mapping[str, Mapping[Any, str]], corpus: str) -> list[Row]:
    """Rows from the texts of every language, matched by key, in the order of the first language.

    Raises InputError: a key that one language has and another has not; names the row and the language.
    """
    first = next(iter(texts))
    for language in texts:
        for present, absent in ((first, language), (language, first)):
            for number, key in enumerate(texts[present], start=1):
                if key not in texts[absent]:
                    row = f"row {number} (id {key})" if isinstance(key, str) else f"row {number}"
                    raise InputError(
                        f"corpus {corpus}: {row} is missing in {absent}, while {present} has it; "
                        f"complete {absent} or leave it out of the languages"
                    )
    return [{language: texts[language][key] for language in texts} for key in texts[first]]


def corpus_folder(data_dir: Path, subfolders: Iterable[str], patterns: Iterable[str], corpus: str) -> Path:
    """The folder that holds a corpus' files: `data_dir` itself or one of its `subfolders`.

    Raises InputError: no such folder, or no file in it that fits one of the patterns.
    """
    if not data_dir.is_dir():
        raise InputError(f"data_dir {data_dir} is not a folder: give the one that holds the files of {corpus}")
    patterns = tuple(patterns)
    for folder in (data_dir, *(data_dir / name for name in subfolders)):
        if any(path.is_file() for pattern in patterns for path in folder.glob(pattern)):
            return folder
    raise InputError(f"data_dir {data_dir} holds no {' or '.join(patterns)}: give the folder with {corpus}")
