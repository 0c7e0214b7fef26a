"""XNLI: pairs of sentences, the same 2490 of the development set in 15 languages.

A text of the corpus is the premise, a newline and the hypothesis.  Local files are read in the layouts of XTREME (one
file a language, rows in the same order) and of the official archive (all languages in one file).  The labels are read
but left to others.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from .hub_table import HubTable, check_reachable
from .languages import by_language, pick_languages
from .parallel_corpus import ParallelCorpus, align, corpus_folder, join_text
from .text_file import text_lines

HUB_LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")

REPO = "facebook/xnli"
_REMEDY = "give the folder with the files dev-LANG.tsv or with xnli.dev.tsv as --data-dir"
_OFFICIAL = ("xnli.dev.tsv", "xnli.test.tsv")
_COLUMNS = ("language", "pairID", "sentence1", "sentence2")
_LABEL = "gold_label"


@dataclass(frozen=True)
class Pair:
    """One pair as it is published; whether its texts and its label can be used is not checked.

    `place` is for messages, such as a file and a line; `key` is the same in every language: the id of the pair in an
    official file, else the number of the row from 1.  `label` is `entailment`, `neutral` or `contradiction` in a file,
    None where it has no labels; 0, 1 or 2 on the Hub.
    """

    place: str
    key: str | int
    premise: object
    hypothesis: object
    label: object


def load_xnli(languages: tuple[str, ...] | None, data_dir: Path | None) -> ParallelCorpus:
    """XNLI from `dev-LANG.tsv`, `xnli.dev.tsv` or `xnli.test.tsv`, the first found in `data_dir`, else from the Hub.

    Raises InputError: files that are missing or are not in a known layout, a language that is not there, a row that one
    language lacks, or a Hub that cannot be reached.
    """
    texts = {
        language: {row.key: join_text([row.premise, row.hypothesis], row.place) for row in pairs}
        for language, pairs in xnli_pairs(languages, data_dir).items()
    }
    return ParallelCorpus("xnli", tuple(texts), align(texts, "xnli"))


def xnli_pairs(languages: tuple[str, ...] | None, data_dir: Path | None) -> dict[str, Iterator[Pair]]:
    """The pairs of every language, each key once, in the order of the file or of the Hub.

    Raises InputError: as `load_xnli`, but rows are not matched; some faults of a row are found while iterating.
    """
    if data_dir is None:
        picked = pick_languages(languages, HUB_LANGUAGES, "xnli")
        check_reachable(REPO, _REMEDY)
        return {language: _hub_pairs(language) for language in picked}
    folder = corpus_folder(data_dir, ["xnli", "XNLI-1.0"], ["dev-*.tsv", *_OFFICIAL], "xnli")
    names = {path.stem.removeprefix("dev-"): path for path in sorted(folder.glob("dev-*.tsv"))}
    files = {tag: names[name] for tag, name in by_language(names, f"{folder}, dev-LANG.tsv").items()}
    if files:
        picked = pick_languages(languages, files, f"xnli in {folder}")
        return {language: _xtreme_pairs(files[language]) for language in picked}
    path = next(folder / name for name in _OFFICIAL if (folder / name).is_file())
    pairs = _official_pairs(path)
    codes = by_language(sorted(pairs), f"{path}, languages")
    return {language: iter(pairs[codes[language]]) for language in pick_languages(languages, codes, f"xnli in {path}")}


def _hub_pairs(language: str) -> Iterator[Pair]:
    for number, row in enumerate(HubTable.open(REPO, language, _REMEDY), start=1):
        place = f"{REPO}, {language}, row {number}"
        yield Pair(place, number, row["premise"], row["hypothesis"], row.get("label"))


def _xtreme_pairs(path: Path) -> Iterator[Pair]:
    for number, (place, cells) in enumerate(_lines(path), start=1):
        if len(cells) != 3:
            raise InputError(f"{place}: {len(cells)} columns, not premise, hypothesis and label; mend the line")
        yield Pair(place, number, *cells)


def _official_pairs(path: Path) -> dict[str, list[Pair]]:
    lines = _lines(path)
    header = next(lines, ("", []))[1]
    missing = [column for column in _COLUMNS if column not in header]
    if missing:
        raise InputError(f"{path}, line 1: no column {', '.join(missing)} in the header; download the file again")
    pairs: dict[str, list[Pair]] = defaultdict(list)
    seen = set()
    for place, cells in lines:
        if len(cells) != len(header):
            raise InputError(f"{place}: {len(cells)} columns, the header has {len(header)}; mend the line")
        row = dict(zip(header, cells, strict=True))
        language, key = row["language"], row["pairID"]
        if (language, key) in seen:
            raise InputError(f"{place}: the id {key!r} is there twice in {language}; every row needs an id of its own")
        seen.add((language, key))
        pairs[language].append(Pair(place, key, row["sentence1"], row["sentence2"], row.get(_LABEL)))
    return pairs


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    # Quotes are text here: the files are not CSV.
    return ((place, line.split("\t")) for place, line in text_lines(path))
