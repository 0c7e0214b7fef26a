"""The byte model against Witten and Bell's rule, written down byte by byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import log

import pytest
import torch
from torch import Tensor

from clas_models.profiling.detector.byte_model import ByteModel

SAMPLES = ["die Katze schläft im Haus".encode(), b"the cat sleeps in the house", "猫在家里睡觉".encode()]
ASKED = [b"the house", "schläft".encode(), b" katzen", "在家".encode(), "家".encode()[1:], b"\xff\x00\xff", b"e", b""]


def witten_bell(samples: Sequence[tuple[bytes, float]], text: bytes, order: int) -> float:
    """log P of a text for one language, from weighted samples of it."""
    counts: Counter[bytes] = Counter()
    for sample, weight in samples:
        for length in range(1, order + 1):
            for start in range(len(sample) - length + 1):
                counts[sample[start : start + length]] += weight  # type: ignore[assignment]

    def probability(context: bytes, byte: bytes) -> float:
        lower = probability(context[1:], byte) if context else 1 / 256
        followers = [counts[context + bytes([value])] for value in range(256)]
        total, kinds = sum(followers), sum(min(follower, 1) for follower in followers)
        return (counts[context + byte] + kinds * lower) / (total + kinds) if total else lower

    places = range(len(text))
    return sum(log(probability(text[max(0, place - order + 1) : place], text[place : place + 1])) for place in places)


def languages_of(weights: Tensor) -> list[list[tuple[bytes, float]]]:
    """For each language its samples and how much they count."""
    return [list(zip(SAMPLES, column, strict=True)) for column in weights.T.tolist()]


@pytest.mark.parametrize("order", [1, 2, 3, 5, 7])
@pytest.mark.parametrize(
    "weights",
    [torch.eye(3), torch.tensor([[1.0, 0.0], [0.25, 0.75], [0.0, 0.4]])],
    ids=["a sample a language", "shared samples"],
)
def test_probabilities_are_those_of_the_rule(order: int, weights: Tensor) -> None:
    found = ByteModel(SAMPLES, weights.double(), order).log_probabilities(ASKED)
    expected = [[witten_bell(samples, text, order) for samples in languages_of(weights)] for text in ASKED]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("context", [b"", b"t", b"th", b"the ", b"xyz", b"schl", b"\xe7\x8c"])
def test_what_can_follow_sums_to_one(context: bytes) -> None:
    model = ByteModel(SAMPLES, torch.eye(3, dtype=torch.float64))
    continued = model.log_probabilities([context + bytes([value]) for value in range(256)])
    followers = (continued - model.log_probabilities([context])).exp()
    torch.testing.assert_close(followers.sum(0), torch.ones(3, dtype=torch.float64), rtol=1e-4, atol=0)


def test_each_language_finds_its_own_words_likelier() -> None:
    found = ByteModel(SAMPLES, torch.eye(3, dtype=torch.float64)).log_probabilities(
        [b" katze", b" house", b"\xe5\xae\xb6"]
    )
    assert found.argmax(1).tolist() == [0, 1, 2]


def test_samples_do_not_run_into_each_other() -> None:
    weights = torch.ones(2, 1, dtype=torch.float64)
    apart = ByteModel([b"ab", b"cd"], weights, 2).log_probabilities([b"bc", b"bd"])
    joined = ByteModel([b"abcd", b""], weights, 2).log_probabilities([b"bc", b"bd"])
    assert apart[0] == apart[1]
    assert joined[0] > joined[1] + 0.5


def test_strings_do_not_depend_on_what_else_is_asked() -> None:
    """More bytes than are looked up at a time."""
    model = ByteModel(SAMPLES, torch.eye(3, dtype=torch.float64))
    alone = torch.cat([model.log_probabilities([text]) for text in ASKED])
    many = model.log_probabilities(ASKED * 4000)
    assert sum(map(len, ASKED)) * 4000 > 1 << 17
    torch.testing.assert_close(many, alone.repeat(4000, 1))


def test_samples_longer_than_what_is_counted_at_a_time() -> None:
    weights = torch.ones(1, 1, dtype=torch.float64)
    found = ByteModel([b"ab" * (1 << 17) + b"a"], weights, 2).log_probabilities([b"ab", b"a", b"b"]).exp().squeeze(1)
    # Both bytes are seen about equally often, and b always follows a.
    torch.testing.assert_close(found, torch.full((3,), 0.5, dtype=torch.float64), rtol=1e-3, atol=0)


def test_nothing_asked() -> None:
    model = ByteModel(SAMPLES, torch.eye(3, dtype=torch.float64))
    assert model.log_probabilities([]).shape == (0, 3)
    assert model.log_probabilities([b"", b""]).tolist() == [[0.0] * 3] * 2
