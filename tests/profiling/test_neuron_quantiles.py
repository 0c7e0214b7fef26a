"""Quantiles of tiny and real models against exact ones of every activation, their file, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_plain
from real_models import smollm2
from test_profiler import MODEL, WORDS
from test_selection import rewrite
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from clas_models import FAMILIES
from clas_models.errors import InputError
from clas_models.profiling.corpora import ParallelCorpus, load_corpus
from clas_models.profiling.neuron_quantiles import PERCENTS, SITES, NeuronQuantiles, SiteQuantiles
from clas_models.profiling.profiler import NeuronSums
from clas_models.profiling.quantile_bins import NUM_BINS, error_bound, rank
from clas_models.profiling.quantile_recorder import QuantileRecorder
from clas_models.profiling.recorder import Batch, Recorder
from clas_models.profiling.recording import record


class Everything(Recorder):
    """Keeps every activation: by language, site and layer `[tokens, neurons]`."""

    def __init__(self, layers: list[int] | None = None) -> None:
        self.layers = layers
        self.kept: dict[tuple[str, str, int], list[Tensor]] = {}

    def sites(self, num_layers: int) -> dict[str, Any]:
        return dict.fromkeys(SITES, self.layers or range(num_layers))

    def observe(self, site: str, layer: int, values: Tensor) -> None:
        key = (self.batch.language, site, layer)
        self.kept.setdefault(key, []).append(self.batch.of_tokens(values).float().cpu())

    def values(self, language: str, site: str, layer: int) -> Tensor:
        return torch.cat(self.kept[language, site, layer])


def recorded(
    model: Any, tokenizer: Any, corpus: ParallelCorpus, batch_size: int = 8, layers: list[int] | None = None
) -> tuple[NeuronQuantiles, Everything]:
    recorder, everything = QuantileRecorder(model, corpus.languages), Everything(layers)
    recording = record(model, tokenizer, corpus, [recorder, everything], batch_size=batch_size)
    return recorder.quantiles(recording), everything


def assert_within_the_bound(found: NeuronQuantiles, everything: Everything, layers: list[int]) -> float:
    """The mean error of all of them, in parts of the bound."""
    shares = []
    for row, language in enumerate(found.languages):
        for site in SITES:
            for layer in layers:
                ordered = everything.values(language, site, layer).sort(dim=0).values
                assert len(ordered) == int(found.tokens[row])
                for percent in PERCENTS:
                    exact = ordered[rank(percent, len(ordered)) - 1]
                    error = (found.of(language, percent, site)[layer] - exact).abs() / error_bound(exact)
                    assert error.max() <= 1, (language, site, layer, percent)
                    shares.append(float(error.mean()))
    return sum(shares) / len(shares)


@pytest.fixture
def model(family: Any) -> Any:
    return tiny_plain(family, **MODEL)


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_quantiles_of_a_model_are_within_the_bound(model: Any, tokenizer: Any, batch_size: int) -> None:
    found, everything = recorded(model, tokenizer, WORDS, batch_size)
    assert_within_the_bound(found, everything, list(found.layers))
    for row, language in enumerate(found.languages):
        for site in SITES:
            held = found.at(site)
            together = torch.cat([everything.values(language, site, layer).flatten() for layer in found.layers])
            exact = together.sort().values[rank(90, together.numel()) - 1]
            assert (held.overall[row, PERCENTS.index(90)] - exact).abs() <= error_bound(exact)
            threshold = held.threshold[row]
            assert exact <= threshold <= exact + error_bound(exact)
            for place, layer in enumerate(found.layers):
                counted = (everything.values(language, site, layer) >= threshold).sum(0)
                assert torch.equal(held.above[row, place], counted.int())


@pytest.mark.parametrize("batch_size", [1, 64])
def test_standard_deviations_of_a_model(model: Any, tokenizer: Any, batch_size: int) -> None:
    found, everything = recorded(model, tokenizer, WORDS, batch_size)
    for language in found.languages:
        for site in SITES:
            for place, layer in enumerate(found.layers):
                exact = everything.values(language, site, layer).double().std(0, correction=0)
                torch.testing.assert_close(found.std(language, site)[place].double(), exact, rtol=1e-4, atol=1e-6)


def test_sums_and_quantiles_share_a_pass(model: Any, tokenizer: Any) -> None:
    alone, _ = recorded(model, tokenizer, WORDS)
    sums, quantiles = NeuronSums(model, WORDS.languages), QuantileRecorder(model, WORDS.languages)
    recording = record(model, tokenizer, WORDS, [sums, quantiles])
    both = quantiles.quantiles(recording)
    for site in SITES:
        assert all(torch.equal(held, getattr(alone.at(site), name)) for name, held in both.at(site).tensors.items())
    assert torch.equal(sums.profile(recording).tokens, both.tokens)


def test_memory_does_not_grow_with_the_tokens(model: Any, tokenizer: Any) -> None:
    recorder = QuantileRecorder(model, WORDS.languages)
    sizes = []

    class Size(Everything):
        def observe(self, site: str, layer: int, values: Tensor) -> None:
            held = [*recorder.counts.values(), *recorder.sums.values()]
            held += [
                each for sites in recorder.finished.values() for at in sites.values() for each in at.tensors.values()
            ]
            sizes.append((self.batch.language, sum(tensor.nbytes for tensor in held)))

    record(model, tokenizer, WORDS, [recorder, Size()], batch_size=2)
    neurons = MODEL["num_hidden_layers"] * MODEL["intermediate_size"]
    counts = 2 * neurons * (NUM_BINS * 4 + 2 * 8)
    a_language = 2 * 4 * (neurons * (len(PERCENTS) + 2) + len(PERCENTS) + 1)
    assert set(sizes) == {(code, counts + place * a_language) for place, code in enumerate(WORDS.languages)}


@pytest.mark.real
def test_a_real_model() -> None:
    folder = smollm2()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    corpus = load_corpus("builtin", languages=["en", "hi"], samples=40)
    layers = [0, 9, 29]
    found, everything = recorded(model, tokenizer, corpus, layers=layers)
    assert assert_within_the_bound(found, everything, layers) < 0.2


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.fixture
def quantiles(tokenizer: Any) -> NeuronQuantiles:
    return recorded(tiny_plain(FAMILIES["llama"], **MODEL), tokenizer, WORDS)[0]


def test_what_was_not_recorded_is_said(quantiles: NeuronQuantiles) -> None:
    with pytest.raises(InputError, match=r"P99 was not recorded: choose one of P5, P10, P25, P50, P75, P90, P95"):
        quantiles.of("de", 99)
    with pytest.raises(InputError, match="site 'neurons' was not recorded: choose one of gate, activated"):
        quantiles.of("de", 90, "neurons")
    with pytest.raises(InputError, match="language 'fr' has no quantiles; choose one of en, de, zh"):
        quantiles.of("fr", 90)


def test_some_languages_in_another_order(quantiles: NeuronQuantiles) -> None:
    chosen = quantiles.select(["zh", "de"])
    assert chosen.languages == ("zh", "de")
    for language in chosen.languages:
        assert torch.equal(chosen.of(language, 75), quantiles.of(language, 75))
    assert chosen.tokens.tolist() == [quantiles.tokens[2], quantiles.tokens[1]]


def test_parts_do_not_add_up(quantiles: NeuronQuantiles) -> None:
    with pytest.raises(InputError, match="quantiles of parts do not add up, as sums do: record the whole text"):
        quantiles + quantiles


def test_window_by_window_is_refused(tokenizer: Any) -> None:
    model = tiny_plain(FAMILIES["llama"], **MODEL)
    recorder = QuantileRecorder(model, WORDS.languages)
    with pytest.raises(InputError, match="more text in en after that of other languages"):
        record(model, tokenizer, replace(WORDS, rows=WORDS.rows * 2), [recorder], batch_size=1, by_window=True)


def test_a_language_that_was_left_out_is_named(tokenizer: Any) -> None:
    model = tiny_plain(FAMILIES["llama"], **MODEL)
    recorder = QuantileRecorder(model, WORDS.languages)
    recording = record(model, tokenizer, WORDS, [recorder], only=["en", "zh"])
    with pytest.raises(InputError, match="no text was read in de"):
        recorder.quantiles(recording)


def test_an_activation_that_is_not_finite_names_the_layer() -> None:
    recorder = QuantileRecorder(tiny_plain(FAMILIES["llama"], **MODEL), ["en"])
    recorder.begin(Batch("en", (0,), ([1],)))
    with pytest.raises(InputError, match="layer 2: activations that are not finite"):
        recorder.observe("gate", 2, torch.full((1, 1, 24), torch.nan))


# -- file ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(quantiles: NeuronQuantiles, tmp_path: Path) -> Path:
    quantiles.save(tmp_path / "quantiles.safetensors")
    return tmp_path / "quantiles.safetensors"


def test_quantiles_come_back_from_their_file(quantiles: NeuronQuantiles, path: Path) -> None:
    loaded = NeuronQuantiles.load(path)
    for name in ("languages", "layers", "num_model_layers", "percents", "provenance"):
        assert getattr(loaded, name) == getattr(quantiles, name), name
    assert torch.equal(loaded.tokens, quantiles.tokens)
    for site in SITES:
        for name, tensor in quantiles.at(site).tensors.items():
            assert torch.equal(getattr(loaded.at(site), name), tensor), name


@pytest.mark.parametrize(
    ("description", "tensors", "message"),
    [
        ({"format_version": 3}, {}, "format version 3, this package reads 1, 2"),
        ({"format_version": 1}, {}, "it holds the tensors .*'gate.std'"),
        ({}, {"gate.std": torch.full((3, 4, 24), -1.0)}, "'gate.std' holds standard deviations below 0"),
        ({}, {"gate.std": torch.full((3, 4, 24), torch.inf)}, "'gate.std' holds values that are not finite"),
        ({"languages": ["en"]}, {}, "'tokens' is"),
        ({"percents": [5, 10]}, {}, "'gate.values' is"),
        ({"percents": [95, 90, 75, 50, 25, 10, 5]}, {}, "whole numbers, ascending"),
        ({"layers": [0, 1, 2, 9]}, {}, "of a model with 4 layers"),
        ({}, {"tokens": torch.tensor([1, 1, 1])}, "counts below 0 or above the number of tokens"),
        ({}, {"gate.overall": torch.full((3, 7), torch.nan)}, "'gate.overall' holds values that are not finite"),
        ({}, {"gate.values": torch.arange(7.0).flip(0).view(1, 7, 1, 1).repeat(3, 1, 4, 24)}, "do not ascend"),
        ({}, {"gate.above": torch.zeros(3, 4, 24)}, "'gate.above' is torch.float32"),
        ({}, {"more": torch.ones(1)}, "it holds the tensors .*'more'"),
    ],
)
def test_refuses_a_damaged_file(
    path: Path, description: dict[str, Any], tensors: dict[str, Tensor], message: str
) -> None:
    rewrite(path, description, tensors)
    with pytest.raises(InputError, match=message) as caught:
        NeuronQuantiles.load(path)
    assert str(caught.value).startswith(f"{path}: not a usable file of neuron quantiles: ")


def test_a_file_of_an_earlier_version_has_no_standard_deviations(quantiles: NeuronQuantiles, tmp_path: Path) -> None:
    older = {site: replace(quantiles.at(site), std=None) for site in SITES}
    replace(quantiles, sites=older).save(tmp_path / "older")
    loaded = NeuronQuantiles.load(tmp_path / "older").select(["de"])
    assert torch.equal(loaded.of("de", 90), quantiles.of("de", 90))
    with pytest.raises(InputError, match=r"standard deviations were not recorded, by an earlier .*--quantiles"):
        loaded.std("de")


def test_a_site_may_be_missing(quantiles: NeuronQuantiles, tmp_path: Path) -> None:
    one: dict[str, SiteQuantiles] = {"activated": quantiles.at("activated")}
    replace(quantiles, sites=one).save(tmp_path / "one")
    with pytest.raises(InputError, match="site 'gate' was not recorded: choose one of activated"):
        NeuronQuantiles.load(tmp_path / "one").of("en", 50, "gate")
