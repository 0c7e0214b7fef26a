"""Bridge layers of tables shaped like Figure 1 of "CLAS", and of the ones that a user names."""

import random

import pytest

from clas_models.errors import InputError
from clas_models.profiling.bridge_layers import choose_bridge_layers, contiguous_runs, format_layers
from clas_models.profiling.layer_table import LayerRow, LayerTable


def table_of(partial_shared, dead=5.0, language_specific=5.0, first_layer=0):
    """A table from the partial-shared percentages; the rest of a layer is all-shared."""
    return LayerTable(
        tuple(
            LayerRow(layer, dead, language_specific, share, 100 - dead - language_specific - share)
            for layer, share in enumerate(partial_shared, first_layer)
        )
    )


# High at first, a dip in the middle, high again; Llama's rises to a plateau, Qwen's peaks once.
LLAMA = table_of([70] * 8 + [35] * 14 + [45, 47, 60, 62, 63, 65, 64, 60, 75, 75])
QWEN = table_of([70] * 8 + [35] * 11 + [40, 41, 42, 44, 45, 58, 60, 70, 70])


@pytest.mark.parametrize(("table", "num_layers", "expected"), [(LLAMA, 32, "24-29"), (QWEN, 28, "24-25")])
def test_the_papers_layers_from_tables_of_the_papers_shape(table, num_layers, expected):
    chosen = choose_bridge_layers(table, num_layers)
    assert format_layers(chosen.layers) == expected
    assert chosen.warning is None
    shuffled = list(table.rows)
    random.Random(0).shuffle(shuffled)
    assert choose_bridge_layers(LayerTable(tuple(shuffled)), num_layers) == chosen


def test_the_reason_is_one_line_with_numbers():
    assert choose_bridge_layers(LLAMA, 32).reason == (
        "layers 24-29: partial-shared 62.3 %, dead 5.0 %, language-specific 5.0 % on average; "
        "peak at layer 27, within the last third, the last two layers excluded"
    )


def test_dead_and_language_specific_neurons_count_against_a_layer():
    rows = list(table_of([50] * 12).rows)
    rows[8] = LayerRow(8, 30.0, 5.0, 50.0, 15.0)
    assert choose_bridge_layers(LayerTable(tuple(rows)), 12).layers == (9,)
    rows[9] = LayerRow(9, 5.0, 40.0, 50.0, 5.0)
    assert choose_bridge_layers(LayerTable(tuple(rows)), 12).layers == (8,)


def test_the_run_does_not_jump_over_a_low_layer():
    #           candidates: 12   13  14  15  of 18 layers, then the two that are left alone
    partial_shared = [0] * 12 + [60, 20, 55, 61, 90, 90]
    assert choose_bridge_layers(table_of(partial_shared), 18).layers == (14, 15)


def test_halfway_is_enough_and_a_tie_goes_to_the_later_layer():
    assert choose_bridge_layers(table_of([0] * 12 + [20, 40, 60, 20, 0, 0]), 18).layers == (13, 14)
    chosen = choose_bridge_layers(table_of([50] * 18), 18)
    assert chosen.layers == (12, 13, 14, 15)
    assert "peak at layer 15" in chosen.reason


@pytest.mark.parametrize(("num_layers", "expected"), [(3, 0), (4, 1), (6, 3), (8, 5), (9, 6)])
def test_a_shallow_model_has_one_candidate(num_layers, expected):
    chosen = choose_bridge_layers(table_of([50] * num_layers), num_layers)
    assert chosen.layers == (expected,)
    assert f"the only candidate of {num_layers} layers" in chosen.reason


@pytest.mark.parametrize("num_layers", [1, 2])
def test_a_model_of_one_or_two_layers_needs_them_named(num_layers):
    table = table_of([50] * num_layers)
    with pytest.raises(InputError, match=rf"a model of {num_layers} layers? has no bridge layer to choose.*name the"):
        choose_bridge_layers(table, num_layers)
    assert choose_bridge_layers(table, num_layers, "0").layers == (0,)


def test_auto_needs_every_candidate():
    with pytest.raises(InputError, match="lacks layer 22-24, needed for the automatic choice of bridge layers"):
        choose_bridge_layers(table_of([50] * 7, first_layer=25), 32)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("24-29", (24, 25, 26, 27, 28, 29)), ("24,25", (24, 25)), (" 3, 5 - 7 ", (3, 5, 6, 7)), ("9,2", (2, 9))],
)
def test_layers_named_by_the_user(spec, expected):
    chosen = choose_bridge_layers(LLAMA, 32, spec)
    assert chosen.layers == expected
    assert chosen.reason.startswith(f"layers {format_layers(expected)}: partial-shared ")
    assert chosen.reason.endswith("; named by the user")
    assert chosen.warning is None


@pytest.mark.parametrize(("spec", "named"), [("30", "30"), ("28-31", "30-31"), ("3,31", "31")])
def test_the_last_two_layers_warn(spec, named):
    warning = choose_bridge_layers(LLAMA, 32, spec).warning
    assert warning is not None
    assert warning.startswith(f"bridge layers include {named}, of the last two of 32 layers, which CLAS (section 2.3)")
    assert "\n" not in warning


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "cannot read ''"),
        ("24,", "cannot read ''"),
        ("24-", "cannot read '24-'"),
        ("-1", "cannot read '-1'"),
        ("last", "cannot read 'last'"),
        ("2.5", "cannot read '2.5'"),
        ("٣", "cannot read '٣'"),
        ("29-24", "descend from 29 to 24: write 24-29"),
        ("24,24", "repeat 24: name each layer once"),
        ("3-6,5-8", "repeat 5-6"),
        ("32", "layer 32 .* is not in the model, whose layers are 0 to 31"),
        ("0-999999", "layer 999999 .* is not in the model"),
    ],
)
def test_what_cannot_be_used_as_bridge_layers(spec, message):
    with pytest.raises(InputError, match=message):
        choose_bridge_layers(LLAMA, 32, spec)


def test_named_layers_must_have_been_profiled():
    with pytest.raises(InputError, match="lacks layer 20-24, needed for bridge layers '20-25'"):
        choose_bridge_layers(table_of([50] * 7, first_layer=25), 32, "20-25")


def test_notation():
    assert format_layers((24, 25, 26, 29)) == "24-26,29"
    assert format_layers([7]) == "7"
    assert format_layers(()) == ""
    assert contiguous_runs((29, 24, 25)) == [(24, 25), (29, 29)]
