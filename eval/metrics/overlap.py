"""How far an answer's tokens agree with those of the right answers.

What the tokens of an answer are is the business of `normalisation.py`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence


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
