"""What is written over a language's neurons: values of real and hand-made profiles, tables for a model, their file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_plain
from naive_reference import naive_reference
from test_lape import FIVE, profile_of
from test_selection import SELECTION, rewrite

from clas_models import FAMILIES
from clas_models.errors import InputError
from clas_models.profiling.categories import Category, categorize
from clas_models.profiling.corpora import ParallelCorpus
from clas_models.profiling.known import Known
from clas_models.profiling.lape import lape
from clas_models.profiling.neuron_quantiles import PERCENTS
from clas_models.profiling.profiler import NeuronSums, profile_neurons
from clas_models.profiling.quantile_recorder import QuantileRecorder
from clas_models.profiling.recording import record
from clas_models.profiling.selections import SELECTIONS, select
from clas_models.profiling.values import SITES, language_values, read_value
from clas_models.profiling.write_tables import WriteTables, write_tables

WORDS = ParallelCorpus(
    "words",
    ("en", "de", "zh"),
    [
        {"en": "an apple", "de": "ein Apfel", "zh": "一个苹果"},
        {"en": "pear", "de": "eine süße Birne", "zh": "梨"},
        {"en": "plums and more plums", "de": "Pflaumen", "zh": "李子"},
    ],
)

# -- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 8])
def test_values_of_a_model(family: Any, tokenizer: Any, batch_size: int) -> None:
    # In float64, where no rounding turns the sign of an output near 0.
    model = tiny_plain(family, num_hidden_layers=3).double()
    profile = profile_neurons(model, tokenizer, WORDS, batch_size=batch_size)
    reference = naive_reference(model, tokenizer, WORDS).profile
    neurons = lape(profile, top_rate=0.1)
    assert torch.equal(neurons.masks, lape(reference, top_rate=0.1).masks)
    assert int(neurons.masks.any(dim=0).sum()) == round(0.1 * 3 * 48)
    for row, language in enumerate(WORDS.languages):
        for site, total in (("gate", reference.gate_sum), ("activated", reference.total("act_sum"))):
            values = language_values(Known(profile), language, "mean", site)
            assert values.dtype == torch.float32
            torch.testing.assert_close(values, (total[row] / reference.tokens[row]).float(), rtol=1e-6, atol=1e-12)


def test_values_by_hand() -> None:
    assert language_values(Known(FIVE), "de").tolist() == [pytest.approx([0.525, 0.625, 0.725, 0.825, 0.925])]
    assert language_values(Known(FIVE), "de", site="activated").tolist() == [
        pytest.approx([0.575, 0.675, 0.775, 0.875, 0.975])
    ]
    for site in SITES:
        zero = language_values(Known(FIVE), "de", "zero", site)
        assert (zero.dtype, zero.tolist()) == (torch.float32, [[0.0] * 5])


def test_values_are_those_of_the_language_wherever_it_stands_in_the_profile() -> None:
    other = FIVE.select(["zh", "de"])
    for language in other.languages:
        assert torch.equal(language_values(Known(other), language), language_values(Known(FIVE), language))
    with pytest.raises(InputError, match="languages en are not in the profile"):
        language_values(Known(other), "en")


def test_an_older_profile_has_no_values_of_the_site_activated() -> None:
    older = replace(FIVE, act_sum=None)
    assert torch.equal(language_values(Known(older), "de"), language_values(Known(FIVE), "de"))
    with pytest.raises(InputError, match=r"lacks 'act_sum'.*profile the model again"):
        language_values(Known(older), "de", site="activated")


def test_values_that_cannot_be_had() -> None:
    with pytest.raises(InputError, match=r"unknown value 'median' to write: choose one of mean, zero, p5 … p95, mean"):
        language_values(Known(FIVE), "de", "median")
    for value in ("p90", "mean-2std"):
        with pytest.raises(
            InputError, match=f"value {value}: quantiles were not recorded .* --quantiles, or write mean"
        ):
            language_values(Known(FIVE), "de", value)
    with pytest.raises(InputError, match="unknown site 'up' of a value: choose one of gate, activated"):
        language_values(Known(FIVE), "de", site="up")
    silent = profile_of([[[1] * 5], [[0] * 5], [[1] * 5]], [10, 0, 10])
    with pytest.raises(InputError, match="no tokens were profiled for de: "):
        language_values(Known(silent), "de")


@pytest.fixture
def known(tokenizer: Any) -> Known:
    """Of a tiny model, with quantiles."""
    model = tiny_plain(FAMILIES["llama"])
    sums, quantiles = NeuronSums(model, WORDS.languages), QuantileRecorder(model, WORDS.languages)
    recording = record(model, tokenizer, WORDS, [sums, quantiles])
    return Known(sums.profile(recording), quantiles.quantiles(recording))


@pytest.mark.parametrize("site", SITES)
def test_values_from_quantiles(known: Known, site: str) -> None:
    assert known.quantiles is not None
    for language in WORDS.languages:
        for percent in PERCENTS:
            expected = known.quantiles.of(language, percent, site)
            assert torch.equal(language_values(known, language, f"p{percent}", site), expected)
        mean, std = language_values(known, language, "mean", site), known.quantiles.std(language, site)
        for value, factor in (("mean+2std", 2), ("mean-0.5std", -0.5), ("mean+std", 1)):
            torch.testing.assert_close(language_values(known, language, value, site), mean + factor * std)


def test_what_the_quantiles_lack_is_said(known: Known) -> None:
    assert known.quantiles is not None
    with pytest.raises(InputError, match="P33 was not recorded: choose one of P5, P10, P25, P50, P75, P90, P95"):
        language_values(known, "de", "p33")
    older = {site: replace(held, std=None) for site, held in known.quantiles.sites.items()}
    with pytest.raises(InputError, match=r"standard deviations were not recorded.* --quantiles"):
        language_values(replace(known, quantiles=replace(known.quantiles, sites=older)), "de", "mean+std")
    shallow = replace(known.quantiles, layers=(0, 1, 2, 3, 4, 7), num_model_layers=8)
    with pytest.raises(InputError, match=r"quantiles of other layers or neurons .* than the profile's"):
        language_values(replace(known, quantiles=shallow), "de", "p90")


def test_quantiles_of_more_layers_than_the_profile(known: Known) -> None:
    upper = replace(known, profile=known.profile.of_layers([2, 5]))
    assert torch.equal(language_values(upper, "de", "p90"), language_values(known, "de", "p90")[[2, 5]])


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (("mean",), "mean"),
        (("zero",), "zero"),
        (("p5", "p05"), "p5"),
        (("mean+std", "mean+1std", "mean+1.0std", "mean+01std"), "mean+1std"),
        (("mean-0.5std", "mean-.5std", "mean-0.50std"), "mean-0.5std"),
        (("mean+0.123456std",), "mean+0.123456std"),
        (("mean+10000000std",), "mean+10000000std"),
    ],
)
def test_a_value_is_written_in_one_way(typed: tuple[str, ...], name: str) -> None:
    assert {read_value(text) for text in typed} == {name}
    assert read_value(name) == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p0", "between 1 and 99"),
        ("p100", "unknown value 'p100'"),
        ("P90", "unknown value 'P90'"),
        ("p٩", "unknown value"),
        ("", "unknown value ''"),
        ("mean+0std", "without any it is mean"),
        ("mean-0.0000001std", "without any it is mean"),
        (f"mean+{'9' * 400}std", "write how many standard deviations"),
        ("mean+1e3std", "unknown value"),
        ("mean2std", "unknown value"),
        ("std", "unknown value"),
    ],
)
def test_what_is_no_value(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_value(text)
    assert "\n" not in str(caught.value)


# -- tables --------------------------------------------------------------------------------------------------------


def test_tables_are_in_the_order_of_the_models_languages() -> None:
    tables = write_tables(Known(FIVE), SELECTION, ["sw", "de", "en"], site="activated", leave_out=("en",))
    assert tables.languages == ("sw", "de", "en")
    assert tables.masks.tolist() == [[[False] * 5], [[False, False, False, False, True]], [[False] * 5]]
    expected = torch.zeros(3, 1, 5)
    expected[1, 0, 4] = 0.975
    torch.testing.assert_close(tables.values, expected)
    arguments = tables.origin.arguments
    assert (arguments["value"], arguments["site"], arguments["leave_out"]) == ("mean", "activated", ["en"])
    assert arguments["selection"]["made_by"] == "lape"
    assert tables.origin.profile == FIVE.provenance


def test_layers_that_were_not_selected_in_are_left_alone() -> None:
    counts = [[[1] * 5] * 3, [[2] * 5] * 3]
    profile = profile_of(counts, [10, 10])
    upper = profile.of_layers([0, 2])
    selection = categorize(upper, "mean_abs", 0).selection(Category.ALL_SHARED)
    whole = write_tables(Known(profile), selection, ["en", "de"])
    parts = write_tables(Known(upper), selection, ["en", "de"])
    assert tuple(whole.masks.shape) == (2, 3, 5)
    assert not whole.masks[:, 1].any()
    assert torch.equal(whole.masks[:, [0, 2]], selection.masks)
    assert torch.equal(whole.masks, parts.masks)
    assert torch.equal(whole.values, parts.values)
    assert torch.equal(
        whole.values, torch.stack([language_values(Known(profile), code) for code in ("en", "de")]) * whole.masks
    )


def test_every_selection_of_the_table_has_tables(known: Known) -> None:
    profile = known.profile
    for name in SELECTIONS:
        tables = write_tables(known, select(name, known), profile.languages, value="zero")
        assert tables.masks.any(), name
        assert not tables.values.any(), name


def test_a_selection_of_another_model_is_refused() -> None:
    two_layers = profile_of([[[1] * 5] * 2] * 3, [10, 10, 10])
    narrow = profile_of([[[1] * 4]] * 3, [10, 10, 10])
    other = replace(FIVE, provenance=replace(FIVE.provenance, fingerprint="beef"))
    marked = lape(replace(FIVE, provenance=replace(FIVE.provenance, fingerprint="f00d")))
    for profile, selection in ((FIVE, lape(two_layers)), (narrow, SELECTION), (other, marked)):
        with pytest.raises(InputError, match="selected in another model or other layers"):
            write_tables(Known(profile), selection, ["en", "de"])
    assert write_tables(Known(other), SELECTION, ["de"]).masks.any()  # made of a model that nobody marked


# -- file ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_tables(Known(FIVE), SELECTION, FIVE.languages).save(tmp_path / "write.safetensors")
    return tmp_path / "write.safetensors"


def test_tables_come_back_from_their_file(path: Path) -> None:
    tables, loaded = write_tables(Known(FIVE), SELECTION, FIVE.languages), WriteTables.load(path)
    assert torch.equal(loaded.masks, tables.masks)
    assert torch.equal(loaded.values, tables.values)
    assert (loaded.languages, loaded.origin) == (tables.languages, tables.origin)


def test_tables_of_a_large_model_are_small(tmp_path: Path) -> None:
    masks = torch.zeros((12, 30, 1536), dtype=torch.bool)
    masks[:, :, :15] = True
    tables = replace(
        write_tables(Known(FIVE), SELECTION, FIVE.languages),
        languages=tuple(f"l{number}" for number in range(12)),
        masks=masks,
        values=torch.where(masks, 0.5, 0.0),
    )
    tables.save(tmp_path / "write")
    assert (tmp_path / "write").stat().st_size < 12 * int(masks.sum()) + 2000
    assert torch.equal(WriteTables.load(tmp_path / "write").values, tables.values)


@pytest.mark.parametrize(
    ("description", "tensors", "message"),
    [
        ({"format_version": 0}, {}, "format version 0, this package reads 1"),
        ({"languages": ["en"]}, {}, r"'masks' is .*\[3, 1, 5\], expected .*\[1, 1, 5\]"),
        ({"shape": [3, 1, 3]}, {}, "'indices' must ascend between 0 and 8"),
        ({"shape": [15]}, {}, r"expected \[languages, layers, neurons\]"),
        ({"shape": None}, {}, "not a usable file of write tables"),
        ({"shape": [3, -1, 5]}, {}, "not a usable file of write tables"),
        ({}, {"indices": torch.tensor([4, 0, 9])}, "'indices' must ascend"),
        ({}, {"indices": torch.tensor([0, 4, 4])}, "'indices' must ascend"),
        ({}, {"indices": torch.tensor([-1, 4, 9])}, "'indices' must ascend"),
        ({}, {"indices": torch.tensor([0, 4])}, r"'values' is torch.float32 \[3\], expected torch.float32 \[2\]"),
        ({}, {"indices": torch.tensor([0.0, 4.0, 9.0])}, "'indices' is torch.float32"),
        ({}, {"values": torch.ones(3).double()}, "'values' is torch.float64"),
        ({}, {"values": torch.tensor([1, torch.nan, 1])}, "'values' holds values that are not finite"),
        ({}, {"more": torch.ones(1)}, "it holds the tensors .*'more'"),
    ],
)
def test_refuses_a_damaged_file(
    path: Path, description: dict[str, Any], tensors: dict[str, torch.Tensor], message: str
) -> None:
    rewrite(path, description, tensors)
    with pytest.raises(InputError, match=message) as caught:
        WriteTables.load(path)
    assert str(caught.value).startswith(f"{path}: not a usable file of write tables: ")
