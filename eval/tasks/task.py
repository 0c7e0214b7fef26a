"""What a task is: examples in several languages, how they become prompts, and how answers are scored.

Every task is a module of this folder and a line in the table of `__init__.py`.  The rules for
the examples of all of them are here: the same keys in every language, the same first rows.  Turning fields into token
ids is `prompts.py`'s business, running a model that of `engine/`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from clas_models.errors import InputError
from clas_models.profiling.corpora.languages import normalise_codes
from clas_models.profiling.corpora.parallel_corpus import align, index_rows

from ..score_scale import ScoreScale, scale_of

# A choice is an index into `Task.choices`, a generated answer a string, a perplexity the negative log-likelihood of
# the text in nats, a likelihood that of the right answer in nats a token.
Answer: TypeAlias = int | str | float


class Kind(Enum):
    """How a task asks a model.

    CHOICE: one forward pass; the logits of the choices' tokens, or of a head's labels, at the last position, the
        largest wins; or, where the task has `continuations`, the mean log p a token of those after the prompt.
    GENERATION: greedy decoding of at most `max_new_tokens` tokens.
    LIKELIHOOD: one forward pass; the mean -log p a token of the one continuation after the prompt.
    PERPLEXITY: one forward pass; the negative log-likelihood of the text's own tokens.
    """

    CHOICE = "choice"
    GENERATION = "generation"
    LIKELIHOOD = "likelihood"
    PERPLEXITY = "perplexity"


@dataclass(frozen=True)
class Example:
    """One example in one language.

    Attributes:
        key: identifies the example, the same in every language.
        fields: what the task's template takes, by name.
        gold: the right answers: strings for a generation (any of them counts), one index for a choice, nothing for a
            perplexity.
        place: where it was read, for messages.
    """

    key: str
    fields: Mapping[str, str]
    gold: tuple[str, ...] | tuple[int, ...]
    place: str = field(default="", compare=False)


@dataclass(frozen=True)
class ExampleSource:
    """Where examples come from.

    Attributes:
        data_dir: folder with the published files; None is the Hub.
        corpus: for a perplexity, a corpus as the converter takes it.
        samples: that many rows of every language after those that are skipped; None is all.
        skip: the first `skip` rows of every language are left out, because something was learned from them.
        say: is told what a user should know of how the examples were read, in one line.

    Raises InputError: fewer than one sample, or a negative skip.
    """

    data_dir: Path | None = None
    corpus: str | None = None
    samples: int | None = None
    skip: int = 0
    say: Callable[[str], object] = field(default=lambda _: None, compare=False)

    def __post_init__(self) -> None:
        if self.samples is not None and self.samples < 1:
            raise InputError(f"samples is {self.samples}: give 1 or more")
        if self.skip < 0:
            raise InputError(f"skip is {self.skip}: give 0 or more")


def language_codes(languages: Sequence[str] | None) -> tuple[str, ...] | None:
    """The languages as canonical tags, None as it is.

    Raises InputError: no code, something that is not a code, or the same code twice.
    """
    return None if languages is None else normalise_codes(languages)


def parallel_examples(
    examples: Mapping[str, Iterable[Example]], task: str, source: ExampleSource
) -> dict[str, list[Example]]:
    """The examples of every language, matched by key.

    Args:
        examples: by language; all of them are read.
        task: its name, for messages.
        source: says which of the matched rows are wanted.

    Returns:
        By language the same keys, in the order of the first language.

    Raises InputError: a key twice in a language, or missing in one; fewer examples than wanted.
    """
    samples, skip = source.samples, source.skip
    by_key: dict[str, dict[str, Example]] = {}
    keys: dict[str, dict[str, str]] = {}
    for language, given in examples.items():
        listed = list(given)
        keys[language] = index_rows(((example.key, example.key) for example in listed), f"{task}, {language}")
        by_key[language] = {example.key: example for example in listed}
    first = next(iter(keys))
    order = [row[first] for row in align(keys, task)]
    stop = len(order) if samples is None else skip + samples
    if len(order) <= skip or len(order) < stop:
        wanted = ("some" if samples is None else str(samples)) + (f" after {skip} to skip" if skip else "")
        raise InputError(f"task {task} has only {len(order)} examples, asked for {wanted}: ask for fewer")
    return {language: [known[key] for key in order[skip:stop]] for language, known in by_key.items()}


def check_same_answers(answers: Mapping[str, Iterable[tuple[str, str, str]]], noun: str = "answer") -> None:
    """Refuse rows whose answer depends on the language.

    Args:
        answers: by language, of every row its key, its place and its answer as a message names it.
        noun: what the answer is called.

    Raises InputError: a row has another answer than in the first language that has it; both places are named.
    """
    known: dict[str, tuple[str, str, str]] = {}
    for language, rows in answers.items():
        for key, place, answer in rows:
            first, there, expected = known.setdefault(key, (language, place, answer))
            if answer != expected:
                raise InputError(
                    f"{place}: the {noun} in {language} is {answer}, in {first} it is {expected} ({there}); a row has "
                    f"one {noun} in all languages"
                )


def score_choice(answer: Answer, example: Example, language: str) -> dict[str, float]:
    """`accuracy`: 1 for the right index, else 0."""
    return {"accuracy": float(answer == example.gold[0])}


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: as users write it.
        kind: how it asks a model.
        metrics: names of the scores that every example gets, lines of `score_scale.SCALES`; the main one first.
        load: examples by language, the same keys in the same order in each; the languages asked for, or all there are
            for None.  Raises InputError for what cannot be used.
        score: scores of one answer, by the names in `metrics`.
        score_choices: further scores of one answer that is a choice, of `Record.choice_scores`.
        template: name of the default template, a file `templates/NAME.txt` of this package; "" for a perplexity.
        choices: the strings whose first token is scored, for a choice.
        labels: the classes that the choices stand for, in the same order; none where they are no classes.
        choice_fields: the fields with the texts of the choices, in the same order; none where they have no texts.
        continuations: of an example, the texts that are read after its prompt, by what a message calls them, as many
            for all examples; None where only the prompt is read.  `scoring.py` sets it.
        by_head: whether a head with `labels` answers, in place of the choices' tokens.  `scoring.py` sets it.
        shared: the field that several examples may have in common, such as a passage; None where each has its own.
        cut: the field that is shortened where a prompt exceeds the maximum length; None where none may be.
        max_new_tokens: for a generation.
    """

    name: str
    kind: Kind
    metrics: tuple[str, ...]
    load: Callable[[Sequence[str] | None, ExampleSource], dict[str, list[Example]]]
    score: Callable[[Answer, Example, str], dict[str, float]]
    score_choices: Callable[[Sequence[float], Example], dict[str, float]] = lambda log_p, example: {}
    template: str = ""
    choices: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    choice_fields: tuple[str, ...] = ()
    continuations: Callable[[Example], Mapping[str, str]] | None = None
    by_head: bool = False
    shared: str | None = None
    cut: str | None = None
    max_new_tokens: int = 0

    @property
    def scale(self) -> ScoreScale:
        """Of the main score."""
        return scale_of(self.metrics[0])

    @property
    def chance(self) -> float | None:
        """The accuracy of guessing; None where answers are no choice."""
        return 1 / len(self.choices) if self.choices else None
