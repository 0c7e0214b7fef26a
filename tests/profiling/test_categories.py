"""Categories of hand-made profiles, small enough to check by eye."""

import pytest
import torch

from clas_models.errors import InputError
from clas_models.profiling.categories import STATISTICS, Category, categorize
from clas_models.profiling.neuron_profile import NeuronProfile, Provenance
from clas_models.profiling.selection import Origin

DEAD, SPECIFIC, PARTIAL, ALL = Category


def profile_of(sums, *, tokens=None, sum_abs=None, positive=None, languages=("en", "de", "zh"), layers=(0,)):
    """A profile from nested lists, `[languages][layers][neurons]`."""
    total = torch.tensor(sums, dtype=torch.float64)
    positive = (total > 0).long() if positive is None else torch.tensor(positive)
    return NeuronProfile(
        languages=languages,
        layers=layers,
        num_model_layers=layers[-1] + 1,
        tokens=torch.tensor(tokens or [10] * len(languages)),
        sum=total,
        sum_abs=total.abs() if sum_abs is None else torch.tensor(sum_abs, dtype=torch.float64),
        sum_sq=total.square(),
        positive=positive,
        gate_sum=total,
        gate_positive=positive,
        provenance=Provenance("hand-made", "llama", None, ("lists",), 1, 512, "float32", ("0",), {}),
    )


# One layer of five neurons: active in none, in German alone, in two, in all three languages; and one at exactly 0.
FIVE = profile_of([[[-1, -1, 2, 1, 0]], [[-2, 3, 4, 1, 0]], [[-1, -1, -3, 1, 0]]])


def test_a_neuron_of_each_category():
    result = categorize(FIVE)
    assert result.categories.dtype == torch.uint8
    assert result.categories.tolist() == [[DEAD, SPECIFIC, PARTIAL, ALL, DEAD]]
    assert result.active.masks[1].tolist() == [[False, True, True, True, False]]
    assert (result.active.languages, result.active.layers) == (("en", "de", "zh"), (0,))
    assert result.active.origin == Origin("categorize", {"statistic": "mean", "threshold": 0.0}, FIVE.provenance)


def test_a_category_is_a_selection():
    result = categorize(FIVE)
    specific = result.selection(SPECIFIC)
    assert specific.counts() == {"en": 0, "de": 1, "zh": 0}
    assert [row.tolist() for row in specific.indices("de")] == [[1]]
    assert specific.origin.arguments == {"statistic": "mean", "threshold": 0.0, "category": "language-specific"}
    assert result.selection(PARTIAL).counts() == {"en": 1, "de": 1, "zh": 0}
    assert result.selection(DEAD).counts() == {"en": 0, "de": 0, "zh": 0}
    together = torch.stack([result.selection(category).masks for category in Category])
    assert torch.equal(together.any(dim=0), result.active.masks)


def test_labels_are_the_papers_words():
    assert [category.label for category in Category] == ["dead", "language-specific", "partial-shared", "all-shared"]


def test_with_two_languages_both_is_all():
    profile = profile_of([[[1, 1, -1]], [[1, -1, -1]]], languages=("en", "de"))
    assert categorize(profile).categories.tolist() == [[ALL, SPECIFIC, DEAD]]


def test_the_statistics_see_different_neurons():
    # Neuron 0 is large and negative, neuron 1 positive in most tokens but negative on average.
    profile = profile_of(
        [[[-50, -1]], [[-50, -1]]],
        sum_abs=[[[50, 9]], [[50, 9]]],
        positive=[[[0, 8]], [[0, 8]]],
        languages=("en", "de"),
    )
    assert list(STATISTICS) == ["mean", "mean_abs", "frequency"]
    assert categorize(profile, "mean").categories.tolist() == [[DEAD, DEAD]]
    assert categorize(profile, "mean_abs", threshold=1).categories.tolist() == [[ALL, DEAD]]
    assert categorize(profile, "frequency", threshold=0.5).categories.tolist() == [[DEAD, ALL]]


def test_each_statistic_has_a_threshold_that_tells_neurons_apart():
    profile = profile_of(
        [[[1, -1, 1, -1]], [[1, -1, -1, 1]]],
        sum_abs=[[[50, 9, 40, 8]], [[60, 7, 1, 6]]],
        positive=[[[9, 1, 6, 2]], [[8, 2, 5, 4]]],
        languages=("en", "de"),
    )
    assert categorize(profile, "mean").categories.tolist() == [[ALL, DEAD, SPECIFIC, SPECIFIC]]
    assert categorize(profile, "mean_abs").categories.tolist() == [[ALL, SPECIFIC, SPECIFIC, DEAD]]
    assert categorize(profile, "frequency").categories.tolist() == [[ALL, DEAD, SPECIFIC, DEAD]]
    for statistic in ("mean_abs", "frequency"):
        assert categorize(profile, statistic, 0).categories.tolist() == [[ALL] * 4]
    assert categorize(profile, "frequency").active.origin.arguments["threshold"] == 0.5
    assert categorize(profile, "mean_abs").active.origin.arguments["threshold"] == 0.8  # the lower of the middle two


def test_the_median_is_that_of_each_layer():
    sums = [[[1, 2, 3], [10, 20, 30]], [[3, 2, 1], [30, 20, 10]]]
    result = categorize(profile_of(sums, languages=("en", "de"), layers=(0, 1)), "mean_abs")
    assert result.categories.tolist() == [[SPECIFIC, DEAD, SPECIFIC]] * 2
    assert result.active.origin.arguments["threshold"] == [0.2, 2.0]
    # Another scale of the activations changes nothing.
    larger = profile_of((torch.tensor(sums) * 1000).tolist(), languages=("en", "de"), layers=(0, 1))
    assert torch.equal(categorize(larger, "mean_abs").categories, result.categories)


@pytest.mark.parametrize(
    ("statistic", "threshold"),
    [("mean", 0.3), ("mean_abs", 0.3), ("frequency", 0.3)],
)
def test_a_neuron_at_the_threshold_is_not_active(statistic, threshold):
    # 3 of 10 is the very float64 that 0.3 is; in float32 it would lie above.
    profile = profile_of([[[3, 4]], [[3, 4]]], positive=[[[3, 4]], [[3, 4]]], languages=("en", "de"))
    assert categorize(profile, statistic, threshold).categories.tolist() == [[DEAD, ALL]]


def test_each_language_is_divided_by_its_own_tokens():
    profile = profile_of([[[6]], [[6]]], tokens=[10, 100], languages=("en", "de"))
    assert categorize(profile, threshold=0.5).categories.tolist() == [[SPECIFIC]]


def test_a_negative_threshold_is_allowed():
    assert categorize(FIVE, threshold=-5).categories.tolist() == [[ALL] * 5]


def test_categories_are_exhaustive_and_exclusive():
    torch.manual_seed(0)
    profile = profile_of(torch.randn(4, 3, 200).tolist(), languages=("en", "de", "zh", "ar"), layers=(0, 1, 2))
    result = categorize(profile)
    count = result.active.masks.sum(dim=0)
    expected = {DEAD: count == 0, SPECIFIC: count == 1, PARTIAL: (count > 1) & (count < 4), ALL: count == 4}
    assert torch.equal(sum(mask.int() for mask in expected.values()), torch.ones(3, 200, dtype=torch.int32))
    for category, mask in expected.items():
        assert mask.any()
        assert torch.equal(result.categories == category, mask)


def test_masks_are_named_by_the_models_layer_index():
    layer_4 = [[1, -1], [1, 1], [-1, -1]]  # [languages][neurons]
    layer_7 = [[-1, 1], [1, 1], [-1, 1]]
    sums = [list(rows) for rows in zip(layer_4, layer_7, strict=True)]
    result = categorize(profile_of(sums, layers=(4, 7)))
    assert [mask.tolist() for mask in result.masks(4)] == [[True, False], [False, True]]
    assert [mask.tolist() for mask in result.masks(7)] == [[False, False], [True, False]]
    for mask in result.masks(7):
        assert mask.dtype == torch.bool
        assert mask.is_contiguous()
    with pytest.raises(InputError, match=r"layer 5 is not in the neuron profile, which holds the layers 4, 7"):
        result.masks(5)


def test_an_unknown_statistic_names_the_known_ones():
    with pytest.raises(InputError, match="unknown statistic 'median': choose one of mean, mean_abs, frequency"):
        categorize(FIVE, "median")


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), float("-inf")])
def test_a_threshold_must_be_finite(threshold):
    with pytest.raises(InputError, match=r"threshold -?(nan|inf) is not a finite number"):
        categorize(FIVE, threshold=threshold)


def test_one_language_cannot_be_compared():
    with pytest.raises(InputError, match=r"holds one language \(en\).*at least two"):
        categorize(profile_of([[[1]]], languages=("en",)))


def test_a_language_without_tokens():
    with pytest.raises(InputError, match="no tokens were profiled for de, zh"):
        categorize(profile_of([[[1]], [[0]], [[0]]], tokens=[10, 0, 0]))
