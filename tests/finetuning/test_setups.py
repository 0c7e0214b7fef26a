"""Whose neurons are trained in which setup."""

from __future__ import annotations

import pytest
import torch

from clas_models.errors import InputError
from clas_models.finetuning.setups import SETUPS, Neurons, trainings
from clas_models.profiling.neuron_profile import Provenance
from clas_models.profiling.selection import Origin, Selection
from clas_models.profiling.selection_sets import random_like

TARGETS = ("vi", "hi")


def test_a_target_has_a_model_of_its_own() -> None:
    found = {each.name: (each.languages, each.targets) for each in trainings(tuple(SETUPS), "en", TARGETS)}
    assert found == {
        "base": ((), TARGETS),
        "none": ((), TARGETS),
        "random-vi": (("vi",), ("vi",)),
        "random-hi": (("hi",), ("hi",)),
        "source": (("en",), TARGETS),
        "target-vi": (("vi",), ("vi",)),
        "target-hi": (("hi",), ("hi",)),
        "both-vi": (("en", "vi"), ("vi",)),
        "both-hi": (("en", "hi"), ("hi",)),
    }


def test_together_the_targets_share_one() -> None:
    found = {
        each.name: (each.languages, each.targets) for each in trainings(tuple(SETUPS), "en", TARGETS, together=True)
    }
    assert found["target"] == (TARGETS, TARGETS)
    assert found["both"] == (("en", *TARGETS), TARGETS)
    assert len(found) == len(SETUPS)


@pytest.mark.parametrize(
    ("setups", "targets", "fault"),
    [
        (("all",), TARGETS, "setup 'all': choose among base, none, random, source, target, both"),
        (("none", "none"), TARGETS, "'none' is given more than once"),
        ((), TARGETS, "no setup or no target"),
        (("none",), (), "no setup or no target"),
        (("none",), ("hi", "en"), "target en: that is the source"),
    ],
)
def test_a_wrong_choice_is_one_line(setups: tuple[str, ...], targets: tuple[str, ...], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        trainings(setups, "en", targets)


def neurons() -> Neurons:
    masks = torch.rand(3, 4, 64, generator=torch.Generator().manual_seed(0)) < 0.1
    profile = Provenance("model", "llama", None, ("corpus",), 1, 8, "float32", (), {})
    chosen = Selection(("en", "vi", "hi"), (0, 2, 4, 6), masks, Origin("test", {}, profile))
    return Neurons(chosen, "lape", random_like(chosen, 0), "random")


def test_masks_are_those_of_the_languages() -> None:
    of, found = neurons(), {}
    for training in trainings(tuple(SETUPS), "en", TARGETS):
        found[training.name] = of.masks(training)
    assert found["none"] == found["base"] == {}
    for layer, mask in found["both-hi"].items():
        empty = torch.zeros(64, dtype=torch.bool)
        together = found["source"].get(layer, empty) | found["target-hi"].get(layer, empty)
        assert torch.equal(mask, together)
    random, chosen = found["random-hi"], found["target-hi"]
    assert {layer: int(mask.sum()) for layer, mask in random.items()} == {
        layer: int(mask.sum()) for layer, mask in chosen.items()
    }
    assert any(not torch.equal(random[layer], chosen[layer]) for layer in chosen)
