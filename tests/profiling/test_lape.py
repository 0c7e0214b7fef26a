"""LAPE against an example worked out by hand and a naive reference in plain Python."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import permutations, product
from typing import Any

import pytest
import torch

from clas_models.errors import InputError
from clas_models.profiling.lape import activation_probabilities, entropy, lape, percentile
from clas_models.profiling.neuron_profile import NeuronProfile, Provenance

Counts = Sequence[Sequence[Sequence[int]]]  # [languages][layers][neurons]


def profile_of(counts: Counts | torch.Tensor, tokens: Sequence[int]) -> NeuronProfile:
    """A profile with these counts of tokens for which the gate is positive, and sums that tell everything apart."""
    gate_positive = torch.as_tensor(counts)
    number = torch.arange(gate_positive.numel(), dtype=torch.float64).view_as(gate_positive)
    num_languages, num_layers, _ = gate_positive.shape
    return NeuronProfile(
        languages=("en", "de", "zh", "hi", "th")[:num_languages],
        layers=tuple(range(num_layers)),
        num_model_layers=num_layers,
        tokens=torch.tensor(tokens),
        sum=-number,
        sum_abs=number,
        sum_sq=number**2,
        positive=torch.zeros_like(gate_positive),
        gate_sum=number + 0.25,
        gate_positive=gate_positive,
        act_sum=number + 0.75,
        provenance=Provenance("hand-made", "llama", None, ("lists",), 1, 512, "float32", ("0",), {}),
    )


# -- by hand -------------------------------------------------------------------------------------------------------

# Of 10 tokens in each language, those with a positive gate; three languages, one layer, five neurons.
#
# Sorted, the 15 counts are 0 0 0 0 0 1 1 2 5 5 5 9 9 9 9.  The percentile 0.6 is the 9th of them (15 * 0.6): 5 of 10.
#
#   neuron    normalised probabilities    entropy                                 above 0.5 in
#   0         9/10, 1/10, 0               0.9 ln(10/9) + 0.1 ln(10)   = 0.3251    en
#   1         undefined                   undefined                               -
#   2         1/3, 1/3, 1/3               ln(3)                       = 1.0986    -             5 is not above 5
#   3         1/12, 2/12, 9/12            (ln(12) + 2 ln(6) + 9 ln(4/3)) / 12 = 0.7215    zh
#   4         1/2, 1/2, 0                 ln(2)                       = 0.6931    en, de
#
# A share of 0.4 is 2 of the model's five neurons: 0 and 4.  Of the three that are not left out it is 1: neuron 0.
FIVE = profile_of([[[9, 0, 5, 1, 9]], [[1, 0, 5, 2, 9]], [[0, 0, 5, 9, 0]]], [10, 10, 10])


def test_five_neurons_by_hand() -> None:
    found = lape(FIVE, top_rate=0.4, activation_percentile=0.6, filter_percentile=0.6)
    assert percentile(activation_probabilities(FIVE), 0.6) == 0.5
    assert found.masks.int().tolist() == [[[1, 0, 0, 0, 1]], [[0, 0, 0, 0, 1]], [[0, 0, 0, 0, 0]]]
    expected = torch.tensor([[0.3251, torch.nan, 1.0986, 0.7215, 0.6931]], dtype=torch.float64)
    torch.testing.assert_close(entropy(activation_probabilities(FIVE)), expected, rtol=0, atol=5e-5, equal_nan=True)
    assert (found.languages, found.layers) == (("en", "de", "zh"), (0,))
    assert found.counts() == {"en": 2, "de": 1, "zh": 0}
    assert [row.tolist() for row in found.indices("en")] == [[0, 4]]
    assert [row.tolist() for row in found.indices("zh")] == [[]]


def test_a_rate_of_those_that_are_not_left_out() -> None:
    settings: dict[str, Any] = {"top_rate": 0.4, "activation_percentile": 0.6, "filter_percentile": 0.6}
    found = lape(FIVE, **settings, rate_of="filtered")
    assert found.masks.any(dim=0).int().tolist() == [[1, 0, 0, 0, 0]]
    settings["top_rate"] = 1
    for rate_of in ("model", "filtered"):  # what was left out is not taken however many are wanted
        found = lape(FIVE, **settings, rate_of=rate_of)
        assert found.masks.any(dim=0).int().tolist() == [[1, 0, 0, 1, 1]]


def test_the_two_percentiles_do_different_things() -> None:
    # 0.9 of 15 values is the 14th (13.5, rounded to even): 9, which no neuron exceeds.
    filtered = lape(FIVE, top_rate=1, activation_percentile=0.6, filter_percentile=0.9)
    assert not filtered.masks.any()
    barred = lape(FIVE, top_rate=1, activation_percentile=0.9, filter_percentile=0.6)
    assert not barred.masks.any()
    assert percentile(activation_probabilities(FIVE), 0.9) == 0.9
    # The 5th smallest is 0: then a neuron that is taken belongs to every language that it is active in.
    generous = lape(FIVE, top_rate=1, activation_percentile=1 / 3, filter_percentile=0.6)
    assert generous.masks.int().tolist() == [[[1, 0, 0, 1, 1]], [[1, 0, 0, 1, 1]], [[0, 0, 0, 1, 0]]]


def test_equal_entropies_are_taken_in_the_order_of_layers_and_neurons() -> None:
    # Neurons that differ in nothing but the order of the languages, so that only rounding tells their entropies apart.
    of_neurons = list(permutations((1, 2, 3, 5)))
    counts = torch.tensor([of_neurons[:12], of_neurons[12:]]).permute(2, 0, 1)  # [languages, layers, neurons]
    profile = profile_of(counts, [7, 7, 7, 7])
    for wanted in range(1, 25):
        found = lape(profile, top_rate=wanted / 24, activation_percentile=0.1, filter_percentile=0.5)
        assert found.masks.any(dim=0).flatten().tolist() == [True] * wanted + [False] * (24 - wanted)


# -- by a naive reference ------------------------------------------------------------------------------------------


def naive_lape(
    counts: Counts, tokens: Sequence[int], top_rate: float, activation: float, filtering: float, rate_of: str
) -> tuple[Fraction, set[tuple[int, int, int]], dict[tuple[int, int], float]]:
    """The threshold, `(language, layer, neuron)` of every membership, and the entropies, with exact probabilities."""
    languages, layers, neurons = len(counts), len(counts[0]), len(counts[0][0])
    places = list(product(range(layers), range(neurons)))
    shares = {
        (layer, neuron): [Fraction(counts[code][layer][neuron], tokens[code]) for code in range(languages)]
        for layer, neuron in places
    }
    ordered = sorted(share for of_neuron in shares.values() for share in of_neuron)
    bar, enough = (ordered[max(1, round(len(ordered) * rate)) - 1] for rate in (activation, filtering))
    entropies = {}
    for place, of_neuron in shares.items():
        if any(of_neuron):
            # Sorted, so that what differs in nothing but the order of languages has the very same entropy.
            normalised = sorted(float(share / sum(of_neuron)) for share in of_neuron if share)
            entropies[place] = math.fsum(-share * math.log(share) for share in normalised)
    kept = [place for place in places if max(shares[place]) > enough]
    wanted = round(top_rate * len(places if rate_of == "model" else kept))
    taken = sorted(kept, key=lambda place: (round(entropies[place], 12), place))[:wanted]
    belong = {(code, *place) for place in taken for code in range(languages) if shares[place][code] > bar}
    return bar, belong, entropies


@pytest.mark.parametrize("seed", range(40))
def test_equals_the_naive_reference(seed: int) -> None:
    draw = random.Random(seed)
    languages, layers, neurons = draw.randint(2, 5), draw.randint(1, 4), draw.randint(2, 30)
    same = draw.choice([4, 9, 1000])  # few tokens: many probabilities and entropies are equal
    tokens = [same if seed % 2 else draw.randint(3, 50) for _ in range(languages)]
    dead = draw.choice([0, 0.3, 0.8])
    counts = [
        [[0 if draw.random() < dead else draw.randint(0, most) for _ in range(neurons)] for _ in range(layers)]
        for most in tokens
    ]
    settings = {
        "top_rate": draw.choice([0.01, 0.1, 0.5, 1]),
        "activation_percentile": draw.choice([0.95, 0.8, 0.5, 0.01]),
        "filter_percentile": draw.choice([0.95, 0.8, 0.5, 0.01]),
        "rate_of": draw.choice(["model", "filtered"]),
    }
    profile = profile_of(counts, tokens)
    found = lape(profile, **settings)  # type: ignore[arg-type]
    probabilities = activation_probabilities(profile)
    bar, belong, entropies = naive_lape(counts, tokens, *settings.values())  # type: ignore[arg-type]
    assert percentile(probabilities, settings["activation_percentile"]) == float(bar)
    assert set(map(tuple, found.masks.nonzero().tolist())) == belong
    of_neurons = entropy(probabilities)
    assert of_neurons.dtype == torch.float64
    for layer, neuron in product(range(layers), range(neurons)):
        assert float(of_neurons[layer, neuron]) == pytest.approx(
            entropies.get((layer, neuron), math.nan), abs=1e-12, nan_ok=True
        )
    assert sum(found.counts().values()) == len(belong)
    for code, language in enumerate(found.languages):
        indices = [(layer, neuron) for layer, row in enumerate(found.indices(language)) for neuron in row.tolist()]
        assert indices == sorted((layer, neuron) for of, layer, neuron in belong if of == code)


def test_the_defaults_are_the_papers() -> None:
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(0, 30, (3, 4, 300), generator=generator)
    counts *= torch.rand((3, 4, 300), generator=generator) < 0.4
    found = lape(profile_of(counts, [30, 29, 31]))
    _, belong, _ = naive_lape(counts.tolist(), [30, 29, 31], 0.01, 0.95, 0.95, "model")
    assert set(map(tuple, found.masks.nonzero().tolist())) == belong
    assert int(found.masks.any(dim=0).sum()) == 12  # 1 % of 1200


def test_the_order_of_the_languages_does_not_matter() -> None:
    # A few tokens and four languages, so that many neurons differ in nothing but that order.
    counts = torch.randint(0, 4, (4, 3, 200), generator=torch.Generator().manual_seed(0))
    profile = profile_of(counts, [7, 7, 7, 7])
    found = lape(profile, top_rate=0.1, activation_percentile=0.6, filter_percentile=0.6)
    turned = lape(
        profile.select(["hi", "de", "en", "zh"]), top_rate=0.1, activation_percentile=0.6, filter_percentile=0.6
    )
    assert turned.languages == ("hi", "de", "en", "zh")
    assert torch.equal(turned.masks, found.masks[[3, 1, 0, 2]])


@pytest.mark.slow
def test_more_probabilities_than_torch_quantile_takes() -> None:
    counts = torch.randint(0, 1000, (2, 1, 2**23 + 10), generator=torch.Generator().manual_seed(0))
    none = torch.zeros(1, dtype=torch.float64).expand(counts.shape)
    profile = replace(profile_of([[[0]], [[0]]], [1000, 1000]), gate_positive=counts, positive=counts,
                      **dict.fromkeys(("sum", "sum_abs", "sum_sq", "gate_sum", "act_sum"), none))  # fmt: skip
    found = lape(profile)
    below = counts.flatten().bincount().cumsum(0) < round(counts.numel() * 0.95)
    assert percentile(activation_probabilities(profile), 0.95) == int(below.sum()) / 1000
    assert int(found.masks.any(dim=0).sum()) == round((2**23 + 10) * 0.01)


# -- what cannot be used -------------------------------------------------------------------------------------------


def test_one_language_cannot_be_compared() -> None:
    with pytest.raises(InputError, match=r"holds one language \(de\).*: profile at least two"):
        lape(FIVE.select(["de"]))


def test_needs_all_layers_of_the_model() -> None:
    with pytest.raises(InputError, match=r"lacks layer 1-2, and .* in all 3 layers of the model: profile every layer"):
        lape(replace(FIVE, num_model_layers=3))


def test_a_language_without_tokens() -> None:
    with pytest.raises(InputError, match="no tokens were profiled for en, zh: "):
        lape(profile_of([[[0]], [[1]], [[0]]], [0, 10, 0]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *(({"top_rate": rate}, f"rate {rate} of language neurons: ") for rate in (0, -0.01, 1.5, math.nan)),
        *(({"activation_percentile": p}, f"activation percentile {p}: ") for p in (0, 1, 95, -0.5, math.nan)),
        *(({"filter_percentile": p}, f"filter percentile {p}: ") for p in (0, 1, 95, -0.5, math.nan)),
        ({"rate_of": "rest"}, "rate of 'rest': choose model .* or filtered"),
    ],
)
def test_refuses_rates_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        lape(FIVE, **settings)
    assert "\n" not in str(caught.value)
