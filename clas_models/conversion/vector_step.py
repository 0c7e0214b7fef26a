"""The vectors of a conversion: those of a file, those that a steered source carries, or measured now on a corpus.

What is measured is kept for the next attempt.  Of several processes the one of rank 0 measures alone: vectors take one
pass over the text and little memory, and a pair of texts must be read by one process.
"""

import gc
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..command_line import EVAL
from ..errors import InputError
from ..modeling.language_tags import matching
from ..profiling.corpora import NAMES, ParallelCorpus
from ..profiling.language_vectors import FORMAT, MEAN, LanguageVectors
from ..profiling.vector_measuring import measure_vectors
from .finished_work import FinishedWork, texts_digest
from .loading import load_tokenizer, load_unsteered, pick_device, pick_dtype
from .options import ConversionOptions
from .profile_step import open_corpus
from .progress import Progress
from .source import VECTORS_NAME, Source, check_vectors_fit

MEASURED = FinishedWork(VECTORS_NAME, "vectors_request.json")
_STATE = MEAN  # plain text has no place at which an answer begins


def open_vectors(options: ConversionOptions, source: Source) -> LanguageVectors | ParallelCorpus | None:
    """Finished vectors, those of the user or of the source, or text to measure them on; None where there is neither.

    Raises InputError: a file or corpus that cannot be used, or that is of another model, or leads to another anchor.
    """
    if options.vectors is None:
        return None if source.vectors_path is None else _load(source.vectors_path, source)
    if _is_vectors_file(path := Path(options.vectors)):
        vectors = _load(path, source)
        if matching(options.wanted_anchor(), [vectors.anchor]) is None:
            raise InputError(
                f"{path}: vectors that lead to {vectors.anchor}, and the anchor is {options.wanted_anchor()}; give "
                f"--anchor {vectors.anchor}, or measure others"
            )
        return vectors
    if options.vectors not in NAMES and not path.exists() and re.fullmatch(r"[\w-]+", options.vectors):
        raise InputError(
            f"--vectors {options.vectors}: no file and no corpus; the vectors of a task's prompts are made first, with "
            f"{EVAL} vectors {options.model} --task {options.vectors} --samples 50 --out FILE, and given as --vectors "
            f"FILE; corpora are {', '.join(NAMES)}, FILE.jsonl and those of the Hub"
        )
    return _open_corpus(options, source, options.vectors)


def obtain_vectors(
    options: ConversionOptions,
    source: Source,
    opened: LanguageVectors | ParallelCorpus | None,
    folder: Path,
    progress: Progress,
) -> LanguageVectors | None:
    """What `open_vectors` gave, or vectors that are measured now."""
    if isinstance(opened, ParallelCorpus):
        return _measured(options, source, opened, folder, progress)
    if opened is not None:
        MEASURED.save(folder, opened, request=None)
    return opened


def _load(path: Path, source: Source) -> LanguageVectors:
    vectors = LanguageVectors.load(path)
    check_vectors_fit(vectors, source, path)
    return vectors


def _is_vectors_file(path: Path) -> bool:
    """By its name, or because it begins as safetensors do: with the length of a header in eight bytes."""
    if path.suffix == ".safetensors" or not path.is_file():
        return path.suffix == ".safetensors"
    with path.open("rb") as file:
        return file.read(8)[5:] == b"\0\0\0"


def _open_corpus(options: ConversionOptions, source: Source, name: str) -> ParallelCorpus:
    corpus = open_corpus(name, options, options.corpus)
    anchor = options.anchor_among(corpus.languages)
    if source.is_steered and options.languages is None and options.corpus is None:
        known: Sequence[str] = source.config.languages
        kept = tuple(code for code in corpus.languages if code == anchor or matching(code, known) is not None)
        corpus = replace(corpus, languages=kept)
    if len(corpus.languages) < 2:
        raise InputError(f"--vectors {name}: {anchor} is its only language, and a vector leads there from another one")
    if (rows := sum(1 for _ in corpus.rows)) < 2:
        raise InputError(f"--vectors {name}: {rows} row; a vector needs at least 2 pairs of texts")
    return corpus


def _measured(
    options: ConversionOptions, source: Source, corpus: ParallelCorpus, folder: Path, progress: Progress
) -> LanguageVectors:
    device = pick_device(options.device)
    dtype = pick_dtype(options.dtype, device, source.dtype)
    anchor = options.anchor_among(corpus.languages)
    request: dict[str, Any] = {
        "fingerprint": source.fingerprint,
        "languages": list(corpus.languages),
        "anchor": anchor,
        "texts": texts_digest(corpus),
        "max_length": options.max_length,
        "dtype": dtype,
        "state": _STATE,
        "format": FORMAT,
    }
    if (done := MEASURED.find(folder, request, LanguageVectors.load)) is not None:
        progress.say("vectors: finished by an earlier attempt")
        return done
    tokenizer, model = load_tokenizer(source), load_unsteered(source, dtype, device)
    rows = len(corpus.rows) * len(corpus.languages)  # type: ignore[arg-type]
    with progress.profiling(rows, "vectors") as update:
        vectors = measure_vectors(
            model,
            tokenizer,
            corpus,
            anchor,
            state=_STATE,
            max_length=options.max_length,
            batch_size=options.batch_size,
            fingerprint=source.fingerprint,
            progress=update,
        )
    del model
    gc.collect()
    MEASURED.save(folder, vectors, request)
    return vectors
