"""Parallel text to profile a model with: the same sentences in several languages.

`load_corpus` turns a name, a file or a Hub id into a `ParallelCorpus`.  Every kind of corpus has a module of its own;
the table below is the only place that lists them.  Tokens, lengths and batches are the business of the caller.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from ...errors import InputError
from .hub import load_hub
from .jsonl import BUILTIN_LANGUAGES, NEIGHBOURS, load_builtin, load_jsonl, load_neighbours
from .languages import normalise_codes
from .parallel_corpus import ParallelCorpus, select_rows
from .xnli import load_xnli
from .xquad import load_xquad

__all__ = ["BUILTIN_LANGUAGES", "NAMES", "NEIGHBOURS", "PROFILED_ROWS", "ParallelCorpus", "load_corpus"]

PROFILED_ROWS = {"builtin": 100}
"""Of corpora that are split: the rows from the first on that may be profiled; those after them are for tests."""

# Data sets with files of their own, in a folder or on the Hub.
_PUBLISHED = {"xquad": load_xquad, "xnli": load_xnli}
_SHIPPED = {"builtin": load_builtin, "neighbours": load_neighbours}
NAMES = (*_SHIPPED, *_PUBLISHED)
"""The corpora that have a name of their own."""
# Tables of other kinds, and how the library `datasets` reads them; each column is a language.
_TABLES = {
    ".csv": "from_csv({})",
    ".tsv": "from_csv({}, sep='\\t')",
    ".parquet": "from_parquet({})",
    ".json": "from_json({})",
}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:.*)?")


def load_corpus(
    corpus: str,
    *,
    languages: Sequence[str] | None = None,
    samples: int | None = None,
    skip: int = 0,
    fewer: bool = False,
    data_dir: Path | None = None,
) -> ParallelCorpus:
    """The rows `skip` to `skip + samples` of a corpus, in the languages asked for.

    Args:
        corpus: `builtin`, `neighbours`, `xquad`, `xnli`, the path of a JSON Lines file, or a Hub id (`org/name`, or
            `org/name:column,column` where the text columns are not among the usual ones).
        languages: codes or names, in the order that the rows shall have; all that the corpus has if not given.
        samples: number of rows; all that follow `skip` if not given.
        skip: number of rows to leave out at the beginning.
        fewer: take what there is where the corpus has fewer than `samples` rows, instead of refusing.
        data_dir: folder with the published files of XQuAD or XNLI; without it they come from the Hub.

    Returns:
        The corpus.  Each of its rows has been read once and found complete; iterating reads them again, so that
        memory does not grow with the length of a file or of a Hub dataset.

    Raises InputError: a corpus, language, number or row that cannot be used; the message says where and what to do.
    """
    codes = None if languages is None else normalise_codes(languages)
    return select_rows(_load(corpus, codes, data_dir), skip, samples, fewer=fewer)


def _load(corpus: str, languages: tuple[str, ...] | None, data_dir: Path | None) -> ParallelCorpus:
    if corpus in _PUBLISHED:
        return _PUBLISHED[corpus](languages, data_dir)
    if data_dir is not None:
        raise InputError(f"data_dir {data_dir} is of no use with corpus {corpus!r}: leave it out")
    if corpus in _SHIPPED:
        return _SHIPPED[corpus](languages)
    path = Path(corpus)
    _refuse_tables(path)
    if corpus.lower().endswith(".jsonl") or path.is_file():
        return load_jsonl(path, languages)
    # `datasets` would read such a folder in place of the Hub dataset of the same name.
    if path.is_dir():
        raise InputError(f"corpus {corpus!r} is a folder: give a JSON Lines file, or xquad or xnli with --data-dir")
    if _HUB_ID.fullmatch(corpus):
        return load_hub(corpus, languages)
    raise InputError(
        f"unknown corpus {corpus!r}: choose one of {', '.join(NAMES)}, a FILE.jsonl, or a Hub id such as org/name"
    )


def _refuse_tables(path: Path) -> None:
    """Raises InputError for a table in another form, with the command that converts it."""
    reader = _TABLES.get(path.suffix.lower())
    if reader is not None and path.is_file():
        code = f"from datasets import Dataset; Dataset.{reader.format(repr(str(path)))}"
        code += f".to_json({str(path.with_suffix('.jsonl'))!r}, force_ascii=False)"
        raise InputError(f"corpus {path}: {path.suffix} is not read; convert it to JSON Lines with: python -c {code!r}")
