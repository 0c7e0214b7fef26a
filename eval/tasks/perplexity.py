"""Perplexity of parallel text, from any corpus of the converter.

The answer of a model is the negative log-likelihood of an example's text in nats, over its tokens but the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from clas_models.errors import InputError
from clas_models.profiling.corpora import load_corpus

from .parallel import language_codes
from .task import Answer, Example, Kind, Source, Task

DEFAULT_CORPUS = "builtin"
_CORPORA_WITH_FILES = ("xquad", "xnli")


def load_perplexity(languages: Sequence[str] | None, source: Source) -> dict[str, list[Example]]:
    """Texts with the field `text`; the key is the number of the row from 1.

    `source.data_dir` is only looked at for the corpora that are published as files, because other tasks of the same
    run may need it.

    Raises:
        InputError: as `load_corpus`.
    """
    name = source.corpus or DEFAULT_CORPUS
    corpus = load_corpus(
        name,
        languages=language_codes(languages),
        samples=source.samples,
        data_dir=source.data_dir if name in _CORPORA_WITH_FILES else None,
    )
    examples: dict[str, list[Example]] = {language: [] for language in corpus.languages}
    for number, row in enumerate(corpus.rows, start=1):
        for language, text in row.items():
            examples[language].append(Example(str(number), {"text": text}, ()))
    return examples


def score_text(answer: Answer, example: Example, language: str) -> dict[str, float]:
    """`nats`: the answer itself."""
    return {"nats": float(answer)}


def summarize_texts(answers: Sequence[Answer], examples: Sequence[Example], language: str) -> dict[str, float]:
    """`bits_per_byte`, as in `summarize_perplexity`, with the bytes of whole texts.

    It is a running score; where texts were cut to the maximum length, only `summarize_perplexity` has the bytes that
    were read.
    """
    nats = [float(answer) for answer in answers]
    return {"bits_per_byte": _bits_per_byte(nats, [len(example.fields["text"].encode()) for example in examples])}


def summarize_perplexity(nats: Sequence[float], tokens: Sequence[int], sizes: Sequence[int]) -> dict[str, float]:
    """The scores of one language's texts together.

    Args:
        nats: negative log-likelihood of every text, natural logarithm.
        tokens: how many tokens of every text that is the sum over.
        sizes: bytes of every text in UTF-8.

    Returns:
        `perplexity`, the exponential of the mean over all tokens of all texts, so that a long text counts by its
        length; `bits_per_byte`, which can be compared between tokenizers.  Infinite where a float cannot hold it.

    Raises:
        InputError: no token at all, because every text is a single one.
    """
    if sum(tokens) == 0:
        raise InputError("perplexity of texts of a single token each: give longer texts")
    mean = math.fsum(nats) / sum(tokens)
    perplexity = math.exp(mean) if mean < math.log(math.nextafter(math.inf, 0)) else math.inf
    return {"perplexity": perplexity, "bits_per_byte": _bits_per_byte(nats, sizes)}


def _bits_per_byte(nats: Sequence[float], sizes: Sequence[int]) -> float:
    return math.fsum(nats) / math.log(2) / sum(sizes)


PERPLEXITY = Task(
    name="perplexity",
    kind=Kind.PERPLEXITY,
    template="",
    choices=(),
    cut="text",
    max_new_tokens=0,
    metrics=("nats",),
    load=load_perplexity,
    score=score_text,
    summarize=summarize_texts,
)
