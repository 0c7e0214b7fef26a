"""Perplexity of parallel text, from any corpus of the converter.

The answer of a model is the negative log-likelihood of an example's text in nats, over its tokens but the first.
"""

from collections.abc import Sequence

from clas_models.profiling.corpora import PROFILED_ROWS, load_corpus

from .task import Answer, Example, ExampleSource, Kind, Task, language_codes

DEFAULT_CORPUS = "builtin"
_CORPORA_WITH_FILES = ("xquad", "xnli")


def load_perplexity(languages: Sequence[str] | None, source: ExampleSource) -> dict[str, list[Example]]:
    """Texts with the field `text`; the key is the number of the row from 1, of the built-in corpus in its test rows.

    `source.data_dir` is only looked at for the corpora that are published as files, because other tasks of the same
    run may need it.

    Raises InputError: as `load_corpus`.
    """
    name = source.corpus or DEFAULT_CORPUS
    corpus = load_corpus(
        name,
        languages=language_codes(languages),
        samples=source.samples,
        skip=PROFILED_ROWS.get(name, 0) + source.skip,
        data_dir=source.data_dir if name in _CORPORA_WITH_FILES else None,
    )
    examples: dict[str, list[Example]] = {language: [] for language in corpus.languages}
    for number, row in enumerate(corpus.rows, start=1 + source.skip):
        for language, text in row.items():
            examples[language].append(Example(str(number), {"text": text}, ()))
    return examples


def score_text(answer: Answer, example: Example, language: str) -> dict[str, float]:
    """`nats`: the answer itself."""
    return {"nats": float(answer)}


PERPLEXITY = Task(
    name="perplexity",
    kind=Kind.PERPLEXITY,
    metrics=("nats",),
    load=load_perplexity,
    score=score_text,
    cut="text",
)
