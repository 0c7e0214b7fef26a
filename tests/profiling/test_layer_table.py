"""The layer table of two layers of eight neurons, and its two ways onto paper."""

import pytest
import torch

from clas_models.profiling.categories import NeuronCategories
from clas_models.profiling.layer_table import LayerRow, LayerTable, layer_table
from clas_models.profiling.neuron_profile import Provenance
from clas_models.profiling.selection import Origin, Selection

TABLE = LayerTable((LayerRow(0, 12.5, 25.0, 50.0, 12.5), LayerRow(10, 0.0, 0.0, 100.0, 0.0)))


def categories_of(values, layers):
    values = torch.tensor(values, dtype=torch.uint8)
    active = torch.zeros((3, *values.shape), dtype=torch.bool)
    provenance = Provenance("hand-made", "llama", None, ("lists",), 1, 512, "float32", ("0",), {})
    return NeuronCategories(values, Selection(("en", "de", "zh"), layers, active, Origin("nobody", {}, provenance)))


def test_percentages_of_each_layer():
    values = [[0, 1, 1, 2, 2, 2, 2, 3], [2] * 8]
    assert layer_table(categories_of(values, layers=(0, 10))) == TABLE


def test_percentages_add_to_100():
    torch.manual_seed(0)
    table = layer_table(categories_of(torch.randint(0, 4, (5, 997)).tolist(), layers=(0, 1, 2, 3, 4)))
    for row in table.rows:
        assert sum(row.percentages()) == pytest.approx(100, abs=1e-9)


def test_text_is_aligned():
    assert TABLE.to_text().splitlines() == [
        "layer  dead %  language-specific %  partial-shared %  all-shared %",
        "    0    12.5                 25.0              50.0          12.5",
        "   10     0.0                  0.0             100.0           0.0",
    ]


def test_text_marks_bridge_layers():
    header, first, second = TABLE.to_text(bridge_layers=(10,)).splitlines()
    assert header.endswith("all-shared %")
    assert first.endswith("12.5")
    assert second.endswith("0.0  bridge")


def test_markdown():
    assert TABLE.to_markdown(bridge_layers=[0]).splitlines() == [
        "| layer | dead % | language-specific % | partial-shared % | all-shared % |  |",
        "| ---: | ---: | ---: | ---: | ---: | :--- |",
        "| 0 | 12.5 | 25.0 | 50.0 | 12.5 | bridge |",
        "| 10 | 0.0 | 0.0 | 100.0 | 0.0 |  |",
    ]
    assert "bridge" not in TABLE.to_markdown()
