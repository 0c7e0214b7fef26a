"""Parallel text in a JSON Lines file: one object in each line, languages as keys, texts as values.

Two come with the package (CC0); their quality is the business of the tests.  The built-in corpus has 160 sentences in
16 languages, 100 of everyday and encyclopaedic prose, then 60 questions and pieces of speech and of formal prose.  The
other, "neighbours", has 60 of them in 16 languages that a language detector would else take for one of the first 16.

The file is read line by line on every iteration, so that it may be larger than memory.  Keys that are not among the
languages of the corpus are left alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from ...modeling.language_tags import did_you_mean
from .languages import by_language, corpus_language, normalise_codes, pick_languages
from .parallel_corpus import ParallelCorpus, Row, join_text
from .text_file import json_objects

BUILTIN_LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ro", "ru", "sw", "th", "tr", "ur", "vi", "zh")
NEIGHBOURS = ("cs", "da", "fa", "fi", "hu", "id", "it", "jv", "mr", "ne", "nl", "pl", "pt", "sv", "tl", "uk")
_BUILTIN = Path(__file__).with_name("builtin.jsonl")
_NEIGHBOURS = Path(__file__).with_name("neighbours.jsonl")


@dataclass(frozen=True)
class JsonlRows:
    """The rows of a JSON Lines file in some of its languages."""

    path: Path
    languages: tuple[str, ...]

    def __iter__(self) -> Iterator[Row]:
        for place, record in _records(self.path):
            keys = by_language(record, f"{place}, keys", self.languages)
            for language in self.languages:
                if language not in keys:
                    raise InputError(f"{place}: no text in {language!r}; add it, or leave the language out")
            yield {language: join_text([record[keys[language]]], f"{place}, {language}") for language in self.languages}


def load_builtin(languages: tuple[str, ...] | None) -> ParallelCorpus:
    """The built-in corpus in the given languages, or in all. Raises InputError: a language that it does not have."""
    picked = pick_languages(languages, BUILTIN_LANGUAGES, "builtin")
    return ParallelCorpus("builtin", picked, JsonlRows(_BUILTIN, picked))


def load_neighbours(languages: tuple[str, ...] | None) -> ParallelCorpus:
    """The neighbours of the built-in languages, or some of them. Raises InputError: one that it does not have."""
    picked = pick_languages(languages, NEIGHBOURS, "neighbours")
    return ParallelCorpus("neighbours", picked, JsonlRows(_NEIGHBOURS, picked))


def load_jsonl(path: Path, languages: tuple[str, ...] | None) -> ParallelCorpus:
    """The corpus in a JSON Lines file, in the given languages or in those of its first line.

    Raises InputError: a file that is missing, empty or not UTF-8, a first line that is not an object of texts, or
    languages that it does not have. Iterating the rows raises it for the lines that follow.
    """
    place, record = next(_records(path), (f"{path}", None))
    if record is None:
        raise InputError(f"{path} is empty: write one JSON object a line, with language codes as keys")
    # A key such as "id" or "source" is no mistake once the languages are named.
    if languages is None:
        _check_keys(place, record)
        available = normalise_codes(list(record), f"{place}, keys") if record else ()
    else:
        available = tuple(dict.fromkeys(tag for key in record if (tag := corpus_language(key)) is not None))
    if not available:
        raise InputError(f'{place}: no language code among the keys; write an object like {{"en": …, "de": …}}')
    picked = pick_languages(languages, available, path.name)
    return ParallelCorpus(path.name, picked, JsonlRows(path, picked))


def _check_keys(place: str, record: dict[str, object]) -> None:
    """Raises InputError: a key is no language, by its name or because it holds a number, as an `id` does."""
    for key, value in record.items():
        if corpus_language(key) is None:
            fault = f"is no language{did_you_mean(key)}"
        elif isinstance(value, (int, float)):
            fault = f"holds a number, {value}, so it is no language here"
        else:
            continue
        raise InputError(f"{place}: the key {key!r} {fault}; leave it out, or name the languages with --languages")


def _records(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    return json_objects(path, 'write one object a line, {"en": …, "de": …}')
