"""XNLI: pairs of sentences, the same 2490 of the development set in 15 languages.

A text is the premise, a newline and the hypothesis; the labels are left out.  Local files are read in the layouts of
XTREME (one file a language, rows in the same order) and of the official archive (all languages in one file).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import InputError
from .hub_table import HubTable, check_reachable
from .languages import pick_languages
from .parallel_corpus import ParallelCorpus, align, corpus_folder, index_rows, join_text
from .text_file import text_lines

HUB_LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")

_REPO = "facebook/xnli"
_REMEDY = "give the folder with the files dev-LANG.tsv or with xnli.dev.tsv as --data-dir"
_OFFICIAL = ("xnli.dev.tsv", "xnli.test.tsv")
_COLUMNS = ("language", "pairID", "sentence1", "sentence2")


def load_xnli(languages: tuple[str, ...] | None, data_dir: Path | None) -> ParallelCorpus:
    """XNLI from `dev-LANG.tsv`, `xnli.dev.tsv` or `xnli.test.tsv`, the first found in `data_dir`, else from the Hub.

    Raises:
        InputError: files that are missing or are not in a known layout, a language that is not there, a row that one
            language lacks, or a Hub that cannot be reached.
    """
    if data_dir is None:
        picked = pick_languages(languages, HUB_LANGUAGES, "xnli")
        check_reachable(_REPO, _REMEDY)
        return _corpus(picked, {language: dict(enumerate(_hub_texts(language))) for language in picked})
    folder = corpus_folder(data_dir, ["xnli", "XNLI-1.0"], ["dev-*.tsv", *_OFFICIAL], "xnli")
    files = {path.stem.removeprefix("dev-").lower(): path for path in sorted(folder.glob("dev-*.tsv"))}
    if files:
        picked = pick_languages(languages, files, "xnli")
        return _corpus(picked, {language: dict(enumerate(_xtreme_texts(files[language]))) for language in picked})
    texts = _official_texts(next(folder / name for name in _OFFICIAL if (folder / name).is_file()))
    return _corpus(pick_languages(languages, sorted(texts), "xnli"), texts)


def _corpus(languages: tuple[str, ...], texts: Mapping[str, Mapping[Any, str]]) -> ParallelCorpus:
    return ParallelCorpus("xnli", languages, align({language: texts[language] for language in languages}, "xnli"))


def _hub_texts(language: str) -> Iterator[str]:
    for number, row in enumerate(HubTable.open(_REPO, language, _REMEDY), start=1):
        yield join_text([row["premise"], row["hypothesis"]], f"{_REPO}, {language}, row {number}")


def _xtreme_texts(path: Path) -> Iterator[str]:
    for place, cells in _lines(path):
        if len(cells) != 3:
            raise InputError(f"{place}: {len(cells)} columns, not premise, hypothesis and label; mend the line")
        yield join_text(cells[:2], place)


def _official_texts(path: Path) -> dict[str, dict[str, str]]:
    lines = _lines(path)
    header = next(lines, ("", []))[1]
    missing = [column for column in _COLUMNS if column not in header]
    if missing:
        raise InputError(f"{path}, line 1: no column {', '.join(missing)} in the header; download the file again")
    language, identity, premise, hypothesis = (header.index(column) for column in _COLUMNS)
    pairs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for place, cells in lines:
        if len(cells) != len(header):
            raise InputError(f"{place}: {len(cells)} columns, the header has {len(header)}; mend the line")
        pairs[cells[language]].append((cells[identity], join_text([cells[premise], cells[hypothesis]], place)))
    return {code: index_rows(rows, f"{path}, {code}") for code, rows in pairs.items()}


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    # Quotes are text here: the files are not CSV.
    return ((place, line.split("\t")) for place, line in text_lines(path))
