"""The rules that hold for the examples of every task: the same keys in every language, the same first rows.

Where examples come from is left to the tasks.
"""

from collections.abc import Iterable, Mapping, Sequence

from clas_models.errors import InputError
from clas_models.profiling.corpora.languages import normalise_codes
from clas_models.profiling.corpora.parallel_corpus import align, index_rows

from .task import Example


def language_codes(languages: Sequence[str] | None) -> tuple[str, ...] | None:
    """The codes in lower case, None as it is.

    Raises:
        InputError: no code, something that is not a code, or the same code twice.
    """
    return None if languages is None else normalise_codes(languages)


def parallel_examples(
    examples: Mapping[str, Iterable[Example]], task: str, samples: int | None
) -> dict[str, list[Example]]:
    """The examples of every language, matched by key.

    Args:
        examples: by language; all of them are read.
        task: its name, for messages.
        samples: how many are wanted, None for all.

    Returns:
        By language the same keys, in the order of the first language.

    Raises:
        InputError: a key twice in a language, or missing in one; fewer examples than wanted, or none wanted.
    """
    if samples is not None and samples < 1:
        raise InputError(f"samples is {samples}: give 1 or more")
    by_key: dict[str, dict[str, Example]] = {}
    keys: dict[str, dict[str, str]] = {}
    for language, given in examples.items():
        listed = list(given)
        keys[language] = index_rows(((example.key, example.key) for example in listed), f"{task}, {language}")
        by_key[language] = {example.key: example for example in listed}
    first = next(iter(keys))
    order = [row[first] for row in align(keys, task)]
    if not order or (samples is not None and samples > len(order)):
        wanted = "some" if samples is None else samples
        raise InputError(f"task {task} has only {len(order)} examples, asked for {wanted}: ask for fewer")
    return {language: [known[key] for key in order[:samples]] for language, known in by_key.items()}
