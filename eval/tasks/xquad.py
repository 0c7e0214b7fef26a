"""XQuAD: answer a question with a span of a paragraph, generated greedily, as in the paper (section 3.1).

Files and the Hub are read by the converter's corpus of the same name; the arithmetic of the scores is in `metrics`.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from clas_models.errors import InputError
from clas_models.profiling.corpora.parallel_corpus import join_text
from clas_models.profiling.corpora.xquad import Question, xquad_questions

from ..metrics.answers import best_scores, mlqa_tokens, squad_tokens
from .task import Answer, Example, ExampleSource, Kind, Task, language_codes, parallel_examples


def load_xquad(languages: Sequence[str] | None, source: ExampleSource) -> dict[str, list[Example]]:
    """Questions with the fields `context` and `question`; neighbours share a context.

    Raises InputError: a source or row that cannot be used, a question that a language lacks or that has no answer.
    """
    questions = xquad_questions(language_codes(languages), source.data_dir)
    found = {language: _examples(rows) for language, rows in questions.items()}
    return parallel_examples(found, XQUAD.name, source)


def _examples(questions: Iterable[Question]) -> Iterator[Example]:
    for row in questions:
        fields = {name: join_text([getattr(row, name)], f"{row.place}, {name}") for name in ("context", "question")}
        yield Example(row.key, fields, _answers(row))


def _answers(row: Question) -> tuple[str, ...]:
    try:
        texts = row.answers["text"] if isinstance(row.answers, dict) else [each["text"] for each in row.answers]
        answers = tuple(join_text([text], f"{row.place}, answers") for text in texts)
    except (KeyError, TypeError):
        raise InputError(f"{row.place}: the answers are not as in SQuAD v1.1; download the file again") from None
    if not answers:
        raise InputError(f"{row.place}: the question {row.key} has no answer; download the file again")
    return answers


def score_answer(answer: Answer, example: Example, language: str) -> dict[str, float]:
    """`f1` and `exact_match` of the SQuAD v1.1 script, `mlqa_f1` and `mlqa_exact_match` of the MLQA script, in 0 .. 1.

    In languages that the MLQA script does not know, `mlqa_tokens` says how an answer is segmented.
    """
    golds = [str(gold) for gold in example.gold]
    official = best_scores(squad_tokens, str(answer), golds)
    multilingual = best_scores(partial(mlqa_tokens, language=language), str(answer), golds)
    return {**official, **{f"mlqa_{name}": value for name, value in multilingual.items()}}


XQUAD = Task(
    name="xquad",
    kind=Kind.GENERATION,
    metrics=("f1", "exact_match", "mlqa_f1", "mlqa_exact_match"),
    load=load_xquad,
    score=score_answer,
    template="xquad",
    shared="context",
    cut="context",
    max_new_tokens=32,
)
