"""Parallel text in any dataset of the Hugging Face Hub that has one configuration for each language.

Row n of one language goes with row n of every other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from ...errors import InputError
from ...modeling.language_names import SCRIPTS
from .hub_table import HubTable, check_reachable, config_names
from .languages import corpus_language, pick_languages
from .parallel_corpus import ParallelCorpus, Row, join_text

_REMEDY = "put the rows into a JSON Lines file and give its path"
_KNOWN = (("context", "question"), ("premise", "hypothesis"), ("sentence1", "sentence2"), ("text",), ("sentence",))


def load_hub(corpus: str, languages: tuple[str, ...] | None) -> ParallelCorpus:
    """The corpus in a Hub dataset, given as `org/name` or `org/name:column,column`.

    Raises InputError: a dataset that is not there or cannot be reached, languages or columns that it does not have.
    Iterating the rows raises it for rows that are not parallel or have no text.
    """
    repo, colon, listed = corpus.partition(":")
    columns = tuple(column.strip() for column in listed.split(","))
    if colon and not all(columns):
        raise InputError(f"corpus {corpus!r} names no column after the colon: write {repo}:column,column or {repo}")
    check_reachable(repo, _REMEDY)
    return open_corpus(repo, languages, columns if colon else ())


def open_corpus(repo: str, languages: tuple[str, ...] | None, columns: tuple[str, ...]) -> ParallelCorpus:
    """The corpus in a dataset within reach; `repo` may also be a folder laid out like one. Raises as `load_hub`."""
    configs = _language_configs(repo, languages)
    tables = {language: HubTable.open(repo, config, _REMEDY) for language, config in configs.items()}
    texts = {language: (table, _text_columns(table, columns)) for language, table in tables.items()}
    return ParallelCorpus(repo, tuple(configs), HubRows(repo, texts))


@dataclass(frozen=True)
class HubRows:
    """The rows of several tables side by side, each table with the columns that make its text."""

    repo: str
    tables: dict[str, tuple[HubTable, tuple[str, ...]]]

    def __iter__(self) -> Iterator[Row]:
        for number, records in enumerate(zip_longest(*(table for table, _ in self.tables.values())), start=1):
            row = {}
            for record, (language, (_, columns)) in zip(records, self.tables.items(), strict=True):
                place = f"dataset {self.repo}, row {number}, {language}"
                if record is None:
                    raise InputError(f"{place}: missing, while another language has it; leave the language out")
                row[language] = join_text([record.get(column) for column in columns], place)
            yield row


def _language_configs(repo: str, wanted: tuple[str, ...] | None) -> dict[str, str]:
    """The configuration of every language: the one named like it, else the one that ends with it."""
    names = config_names(repo, _REMEDY)
    found: dict[str, list[str]] = {}
    possible = {name: _possible_codes(name) for name in names}
    for name, codes in possible.items():
        sure = [code for code, spelt in codes.items() if _is_sure(spelt)]
        if sure:
            found.setdefault(sure[0], []).append(name)
    for code in wanted or ():
        ranked = [(list(codes).index(code), name) for name, codes in possible.items() if code in codes]
        if ranked:
            found[code] = [name for rank, name in ranked if rank == min(ranked)[0]]
    if not found:
        raise InputError(f"dataset {repo} has no configuration named by a language, such as de or xquad.de: {_REMEDY}")
    picked = pick_languages(wanted, sorted(found), repo)
    for code in picked:
        if len(found[code]) > 1:
            raise InputError(
                f"dataset {repo} has several configurations for {code}, {', '.join(found[code])}: {_REMEDY}"
            )
    return {code: found[code][0] for code in picked}


def _possible_codes(config: str) -> dict[str, str]:
    """The languages that a configuration's name may stand for, the likeliest first, and how each is spelt there.

    `en_US` is en-US before it is anything else, `xquad.de` is de.
    """
    found: dict[str, str] = {}
    for spelt in (config, config.replace("_", ".").rpartition(".")[2]):
        if (tag := corpus_language(spelt)) is not None:
            found.setdefault(tag, spelt)
    return found


def _is_sure(spelt: str) -> bool:
    """Three letters are too often a word, "all" or "raw", to be taken for a language that nobody asked for."""
    first, *others = spelt.replace("_", "-").split("-")
    return len(first) != 3 or (len(others) == 1 and others[0].title() in SCRIPTS)


def _text_columns(table: HubTable, asked: tuple[str, ...]) -> tuple[str, ...]:
    have = table.columns()
    for columns in [asked] if asked else _KNOWN:
        if all(column in have for column in columns):
            return columns
    missing = [column for column in asked if column not in have]
    fault = f"no column {', '.join(missing)}" if asked else "no column that is known to hold text"
    raise InputError(
        f"dataset {table.repo}, configuration {table.config}: {fault} among {', '.join(have) or 'none'}; "
        f"write {table.repo}:column or {table.repo}:column,column"
    )
