"""Set operations by hand, and random neurons, as many as of a selection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from test_lape import FIVE, profile_of

from clas_models.errors import InputError
from clas_models.profiling.lape import lape
from clas_models.profiling.selection import Origin, Selection
from clas_models.profiling.selection_sets import difference, intersection, random_like, union


def selection(
    masks: Sequence[Sequence[Sequence[int]]], languages: Sequence[str] = ("en", "de"), name: str = "a"
) -> Selection:
    """`masks` `[languages][layers][neurons]`."""
    tensor = torch.tensor(masks, dtype=torch.bool)
    return Selection(tuple(languages), tuple(range(tensor.shape[1])), tensor, Origin(name, {"x": 1}, FIVE.provenance))


A = selection([[[1, 1, 0, 0]], [[0, 0, 0, 1]]])
B = selection([[[0, 1, 1, 0]], [[1, 0, 0, 1]]], ("de", "zh"), "b")


def test_by_hand() -> None:
    assert union(A, B).masks.int().tolist() == [[[1, 1, 0, 0]], [[0, 1, 1, 1]], [[1, 0, 0, 1]]]
    assert intersection(A, B).masks.int().tolist() == [[[0, 0, 0, 0]]] * 3
    assert difference(A, B).masks.int().tolist() == [[[1, 1, 0, 0]], [[0, 0, 0, 1]], [[0, 0, 0, 0]]]
    assert difference(B, A).masks.int().tolist() == [[[0, 1, 1, 0]], [[1, 0, 0, 1]], [[0, 0, 0, 0]]]
    assert union(A, B).languages == ("en", "de", "zh")
    same = selection([[[0, 1, 1, 0]], [[1, 0, 0, 1]]])
    assert intersection(A, same).masks.int().tolist() == [[[0, 1, 0, 0]], [[0, 0, 0, 1]]]


def test_laws() -> None:
    for one, other in ((A, B), (B, A)):
        parts = [difference(one, other), intersection(one, other), difference(other, one)]
        counts = [sum(part.counts().values()) for part in parts]
        assert sum(counts) == sum(union(one, other).counts().values())
    assert not difference(A, A).masks.any()
    assert torch.equal(union(A, A).masks, A.masks)


def test_it_is_known_how_they_were_made() -> None:
    made = difference(union(A, B), A).origin
    assert made.made_by == "difference"
    assert [part["made_by"] for part in made.arguments["of"]] == ["union", "a"]
    assert made.arguments["of"][0]["arguments"]["of"][1] == {"made_by": "b", "arguments": {"x": 1}}
    assert made.profile == FIVE.provenance


def test_selections_of_different_models_are_not_combined() -> None:
    wide = selection([[[1, 1, 0, 0, 1]], [[0, 0, 0, 1, 1]]])
    with pytest.raises(InputError, match=r"selections of different numbers of neurons, .*: combine those of one model"):
        union(A, wide)
    deep = selection([[[1, 1, 0, 0]] * 2, [[0, 0, 0, 1]] * 2])
    with pytest.raises(InputError, match="selections of different layers"):
        intersection(A, deep)

    def of(fingerprint: str) -> Selection:
        return replace(A, origin=replace(A.origin, profile=replace(FIVE.provenance, fingerprint=fingerprint)))

    with pytest.raises(InputError, match="selections of different weights"):
        difference(of("f00d"), of("beef"))
    assert union(A, of("beef")).masks.any()  # made of a model that nobody marked


# -- random --------------------------------------------------------------------------------------------------------

LAYERS = profile_of(torch.randint(0, 30, (3, 4, 300), generator=torch.Generator().manual_seed(0)), [30, 30, 30])


def test_random_has_as_many_in_every_language_and_layer() -> None:
    found = lape(LAYERS, top_rate=0.3, activation_percentile=0.7, filter_percentile=0.7)
    drawn = random_like(found, seed=1)
    assert torch.equal(drawn.masks.sum(-1), found.masks.sum(-1))
    assert len(set(found.masks.sum(-1).flatten().tolist())) > 3, "numbers that tell something"
    assert not torch.equal(drawn.masks, found.masks)
    assert drawn.origin.made_by == "random_like"
    assert (drawn.origin.arguments["seed"], drawn.origin.arguments["like"]["made_by"]) == (1, "lape")


def test_the_seed_says_which() -> None:
    found = lape(LAYERS, top_rate=0.3, activation_percentile=0.7, filter_percentile=0.7)
    assert torch.equal(random_like(found, 1).masks, random_like(found, 1).masks)
    assert not torch.equal(random_like(found, 1).masks, random_like(found, 2).masks)
    alone = replace(found, languages=("de",), masks=found.masks[1:2])
    assert torch.equal(random_like(alone, 1).masks[0], random_like(found, 1).masks[1])


def test_every_neuron_is_drawn_as_often() -> None:
    half = selection([[[1] * 5 + [0] * 5]], ("en",))
    often = sum(random_like(half, seed).masks[0, 0].int() for seed in range(2000))
    assert ((often - 1000).abs() < 120).all()  # 5 standard deviations
