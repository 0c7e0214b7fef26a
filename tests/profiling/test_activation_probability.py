"""Activation Probability 90p against a naive implementation over every activation, and by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import tiny_plain
from test_lape import FIVE
from test_neuron_quantiles import Everything, recorded
from test_profiler import MODEL, WORDS

from clas_models import FAMILIES
from clas_models.errors import InputError
from clas_models.profiling.activation_probability import activation_probability
from clas_models.profiling.neuron_quantiles import SITES, NeuronQuantiles
from clas_models.profiling.profiler import profile_neurons


def naive(
    everything: Everything, layers: tuple[int, ...], site: str, language: str, bar: float, count: int
) -> set[Any]:
    """The `count` neurons whose values are most often at least `bar`: `(layer, neuron)`, in plain Python."""
    shares = []
    for place, layer in enumerate(layers):
        for neuron, values in enumerate(everything.values(language, site, layer).T.tolist()):
            shares.append((-sum(value >= bar for value in values) / len(values), (place, neuron)))
    return {place for share, place in sorted(shares)[:count] if share}


@pytest.mark.parametrize("rate", [0.00125, 0.05, 0.3])
@pytest.mark.parametrize("site", SITES)
def test_equals_the_naive_reference(family: Any, tokenizer: Any, site: str, rate: float) -> None:
    model = tiny_plain(family, **MODEL)
    profile = profile_neurons(model, tokenizer, WORDS)
    quantiles, everything = recorded(model, tokenizer, WORDS)
    found = activation_probability(profile, quantiles, site=site, top_rate=rate)
    count = max(1, round(rate * 4 * 24))
    for row, language in enumerate(found.languages):
        together = torch.cat([everything.values(language, site, layer).flatten() for layer in found.layers])
        exact = float(together.sort().values[-(-90 * together.numel() // 100) - 1])
        bar = float(quantiles.at(site).threshold[row])
        assert exact <= bar <= exact + (abs(exact) + 1 / 64) / 15
        expected = naive(everything, found.layers, site, language, bar, count)
        assert set(map(tuple, found.masks[row].nonzero().tolist())) == expected
        # With the exact percentile in place of the bound of its bin nearly the same are found.
        assert len(expected & naive(everything, found.layers, site, language, exact, count)) >= 0.75 * count


def test_every_language_has_as_many(tokenizer: Any) -> None:
    model = tiny_plain(FAMILIES["llama"], **MODEL)
    quantiles, _ = recorded(model, tokenizer, WORDS)
    found = activation_probability(profile_neurons(model, tokenizer, WORDS), quantiles, top_rate=0.1)
    assert set(found.counts().values()) == {10}
    # ... and they do not depend on the other languages
    alone = activation_probability(
        profile_neurons(model, tokenizer, WORDS).select(["zh"]), quantiles.select(["zh"]), top_rate=0.1
    )
    assert torch.equal(alone.masks[0], found.masks[2])
    assert found.origin.made_by == "activation_probability"
    assert found.origin.arguments == {"threshold": "overall", "top_rate": 0.1, "site": "gate"}


def test_with_the_threshold_zero_it_needs_no_quantiles() -> None:
    # Of 10 tokens: en 9 0 5 1 9, de 1 0 5 2 9, zh 0 0 5 9 0.
    found = activation_probability(FIVE, None, threshold="zero", top_rate=0.4)
    assert found.masks.int().tolist() == [[[1, 0, 0, 0, 1]], [[0, 0, 1, 0, 1]], [[0, 0, 1, 1, 0]]]
    all_of_them = activation_probability(FIVE, None, threshold="zero", top_rate=1)
    assert all_of_them.counts() == {"en": 4, "de": 4, "zh": 2}  # who never exceeds it is not taken


def test_what_cannot_be_had(tokenizer: Any) -> None:
    with pytest.raises(InputError, match=r"needs the 90th percentile .* was not recorded .* --quantiles, or .* zero"):
        activation_probability(FIVE, None)
    with pytest.raises(InputError, match=r"own 90th percentile every neuron has the same relevance, 0\.1"):
        activation_probability(FIVE, None, threshold="own")
    with pytest.raises(InputError, match=r"threshold 'half'.*: choose one of overall, zero"):
        activation_probability(FIVE, None, threshold="half")
    with pytest.raises(InputError, match="rate 0 of neurons a language"):
        activation_probability(FIVE, None, top_rate=0)
    with pytest.raises(InputError, match="no tokens were profiled for de"):
        activation_probability(replace(FIVE, tokens=torch.tensor([10, 0, 10]), gate_positive=FIVE.gate_positive * 0
                                       + torch.tensor([1, 0, 1]).view(3, 1, 1)), None, threshold="zero")  # fmt: skip


def test_relative_to_its_own_percentile_every_neuron_is_alike(tokenizer: Any, family: Any) -> None:
    """Why the equation of the paper cannot be what is meant."""
    _, everything = recorded(tiny_plain(family, **MODEL), tokenizer, WORDS)
    values = everything.values("en", "gate", 1)
    above = (values > values.sort(dim=0).values[-(-90 * len(values) // 100) - 1]).sum(0)
    assert ((above / len(values) - 0.1).abs() < 0.03).all()  # a tenth, but for equal values


def test_a_site_that_was_not_recorded(tokenizer: Any, family: Any) -> None:
    model = tiny_plain(family, **MODEL)
    quantiles, _ = recorded(model, tokenizer, WORDS)
    one: NeuronQuantiles = replace(quantiles, sites={"gate": quantiles.at("gate")})
    with pytest.raises(InputError, match="site 'activated' was not recorded: choose one of gate"):
        activation_probability(profile_neurons(model, tokenizer, WORDS), one, site="activated")
