"""The corpus that comes with the package: 160 sentences in 16 languages (CC0), 100 of everyday and
encyclopaedic prose, then 60 questions and pieces of speech and of formal prose.

It is a JSON Lines file like any other; its quality is the business of the tests.
"""

from pathlib import Path

from ...errors import InputError
from .jsonl import JsonlRows
from .languages import pick_languages
from .parallel_corpus import ParallelCorpus

BUILTIN_LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ro", "ru", "sw", "th", "tr", "ur", "vi", "zh")

_PATH = Path(__file__).with_name("builtin.jsonl")


def load_builtin(languages: tuple[str, ...] | None, data_dir: Path | None) -> ParallelCorpus:
    """The built-in corpus in the given languages, or in all of them.

    Raises InputError: a language that it does not have, or a `data_dir`, which it cannot use.
    """
    if data_dir is not None:
        raise InputError(f"data_dir {data_dir} is of no use with corpus builtin: leave it out")
    picked = pick_languages(languages, BUILTIN_LANGUAGES, "builtin")
    return ParallelCorpus("builtin", picked, JsonlRows(_PATH, picked))
