"""What a steered checkpoint knows of its neurons, as CSV or JSON: a row for each layer, or for each neuron.

The categories are made from the profile that the checkpoint carries; which neurons are steered is said by its masks,
which may have been made with other settings or by somebody else.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from clas_models.atomic import atomic_file
from clas_models.command_line import CONVERT
from clas_models.conversion.chosen_masks import read_masks
from clas_models.errors import InputError
from clas_models.keeping import refuse_loss
from clas_models.modeling.tensor_names import MASKS
from clas_models.profiling.categories import Category, NeuronCategories, categorize
from clas_models.profiling.layer_table import layer_table
from clas_models.profiling.neuron_profile import NeuronProfile

from .loading import Checkpoint, open_checkpoint

Row = dict[str, Any]


def neuron_table(
    model: str,
    table: str,
    form: str,
    out: Path | None,
    statistic: str = "mean",
    threshold: float | None = None,
    *,
    overwrite: bool = False,
) -> str:
    """The command `layers`.

    Args:
        model: a folder or a Hub id of a steered checkpoint.
        table: a key of TABLES.
        form: a key of FORMATS.
        out: a file that appears whole or not at all; None gives the text itself.
        statistic, threshold: as for `categorize`.
        overwrite: replace a file that is there.

    Returns:
        What the command prints: the text, or where it is.

    Raises:
        InputError: the checkpoint is a plain one, carries no usable profile or masks, or an option cannot be used,
            or the file is there and may not be replaced.
        OSError: the file cannot be written.
    """
    if out is not None:
        refuse_loss(out, "exists already" if out.exists() else "", overwrite=overwrite)
    checkpoint = open_checkpoint(model)
    if not checkpoint.is_steered:
        raise InputError(f"{model}: a plain checkpoint, which carries no profile; convert it first with {CONVERT}")
    profile = checkpoint.profile()
    rows = TABLES[table](checkpoint, profile, categorize(profile, statistic, threshold))
    if out is None:
        text = io.StringIO()
        FORMATS[form](rows, text)
        return text.getvalue().rstrip("\n")
    with atomic_file(out) as path, path.open("w", encoding="utf-8", newline="") as file:
        FORMATS[form](rows, file)
    return str(out)


def _layer_rows(checkpoint: Checkpoint, profile: NeuronProfile, categories: NeuronCategories) -> Iterator[Row]:
    """By layer the percentages of the categories, and how many neurons are in its masks."""
    masks = read_masks(checkpoint.source, checkpoint.config.bridge_layers)
    for row in layer_table(categories).rows:
        shares = dict(zip((category.name.lower() for category in Category), row.percentages(), strict=True))
        counts = [int(mask.sum()) for mask in masks[row.layer]] if row.layer in masks else [0, 0]
        yield {"layer": row.layer, **shares, "bridge": row.layer in masks, **dict(zip(MASKS, counts, strict=True))}


def _neuron_rows(checkpoint: Checkpoint, profile: NeuronProfile, categories: NeuronCategories) -> Iterator[Row]:
    """By neuron its category, its mask if it is steered, the languages that it is active in, and its means."""
    masks = read_masks(checkpoint.source, checkpoint.config.bridge_layers)
    labels = [category.label for category in Category]
    for place, layer in enumerate(profile.layers):
        means = (profile.sum[:, place] / profile.tokens[:, None]).T.tolist()
        active = categories.active.masks[:, place].T.tolist()
        steered = [mask.tolist() for mask in masks[layer]] if layer in masks else None
        for neuron, category in enumerate(categories.categories[place].tolist()):
            yield {
                "layer": layer,
                "neuron": neuron,
                "category": labels[category],
                "mask": next((name for name, mask in zip(MASKS, steered or (), strict=False) if mask[neuron]), None),
                "active": [
                    code for code, is_active in zip(profile.languages, active[neuron], strict=True) if is_active
                ],
                "mean": dict(zip(profile.languages, means[neuron], strict=True)),
            }


def _write_csv(rows: Iterator[Row], file: TextIO) -> None:
    """Lists have spaces between their items; what is by language has a column for each."""
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        flat: Row = {}
        for name, value in row.items():
            if isinstance(value, Mapping):
                flat |= {f"{name}_{code}": number for code, number in value.items()}
            else:
                flat[name] = " ".join(value) if isinstance(value, list) else value
        if writer is None:
            writer = csv.DictWriter(file, list(flat), lineterminator="\n")
            writer.writeheader()
        writer.writerow(flat)


def _write_json(rows: Iterator[Row], file: TextIO) -> None:
    """A list with an object in each line."""
    file.write("[")
    for number, row in enumerate(rows):
        file.write(("\n" if number == 0 else ",\n") + json.dumps(row))
    file.write("\n]\n")


TABLES: Mapping[str, Callable[[Checkpoint, NeuronProfile, NeuronCategories], Iterator[Row]]] = {
    "layers": _layer_rows,
    "neurons": _neuron_rows,
}
FORMATS: Mapping[str, Callable[[Iterator[Row], TextIO], None]] = {"csv": _write_csv, "json": _write_json}
