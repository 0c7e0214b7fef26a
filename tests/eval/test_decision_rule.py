"""Without an effect hardly anything is steered, a small gain of all languages is found, and no part has two uses."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.decision_power import World, simulate
from eval.decision_rule import CHOOSE, DECIDE, REPORT, Parts, Ruling, rule

LONG = 40  # examples


def gains(*languages: list[list[int]]) -> np.ndarray:
    """Of languages, settings and parts: of LONG examples in turn, the gain in each part."""
    parts = Parts.of(range(LONG)).part
    return np.array([[[setting[part] for part in parts] for setting in each] for each in languages], dtype=float)


def ruled(values: np.ndarray, parts: Parts | None = None) -> Ruling:
    return rule(values, np.ones(values.shape[::2]), range(values.shape[1]), parts or Parts.of(range(values.shape[2])))


# ---- parts


def test_examples_take_turns_and_half_of_them_decide() -> None:
    parts = Parts.of("abcdefgh")
    assert parts.part.tolist() == [CHOOSE, DECIDE, REPORT, DECIDE] * 2
    assert parts.units == 8


def test_what_shares_a_passage_is_of_one_part_wherever_it_stands() -> None:
    parts = Parts.of("aabbcca")
    assert parts.part.tolist() == [CHOOSE, CHOOSE, DECIDE, DECIDE, REPORT, REPORT, CHOOSE]
    assert parts.sums(np.arange(7.0), CHOOSE).tolist() == [7]
    assert parts.sums(np.arange(14.0).reshape(2, 7), DECIDE).tolist() == [[5], [19]]


# ---- the rule


def test_a_gain_of_one_language_is_found_with_its_own_setting() -> None:
    found = ruled(gains([[0, 0, 0], [1, 1, 1]], [[0, 0, 0], [0, 0, 0]]))
    assert (found.chosen, found.in_force) == ((1, None), (1, None))
    assert found.p == (pytest.approx(2 * 2 * 2.0**-20), 1.0)


def test_the_part_that_reports_decides_nothing() -> None:
    for last in (1, -1):
        assert ruled(gains([[1, 0, last]], [[1, 0, last]])).in_force == (None, None)
        assert ruled(gains([[1, 1, last]], [[1, 1, last]])).in_force == (0, 0)


def test_what_was_not_chosen_is_not_tested() -> None:
    """The other setting is better where it is decided, which no choice may know."""
    assert ruled(gains([[1, 0, 0], [0, 1, 1]], [[1, 0, 0], [0, 1, 1]])).in_force == (None, None)


def small_common_gain(languages: int = 11) -> np.ndarray:
    """Each language gains on an example of its own that decides, and a little where it is chosen."""
    values = np.zeros((languages, 1, 4 * languages))
    for row in range(languages):
        values[row, 0, [4 * row, 4 * row + 1]] = 1
    return values


def test_a_small_gain_of_all_languages_is_found_together() -> None:
    found = ruled(small_common_gain())
    assert set(found.p) == {1.0}
    assert found.common_p == pytest.approx(2 * 2.0**-11)
    assert found.in_force == (0,) * 11


def test_together_nothing_is_steered_that_gets_worse() -> None:
    values = small_common_gain(20)
    values[3, 0, list(range(43, 75, 4))] = -1
    found = ruled(values)
    assert (found.common_p <= 0.05, found.worse, found.in_force[3]) == (True, (3,), None)
    assert sum(each is None for each in found.in_force) == 1


def test_what_one_language_gains_carries_no_other() -> None:
    values = np.concatenate([gains([[1, 1, 1]]), np.zeros((10, 1, LONG))])
    found = ruled(values)
    assert found.in_force == (0, *[None] * 10)
    assert found.together == tuple(range(1, 11))


def test_a_single_language_has_the_whole_level() -> None:
    values = np.zeros((1, 1, 20))
    values[0, 0, [0, 1, 3, 5, 7, 9]] = 1
    found = ruled(values)
    assert (found.p, found.in_force, found.together) == ((2.0**-5,), (0,), ())


def test_passages_are_the_units_of_the_test() -> None:
    """Ten questions on one passage are one piece of evidence."""
    shared = np.repeat(np.arange(8), 10)
    assert ruled(np.ones((1, 1, 80)), Parts.of(shared)).p == (2.0**-4,)
    assert ruled(np.ones((1, 1, 80))).p == (2.0**-40,)


def test_languages_count_the_same_however_long_their_texts() -> None:
    """What a language of a hundred times as many tokens loses does not outvote the others."""
    values, weights = small_common_gain(12), np.ones((12, 48))
    values[11, 0, [3, 7]] = -5
    weights[11] = 100
    assert rule(values, weights, [0], Parts.of(range(48))).in_force == (0,) * 12
    assert rule(values, np.ones((12, 48)), [0], Parts.of(range(48))).in_force == (None,) * 12


# ---- simulation


def test_without_an_effect_hardly_anything_is_steered() -> None:
    assert simulate(World(100), 40).anything <= 0.05 + 3 * (0.05 * 0.95 / 40) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("settings", [0.0, 0.8])
@pytest.mark.parametrize("languages", [0.0, 0.5])
def test_the_level_holds(settings: float, languages: float) -> None:
    """Six settings, eleven languages, 100 examples; languages that answer the same examples alike or not."""
    world = World(100, settings=settings, languages=languages)
    assert simulate(world, 1000).anything <= 0.05 + 2 * (0.05 * 0.95 / 1000) ** 0.5


@pytest.mark.slow
def test_more_examples_find_more() -> None:
    found = [simulate(World(examples, gain=4.0), 60).steered for examples in (50, 200, 1000)]
    assert found == sorted(found)
    assert found[0] < 0.5 < 0.95 < found[2]
