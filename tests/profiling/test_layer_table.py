"""The layer table of two layers of eight neurons, and its four ways onto paper."""

import csv

import pytest
import torch

from clas_models.profiling.categories import NeuronCategories
from clas_models.profiling.layer_table import LayerRow, LayerTable, layer_table

TABLE = LayerTable((LayerRow(0, 12.5, 25.0, 50.0, 12.5), LayerRow(10, 0.0, 0.0, 100.0, 0.0)))


def categories_of(values, layers):
    values = torch.tensor(values, dtype=torch.uint8)
    active = torch.zeros((3, *values.shape), dtype=torch.bool)
    return NeuronCategories(values, active, ("en", "de", "zh"), layers, "mean", 0.0)


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


def test_dicts_and_csv_hold_the_numbers_in_full():
    table = LayerTable((LayerRow(3, 100 / 3, 0.0, 200 / 3, 0.0),))
    expected = {"layer": 3, "dead": 100 / 3, "language_specific": 0.0, "partial_shared": 200 / 3, "all_shared": 0.0}
    assert table.to_dicts() == [expected]
    (row,) = csv.DictReader(table.to_csv().splitlines())
    assert {name: float(value) for name, value in row.items()} == expected
