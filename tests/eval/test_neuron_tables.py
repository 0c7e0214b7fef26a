"""Layers, neurons and masks of a checkpoint as CSV and JSON, against the profile and the masks themselves."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from command import Command
from run_helpers import evaluation_fixture, save_plain, steered_fixture  # noqa: F401

from clas_models.profiling.categories import Category, categorize
from clas_models.profiling.layer_table import layer_table
from eval.loading import open_checkpoint
from eval.neuron_tables import FORMATS, TABLES, neuron_table


def rows_of(text: str, form: str) -> list[dict[str, Any]]:
    return json.loads(text) if form == "json" else list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("form", FORMATS)
def test_layers(steered: Path, form: str) -> None:
    checkpoint = open_checkpoint(str(steered))
    model, profile = checkpoint.load(), checkpoint.profile()
    rows = rows_of(neuron_table(str(steered), "layers", form, None), form)
    expected = layer_table(categorize(profile)).rows
    assert [int(row["layer"]) for row in rows] == [row.layer for row in expected] == list(range(6))
    for row, wanted in zip(rows, expected, strict=True):
        assert float(row["partial_shared"]) == wanted.partial_shared
        assert float(row["dead"]) == wanted.dead
        shared, specific = model.steering.neurons.get(wanted.layer, (0, 0))
        assert (int(row["shared_mask"]), int(row["specific_mask"])) == (shared, specific)
        assert str(row["bridge"]) == str(wanted.layer in (2, 3))


@pytest.mark.parametrize("form", FORMATS)
def test_neurons(steered: Path, form: str) -> None:
    checkpoint = open_checkpoint(str(steered))
    masks, profile = checkpoint.load().masks, checkpoint.profile()
    categories = categorize(profile)
    means = profile.sum / profile.tokens[:, None, None]
    rows = rows_of(neuron_table(str(steered), "neurons", form, None), form)
    assert len(rows) == 6 * 48
    for row in rows:
        layer, neuron = int(row["layer"]), int(row["neuron"])
        assert row["category"] == Category(int(categories.categories[layer, neuron])).label
        active = row["active"].split() if form == "csv" else row["active"]
        assert active == [
            c for c, on in zip(profile.languages, categories.active.masks[:, layer, neuron], strict=True) if on
        ]
        for language, code in enumerate(profile.languages):
            mean = float(row[f"mean_{code}"]) if form == "csv" else row["mean"][code]
            assert mean == float(means[language, layer, neuron])
        shared, specific = masks.get(layer, (None, None))
        wanted = next(
            (n for n, m in (("shared_mask", shared), ("specific_mask", specific)) if m is not None and m[neuron]), None
        )
        assert (row["mask"] or None) == wanted


def test_other_thresholds_and_a_file(steered: Path, tmp_path: Path, evaluation: Command) -> None:
    out = tmp_path / "layers.json"
    options = ["--format", "json", "--statistic", "frequency", "--threshold", "0.9", "--out", out]
    assert evaluation.made("layers", steered, *options).out == f"{out}\n"
    profile = open_checkpoint(str(steered)).profile()
    wanted = [row.dead for row in layer_table(categorize(profile, "frequency", 0.9)).rows]
    assert [row["dead"] for row in json.loads(out.read_text())] == wanted
    assert evaluation.made("layers", steered).out.startswith("layer,dead,language_specific,partial_shared,all_shared,")
    assert list(TABLES) == ["layers", "neurons"]


def test_what_cannot_be_told(steered: Path, tmp_path: Path, evaluation: Command) -> None:
    plain = save_plain(tmp_path / "plain")
    assert "a plain checkpoint, which carries no profile" in evaluation.refused("layers", plain)
    assert "unknown statistic 'median'" in evaluation.refused("layers", steered, "--statistic", "median")
    assert "invalid choice: 'xml'" in evaluation.refused("layers", steered, "--format", "xml")
    assert "invalid choice: 'masks'" in evaluation.refused("layers", steered, "--table", "masks")
