"""The tables of a `Write`: which neurons are written over for each language of a model, and with what.

A selection says which neurons, `values` what; putting the tables in force is left to the model
(`model.intervening(Write(tables.masks, tables.values, tables.languages))`).
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from ..errors import InputError
from ..json_data import from_json
from .known import Known
from .recorder import GATE
from .selection import Origin, Selection
from .tensor_file import check_axes, check_names, check_tensor, described_tensors, save_described, stored_languages
from .values import language_values

_METADATA_KEY = "clas_write"
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class WriteTables:
    """What is written over `act(gate)`, for each language, in all layers of a model.

    Attributes:
        languages: codes, the first axis of the tables.
        masks: bool `[languages, layers, neurons]`: the neurons that are written over.
        values: float32, same shape: with what; 0 where nothing is written.
    """

    languages: tuple[str, ...]
    masks: Tensor
    values: Tensor
    origin: Origin

    def __post_init__(self) -> None:
        shape = tuple(self.masks.shape)
        if len(shape) != 3:
            raise InputError(f"tensor 'masks' of shape {list(shape)}, expected [languages, layers, neurons]")
        check_axes(self.languages, tuple(range(shape[1])))
        check_tensor("masks", self.masks, torch.bool, (len(self.languages), *shape[1:]))
        check_tensor("values", self.values, torch.float32, shape)
        if not bool(self.values.isfinite().all()):
            raise InputError("tensor 'values' holds values that are not finite")

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all; it holds only the neurons that are written over."""
        described = {
            "format_version": _FORMAT,
            "languages": self.languages,
            "shape": tuple(self.masks.shape),
            "origin": asdict(self.origin),
        }
        tensors = {"indices": self.masks.flatten().nonzero().flatten(), "values": self.values[self.masks]}
        save_described(path, _METADATA_KEY, described, tensors)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file of `save`. Raises InputError: no such file, one of another kind, or one that is damaged."""
        what, remedy = "file of write tables", "save some first"
        with described_tensors(path, _METADATA_KEY, what, remedy, _FORMAT) as (described, tensors):
            check_names(tensors, {"indices", "values"})
            indices = tensors["indices"]
            check_tensor("indices", indices, torch.int64, (indices.numel(),))
            check_tensor("values", tensors["values"], torch.float32, (indices.numel(),))
            masks = torch.zeros(described["shape"], dtype=torch.bool)
            if bool((indices.diff() <= 0).any()) or bool(((indices < 0) | (indices >= masks.numel())).any()):
                raise InputError(f"tensor 'indices' must ascend between 0 and {masks.numel() - 1}")
            values = torch.zeros(described["shape"])
            masks.view(-1)[indices], values.view(-1)[indices] = True, tensors["values"]
            return cls(stored_languages(described["languages"]), masks, values, from_json(Origin, described["origin"]))


def write_tables(
    known: Known,
    selection: Selection,
    languages: Sequence[str],
    *,
    value: str = "mean",
    site: str = GATE,
    leave_out: Collection[str] = (),
) -> WriteTables:
    """What a model of these `languages` writes over the selected neurons of each.

    Args:
        known: the profile and quantiles that the values are read from.
        selection: which neurons; a language that it lacks has none.
        languages: codes, usually those of the model.
        value: as `values.read_value` takes it.
        site: a key of `values.SITES`, where the value is taken.
        leave_out: languages in which nothing is written, such as the anchor.

    Raises InputError: the profile and the selection are of different models, or `language_values` does.
    """
    profile = known.profile
    languages, leave_out = stored_languages(languages), stored_languages(tuple(leave_out))
    mine, theirs = profile.provenance, selection.origin.profile
    if (
        not set(selection.layers) <= set(profile.layers)
        or selection.masks.shape[2] != profile.num_neurons
        or (mine.fingerprint and theirs.fingerprint and mine.fingerprint != theirs.fingerprint)
    ):
        raise InputError(
            f"the neurons were selected in another model or other layers ({theirs.model}) than the neuron profile "
            f"has values for ({mine.model}): give the profile that they were selected in"
        )
    shape = (len(languages), profile.num_model_layers, profile.num_neurons)
    masks, values = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape)
    rows = [profile.layers.index(layer) for layer in selection.layers]
    for index, language in enumerate(languages):
        if language in selection.languages and language not in leave_out:
            chosen = selection.masks[selection.languages.index(language)]
            masks[index, list(selection.layers)] = chosen
            written = language_values(known, language, value, site)[rows]
            values[index, list(selection.layers)] = torch.where(chosen, written, 0.0)
    made_by, made_with = selection.origin.made_by, selection.origin.arguments
    made = {"made_by": made_by, "arguments": made_with, "digests": list(theirs.digests)}
    arguments = {"selection": made, "value": value, "site": site, "leave_out": sorted(leave_out)}
    return WriteTables(languages, masks, values, Origin("write_tables", arguments, mine))
