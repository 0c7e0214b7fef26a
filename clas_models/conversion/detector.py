"""The language detector of a checkpoint: from which corpus it is made, how good it is, and one that is taken over.

How a detector is made is `profiling/detector`'s business, what it does in a model `modeling/language_detector.py`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import InputError
from ..modeling.language_detector import LanguageDetector
from ..modeling.tensor_names import DETECTOR_PREFIX
from ..profiling.corpora import ParallelCorpus, load_corpus
from ..profiling.detector.detector_building import DetectorAccuracy, build_detector, judge
from .loading import load_tokenizer
from .source import Source
from .weights import read_tensor

BUILTIN, NEIGHBOURS = "builtin", "neighbours"
NONE = "none"
MIN_ROWS = 20  # of each profiled language; fewer sentences teach a detector too little to be trusted
MAX_ROWS = 1000  # more teach it little more, and it should not read a data set of millions
TRUSTED = 0.95  # held-out accuracy from which a checkpoint uses its detector by default


@dataclass(frozen=True)
class DetectorCorpus:
    """Where a detector comes from: rows to make one, or the reason why there is none."""

    corpus: ParallelCorpus | None
    reason: str = ""


@dataclass(frozen=True)
class MadeDetector:
    """A detector and what is known of it: `accuracy` is None for one that was taken over from the source.

    `is_trusted`: whether a checkpoint uses it by default.
    """

    detector: LanguageDetector
    corpus: str
    is_trusted: bool
    accuracy: DetectorAccuracy | None = None


def open_detector_corpus(
    chosen: str | None, profiled: str | None, data_dir: Path | None, languages: Sequence[str]
) -> DetectorCorpus:
    """The corpus that a detector is made from: the one that the user names for it, or else the profiled one.

    Args:
        chosen: `--detector-corpus`: a corpus, several with commas between them, "none", or None.
        profiled: the corpus that was profiled, None for a profile that was there already.
        languages: the profiled languages, which the corpus must have.

    Raises InputError: a corpus that the user names for the detector cannot be used for it.
    """
    if chosen == NONE:
        return DetectorCorpus(None, "not wanted")
    name = chosen or profiled or BUILTIN
    # The columns of a Hub data set are named with commas, too.
    corpus = _combined([name] if ":" in name else name.split(","), languages, data_dir)
    missing = [code for code in languages if code not in corpus.languages]
    rows = min((sum(code in row for row in corpus.rows) for code in languages if code not in missing), default=0)
    fault = ""
    if missing:
        fault = f"corpus {corpus.name} lacks {', '.join(missing)}; name another with --detector-corpus"
    elif rows < MIN_ROWS:
        fault = (
            f"corpus {corpus.name} has {rows} rows, a detector needs {MIN_ROWS}; name another with --detector-corpus"
        )
    if fault and chosen is not None:
        raise InputError(f"language detector: {fault}")
    return DetectorCorpus(None, fault) if fault else DetectorCorpus(corpus)


def builtin_corpus() -> ParallelCorpus:
    """All that comes with the package: the built-in corpus, and the neighbours of its languages."""
    return _joined(BUILTIN, [load_corpus(name) for name in (BUILTIN, NEIGHBOURS)])


def _combined(names: Sequence[str], languages: Sequence[str], data_dir: Path | None) -> ParallelCorpus:
    """The rows of all named corpora; a row need not have all languages."""
    # All that the built-in corpus has costs nothing, and a detector knows more the more languages it has seen.
    wanted = languages if len(names) == 1 else None
    parts = []
    for name in map(str.strip, names):
        folder = data_dir if name in ("xquad", "xnli") else None
        if name == BUILTIN:
            parts.append(builtin_corpus())
        else:
            parts.append(load_corpus(name, languages=wanted, samples=MAX_ROWS, fewer=True, data_dir=folder))
    return _joined(",".join(part.name for part in parts), parts)


def _joined(name: str, parts: Sequence[ParallelCorpus]) -> ParallelCorpus:
    languages = dict.fromkeys(code for part in parts for code in part.languages)
    return ParallelCorpus(name, tuple(languages), [row for part in parts for row in part.rows])


def make_detector(source: Source, corpus: ParallelCorpus, languages: Sequence[str], anchor: str) -> MadeDetector:
    """A detector for the tokenizer of `source`, and its accuracy on rows that it is tried without first.

    Raises InputError: the tokenizer cannot be loaded, or the corpus not be used.
    """
    tokenizer = load_tokenizer(source)
    rows, vocab_size = list(corpus.rows), int(source.config.vocab_size)
    accuracy, temperature = judge(tokenizer, rows, languages, anchor, vocab_size)
    detector = build_detector(tokenizer, rows, languages, anchor, vocab_size, temperature=temperature)
    return MadeDetector(detector, corpus.name, accuracy.anchor_or_not >= TRUSTED, accuracy)


def carried_detector(source: Source, languages: Sequence[str], anchor: str) -> MadeDetector | None:
    """The detector that a steered source carries; None if it has none, or one against another anchor.

    Raises InputError: a table is missing, of another shape or dtype, or damaged.
    """
    config = source.config
    if not source.is_steered or config.anchor_language != anchor:
        return None
    detector = LanguageDetector.of(config, languages)
    if detector is None:
        return None
    for name, table in detector.named_buffers():
        found = read_tensor(
            source.shards,
            f"{DETECTOR_PREFIX}{name}",
            table.dtype,
            tuple(table.shape),
            remedy="make the detector anew with --detector-corpus",
        )
        with torch.no_grad():
            table.copy_(found)
    # Without a default the source did not trust its detector, or its user did not want it.
    return MadeDetector(detector, "taken over from the source", config.language is not None)
