"""Which rows of a corpus are read, and how a text becomes windows."""

from __future__ import annotations

import pytest

from clas_models.errors import InputError
from clas_models.profiling.corpora import ParallelCorpus
from eval.analysis.perplexity_texts import Texts


def corpus(*lengths: tuple[int, int]) -> ParallelCorpus:
    """Rows with so many tokens in two languages."""
    return ParallelCorpus("made", ("en", "de"), [{"en": "e" * en, "de": "d" * de} for en, de in lengths])


def encode(text: str) -> list[int]:
    return list(range(len(text)))


def read(given: ParallelCorpus, tokens: int, window: int = 100) -> Texts:
    return Texts.of(given, encode, tokens, window)


def test_rows_are_read_until_one_language_has_enough() -> None:
    texts = read(corpus((5, 11), (5, 11), (5, 11)), 20)
    assert texts.rows == 2
    assert texts.tokens == {"en": 8, "de": 20}, "the first token of a text is not predicted"


def test_a_long_text_goes_on_in_the_next_window() -> None:
    texts = read(corpus((10, 4), (3, 3), (50, 50)), 9, window=4)
    text = texts.by_language["en"]
    assert [list(window) for window in text.windows] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [0, 1, 2]]
    assert text.rows == (0, 0, 0, 1)
    assert text.tokens == 3 + 3 + 1 + 2


def test_a_last_window_of_one_token_is_left_out() -> None:
    texts = read(corpus((5, 5), (5, 5)), 6, window=4)
    assert [len(window) for window in texts.by_language["en"].windows] == [4, 4]


def test_the_digest_tells_texts_and_windows_apart() -> None:
    digests = {
        read(corpus(*lengths, (50, 50)), 10, window).by_language["en"].digest
        for lengths, window in ((((6, 2), (6, 2)), 100), (((6, 2), (6, 2)), 3), (((5, 2), (7, 2)), 100))
    }
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("lengths", "tokens", "said"),
    [
        (((5, 11), (5, 11)), 21, "tokens 21: corpus made has only 20 in de, the language with most; give --tokens 20"),
        (((5, 11), (5, 11)), 12, "tokens 12: too few for 2 rows of corpus made in de, where row 2 ends at token 20"),
        (((5, 11), (5, 11)), 3, "tokens 3: too few for 2 rows of corpus made in de, where row 1 ends at token 10"),
        (((1, 11), (1, 11)), 20, "corpus made: no token to predict in en; leave it out of --languages"),
    ],
)
def test_what_cannot_be_read_is_said(lengths: tuple[tuple[int, int], ...], tokens: int, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read(corpus(*lengths), tokens)
    assert str(caught.value).startswith(said)
