"""Answers as comparable tokens, as the official scripts of SQuAD v1.1 and of MLQA make them, and how far they agree."""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

_SQUAD_ARTICLES = re.compile(r"\b(a|an|the)\b")
_ARTICLES: Mapping[str, re.Pattern[str]] = {
    "en": _SQUAD_ARTICLES,
    "es": re.compile(r"\b(un|una|unos|unas|el|la|los|las)\b"),
    "vi": re.compile(r"\b(của|là|cái|chiếc|những)\b"),
    "de": re.compile(r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    # Anywhere, also within a word: that is what the script's expression comes to.
    "ar": re.compile("ال"),
}
# One token a character where words are not spaced; all else between them is split at spaces.
_SEGMENTS: Mapping[str, re.Pattern[str]] = {
    "zh": re.compile(r"[\u4e00-\u9fa5]|[^\s\u4e00-\u9fa5]+"),
    "th": re.compile(r"[\u0e00-\u0e7f]|[^\s\u0e00-\u0e7f]+"),
}


def squad_tokens(text: str) -> list[str]:
    """The tokens of an answer as the SQuAD v1.1 script compares them, in any language.

    Lower case, without ASCII punctuation, without the English articles, split at white space.  Source: Rajpurkar et
    al. 2016, evaluate-v1.1.py.
    """
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return _SQUAD_ARTICLES.sub(" ", kept).split()


def mlqa_tokens(text: str, language: str) -> list[str]:
    """The tokens of an answer as the MLQA script compares them.

    Lower case, without any punctuation of Unicode or ASCII, without the articles of the language (English, Spanish,
    Vietnamese, German, Arabic), split at white space; in Chinese every character from U+4E00 to U+9FA5 is a token and
    the rest is split at white space.  Source: Lewis et al. 2020, mlqa_evaluation_v1.py.

    The script knows no other languages.  Here they have no articles and are split at white space, as Hindi in the
    script; but Thai, which writes no spaces between words, is segmented like Chinese: every code point from U+0E00 to
    U+0E7F is a token, vowel signs and tone marks too.

    Args:
        text: the answer.
        language: a code; a region such as that of `pt-br` is left out.
    """
    language = language.partition("-")[0]
    kept = "".join(character for character in text.lower() if not _is_punctuation(character))
    if language in _ARTICLES:
        kept = _ARTICLES[language].sub(" ", kept)
    return _SEGMENTS[language].findall(kept) if language in _SEGMENTS else kept.split()


def _is_punctuation(character: str) -> bool:
    # ASCII's punctuation holds symbols, such as $ and +, that are none to Unicode.
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def overlap_f1(prediction: Sequence[str], gold: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over tokens, repeated ones counted as often as both have them.

    As in the scripts of SQuAD v1.1 and MLQA it is 0 where no token is shared, also where both answers are empty.

    Returns:
        A number in 0 .. 1.
    """
    shared = sum((Counter(prediction) & Counter(gold)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(prediction), shared / len(gold)
    return 2 * precision * recall / (precision + recall)


def best_scores(tokenise: Callable[[str], list[str]], prediction: str, golds: Sequence[str]) -> dict[str, float]:
    """F1 and exact match of one prediction, each with the right answer that it fits best.

    Args:
        tokenise: the tokens that are compared; an exact match has the same ones in the same order.
        prediction: may be empty.
        golds: one right answer or several, any of which counts.

    Returns:
        `f1` and `exact_match`, each in 0 .. 1.
    """
    predicted = tokenise(prediction)
    tokenised = [tokenise(gold) for gold in golds]
    return {
        "f1": max(overlap_f1(predicted, gold) for gold in tokenised),
        "exact_match": float(any(predicted == gold for gold in tokenised)),
    }


def mean_percent(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every score over the examples, times 100; at least one example, all with the same names."""
    return {name: 100 * sum(score[name] for score in scores) / len(scores) for name in scores[0]}
