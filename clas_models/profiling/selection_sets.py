"""Selections from selections: union, intersection, difference, and as many neurons drawn at random.

Language by language: a language that one of two selections lacks has no neurons there.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from hashlib import blake2b

import torch
from torch import Tensor

from ..errors import InputError
from .neuron_profile import NeuronProfile
from .selection import Origin, Selection


def union(one: Selection, other: Selection) -> Selection:
    """The neurons in either. Raises InputError: they are of different models or layers."""
    return _combined("union", one, other, torch.logical_or)


def intersection(one: Selection, other: Selection) -> Selection:
    """The neurons in both. Raises InputError: they are of different models or layers."""
    return _combined("intersection", one, other, torch.logical_and)


def difference(one: Selection, other: Selection) -> Selection:
    """The neurons in the first that are not in the other. Raises InputError: they are of different models or layers."""
    return _combined("difference", one, other, lambda first, second: first & ~second)


def random_like(selection: Selection, seed: int = 0) -> Selection:
    """As many neurons in each language and layer, drawn anew: a control for which neurons they are.

    The same seed draws the same ones for a language and layer, whatever other languages there are.
    """
    drawn = torch.zeros_like(selection.masks)
    for row, language in enumerate(selection.languages):
        for place, layer in enumerate(selection.layers):
            mask = selection.masks[row, place]
            generator = torch.Generator().manual_seed(_seed_of(seed, language, layer))
            drawn[row, place, torch.randperm(len(mask), generator=generator)[: int(mask.sum())]] = True
    arguments = {"seed": seed, "like": _told(selection.origin)}
    return Selection(
        selection.languages, selection.layers, drawn, Origin("random_like", arguments, selection.origin.profile)
    )


def random_per_layer(profile: NeuronProfile, count: int, seed: int = 0) -> Selection:
    """`count` neurons drawn for each language and layer, as in table 8 of Mondal et al. (2025).

    They are those of `random_like` where that has so many.  Raises InputError: none, or more than a layer has.
    """
    if not 0 < count <= profile.num_neurons:
        raise InputError(f"random: per_layer={count}: draw 1 or more of the {profile.num_neurons} neurons of a layer")
    masks = torch.zeros((len(profile.languages), len(profile.layers), profile.num_neurons), dtype=torch.bool)
    masks[..., :count] = True
    origin = Origin("random_per_layer", {"per_layer": count, "seed": seed}, profile.provenance)
    as_many = Selection(profile.languages, profile.layers, masks, origin)
    return replace(random_like(as_many, seed), origin=origin)


def _seed_of(seed: int, language: str, layer: int) -> int:
    return int.from_bytes(blake2b(f"{seed}/{language}/{layer}".encode(), digest_size=7).digest())


def _combined(name: str, one: Selection, other: Selection, operation: Callable[[Tensor, Tensor], Tensor]) -> Selection:
    check_same_model(one, other)
    languages = tuple(dict.fromkeys(one.languages + other.languages))
    masks = operation(_over(one, languages), _over(other, languages))
    arguments = {"of": [_told(one.origin), _told(other.origin)]}
    return Selection(languages, one.layers, masks, Origin(name, arguments, one.origin.profile))


def check_same_model(one: Selection, other: Selection) -> None:
    """Raises InputError: the selections are of different models, or of different layers of one."""
    mine, theirs = one.origin.profile, other.origin.profile
    for what, left, right in (
        ("layers", one.layers, other.layers),
        ("numbers of neurons", one.masks.shape[2], other.masks.shape[2]),
        # What was made outside of a conversion may not know its weights.
        ("weights", mine.fingerprint or theirs.fingerprint, theirs.fingerprint or mine.fingerprint),
    ):
        if left != right:
            raise InputError(
                f"selections of different {what}, of {mine.model} and {theirs.model}: combine those of one model"
            )


def _over(selection: Selection, languages: tuple[str, ...]) -> Tensor:
    """The masks for these languages, among which are its own."""
    masks = torch.zeros((len(languages), *selection.masks.shape[1:]), dtype=torch.bool)
    masks[[languages.index(code) for code in selection.languages]] = selection.masks
    return masks


def _told(origin: Origin) -> dict[str, object]:
    """An origin as a value of another one's arguments; both are of the same model."""
    told = asdict(origin)
    told.pop("profile")
    return told
