"""The setups of fine-tuning: whose neurons are trained beside attention.

Source: Mondal et al., "Language-specific Neurons Do Not Facilitate Cross-Lingual Transfer" (2025), section 3.2 and
tables 3, 7 and 8: the neurons of the source language, of the target, of both, or as many drawn at random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..errors import InputError
from ..profiling.selection import Selection
from ..profiling.selection_sets import random_like
from ..profiling.selections import Known, select
from .neuron_lora import neuron_masks

BASE, ATTENTION, RANDOM, SOURCE, TARGET, BOTH = "base", "none", "random", "source", "target", "both"
SETUPS: Mapping[str, str] = {
    BASE: "no training",
    ATTENTION: "attention alone",
    RANDOM: "random neurons",
    SOURCE: "the source's neurons",
    TARGET: "the target's neurons",
    BOTH: "the source's and the target's neurons",
}
_OF_A_TARGET = (RANDOM, TARGET, BOTH)


@dataclass(frozen=True)
class Training:
    """One model that is trained.

    Attributes:
        setup: a key of SETUPS.
        languages: whose neurons are trained; with `random`, as many as they have; none is attention alone, or nothing.
        targets: in which it is evaluated, beside the source.
        name: of its folder, such as `target-hi`.
    """

    setup: str
    languages: tuple[str, ...]
    targets: tuple[str, ...]
    name: str

    @property
    def trains(self) -> bool:
        """Whether anything is trained at all."""
        return self.setup != BASE


def trainings(setups: Sequence[str], source: str, targets: Sequence[str], *, together: bool = False) -> list[Training]:
    """What is trained, in the order of the setups.

    Args:
        setups: keys of SETUPS.
        source: the language of the training rows.
        targets: in which the models are evaluated.
        together: train the neurons of all targets in one model; otherwise, as in the paper, a model for each target.

    Raises InputError: no such setup, one twice, no target, or the source among the targets.
    """
    for name in setups:
        if name not in SETUPS:
            raise InputError(f"setup {name!r}: choose among {', '.join(SETUPS)}")
        if list(setups).count(name) > 1:
            raise InputError(f"setup {name!r} is given more than once: name every one once")
    if not setups or not targets:
        raise InputError("fine-tuning: no setup or no target language; name one")
    if source in targets:
        raise InputError(f"target {source}: that is the source, the language of the training rows; name others")
    return [training for name in setups for training in _of_setup(name, source, tuple(targets), together)]


def _of_setup(setup: str, source: str, targets: tuple[str, ...], together: bool) -> list[Training]:
    if setup not in _OF_A_TARGET:
        return [Training(setup, (source,) if setup == SOURCE else (), targets, setup)]
    before = (source,) if setup == BOTH else ()
    if together:
        return [Training(setup, (*before, *targets), targets, setup)]
    return [Training(setup, (*before, target), (target,), f"{setup}-{target}") for target in targets]


@dataclass(frozen=True)
class Neurons:
    """Where the neurons of trainings come from.

    Attributes:
        selection: of the language-specific ones.
        text: what describes it.
        random: of the random ones.
        random_text: what describes that.
    """

    selection: Selection
    text: str
    random: Selection
    random_text: str

    @classmethod
    def of(cls, known: Known, text: str, random_text: str | None, seed: int) -> Neurons:
        """Args:
            text: a selection, as `selections.select` reads it.
            random_text: likewise, of the random neurons; None is as many in each language and layer as the selection
                has, drawn with the seed.

        Raises InputError: as `select`.
        """
        selection = select(text, known)
        if random_text is not None:
            return cls(selection, text, select(random_text, known), random_text)
        return cls(selection, text, random_like(selection, seed), f"random, as many as {text}")

    def masks(self, training: Training) -> dict[int, Tensor]:
        """By layer, bool `[neurons]`: the neurons that a training changes; none is attention alone.

        Raises InputError: a language has no neurons.
        """
        if not training.languages:
            return {}
        if training.setup == RANDOM:
            return neuron_masks(self.random, training.languages, self.random_text)
        return neuron_masks(self.selection, training.languages, self.text)
