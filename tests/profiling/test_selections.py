"""How selections are written, and what of it is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_plain
from selection_texts import selection_texts
from test_profiler import MODEL, WORDS

from clas_models import FAMILIES
from clas_models.errors import InputError
from clas_models.profiling.activation_probability import activation_probability
from clas_models.profiling.categories import Category, categorize
from clas_models.profiling.known import Known
from clas_models.profiling.lape import lape
from clas_models.profiling.profiler import NeuronSums
from clas_models.profiling.quantile_recorder import QuantileRecorder
from clas_models.profiling.recording import record
from clas_models.profiling.selection import Selection
from clas_models.profiling.selection_sets import difference, intersection, random_like, union
from clas_models.profiling.selections import SELECTIONS, SETS, check_not_empty, read_selection, select, split_selections


@pytest.fixture
def known(tokenizer: Any) -> Known:
    model = tiny_plain(FAMILIES["llama"], **MODEL)
    sums, quantiles = NeuronSums(model, WORDS.languages), QuantileRecorder(model, WORDS.languages)
    recording = record(model, tokenizer, WORDS, [sums, quantiles])
    return Known(sums.profile(recording), quantiles.quantiles(recording))


def same(one: Selection, other: Selection) -> bool:
    return one.languages == other.languages and torch.equal(one.masks, other.masks)


def test_every_name(known: Known) -> None:
    assert list(SELECTIONS) == ["lape", "probability", "categories", "random"]
    specific = categorize(known.profile).selection(Category.LANGUAGE_SPECIFIC)
    assert same(select("lape", known), lape(known.profile))
    assert same(select("probability", known), activation_probability(known.profile, known.quantiles))
    assert same(select("categories", known), specific)
    assert same(select("random", known), random_like(lape(known.profile)))
    assert same(select("random:like=categories,seed=3", known), random_like(specific, 3))


def test_options(known: Known) -> None:
    found = select("lape:top_rate=0.1,rate_of=filtered,activation_percentile=0.8", known)
    assert same(found, lape(known.profile, top_rate=0.1, rate_of="filtered", activation_percentile=0.8))
    zero = select("probability:threshold=zero,top_rate=0.1", Known(known.profile))
    assert same(zero, activation_probability(known.profile, None, threshold="zero", top_rate=0.1))


def test_a_set_of_languages_of_its_own(known: Known) -> None:
    found = select("lape:languages=de/zh,top_rate=0.2,filter_percentile=0.8,activation_percentile=0.8", known)
    settings: dict[str, Any] = {"top_rate": 0.2, "filter_percentile": 0.8, "activation_percentile": 0.8}
    assert same(found, lape(known.profile.select(["de", "zh"]), **settings))
    assert not torch.equal(found.masks, lape(known.profile, **settings).masks[1:]), "the set decides"
    assert found.origin.arguments["languages"] == ["de", "zh"]
    assert select("probability:languages=zh", known).languages == ("zh",)
    with pytest.raises(InputError, match=r"languages .*fr.* are not in the profile"):
        select("lape:languages=en/fr", known)
    with pytest.raises(InputError, match="ja"):
        select("lape:languages=set1", known)
    assert [len(SETS[name]) for name in ("set1", "set6")] == [7, 10]


def test_set_operations_go_from_left_to_right(known: Known) -> None:
    one, two, three = (select(name, known) for name in ("categories", "probability:top_rate=0.1", "lape"))
    text = "categories and probability:top_rate=0.1 or lape"
    assert same(select(text, known), union(intersection(one, two), three))
    assert same(select("categories  without  probability:top_rate=0.1", known), difference(one, two))


def test_brackets_say_what_is_combined_first(known: Known) -> None:
    one, two, three = (select(name, known) for name in ("categories", "probability:top_rate=0.1", "lape"))
    text = "categories without (probability:top_rate=0.1 or lape)"
    assert same(select(text, known), difference(one, union(two, three)))
    assert not same(select("categories without probability:top_rate=0.1 or lape", known), select(text, known))
    control = select("random:like=(categories or probability:top_rate=0.1),seed=2", known)
    assert same(control, random_like(union(one, two), 2))


def test_so_many_random_neurons_a_layer(known: Known) -> None:
    found = select("random:per_layer=10,seed=1", known)
    assert bool((found.masks.sum(-1) == 10).all())
    assert found.masks.shape == (3, 4, 24)
    assert not torch.equal(found.masks[0], found.masks[1]), "drawn for each language"
    assert not same(found, select("random:per_layer=10", known))
    assert same(select("random:per_layer=10,languages=zh", known), select("random:per_layer=10", known.select(["zh"])))
    assert found.origin.made_by == "random_per_layer"
    assert found.origin.arguments == {"per_layer": 10, "seed": 1}
    with pytest.raises(InputError, match="per_layer=10 or like=lape says how many neurons there are; give one"):
        select("random:per_layer=10,like=lape", known)
    for count in (0, 25):
        with pytest.raises(InputError, match=f"per_layer={count}: draw 1 or more of the 24 neurons of a layer"):
            select(f"random:per_layer={count}", known)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (("lape", " lape ", "lape:", "(lape)", "((lape))"), "lape"),
        (
            ("lape:rate_of=model,top_rate=0.020", "lape: top_rate = 2e-2, rate_of=model"),
            "lape:top_rate=0.02,rate_of=model",
        ),
        (("lape  or\tcategories", "(lape or categories)", "(lape) or (categories)"), "lape or categories"),
        (("(lape or random) and (categories)",), "(lape or random) and categories"),
        (("lape:languages=EN/bn/hi/ta/te/mr/ur/kn/ml/pa", "lape:languages=set6"), "lape:languages=set6"),
        (("lape:languages=DE/zho",), "lape:languages=de/zh"),
        (("random:seed=1,like=categories",), "random:like=categories,seed=1"),
        (("random:like=lape:top_rate=0.1",), "random:like=(lape:top_rate=0.1)"),
        (("random:like=my.safetensors",), "random:like=(my.safetensors)"),
        (("(a, b.safetensors)",), "a, b.safetensors"),
    ],
)
def test_a_selection_is_written_in_one_way(typed: tuple[str, ...], name: str) -> None:
    assert {read_selection(text) for text in typed} == {name}
    assert read_selection(name) == name


def test_every_selection_can_be_written_and_read_again(known: Known) -> None:
    for text in selection_texts(seed=0, count=300):
        name = read_selection(text)
        assert read_selection(name) == name
        assert read_selection(f"({name})") == name
        assert split_selections(f"lape:top_rate=0.5,({name}),categories")[1] == f"({name})"
        if ".safetensors" not in text:
            assert same(select(text, known), select(name, known)), text


def test_a_file_in_place_of_a_name(known: Known, tmp_path: Path) -> None:
    found = select("categories", known)
    found.save(tmp_path / "mine.safetensors")
    assert same(select(str(tmp_path / "mine.safetensors"), known), found)
    other = replace(
        known, profile=replace(known.profile, provenance=replace(known.profile.provenance, fingerprint="b"))
    )
    marked = replace(found, origin=replace(found.origin, profile=replace(found.origin.profile, fingerprint="a")))
    marked.save(tmp_path / "marked.safetensors")
    with pytest.raises(InputError, match=r"marked.safetensors: a selection of another model .*; make it again"):
        select(str(tmp_path / "marked.safetensors"), other)
    wide = replace(found, masks=torch.ones(3, 4, 25, dtype=torch.bool))
    wide.save(tmp_path / "wide.safetensors")
    with pytest.raises(InputError, match=r"a selection of another model .*4 layers of 24 neurons"):
        select(str(tmp_path / "wide.safetensors"), known)
    with pytest.raises(InputError, match="no such selection"):
        select(str(tmp_path / "none.safetensors"), known)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lapse", "unknown selection 'lapse': choose among lape, probability, categories, random, combine"),
        ("lape or", "unknown selection 'lape or'"),
        ("lape:rate=1", "'lape:rate=1': unknown option 'rate'; its options are top_rate, .*, languages"),
        ("lape:top_rate=x", "top_rate=x: write a number"),
        ("random:seed=-1", "seed=-1: write a whole number, 0 or more"),
        ("lape:top_rate=1,top_rate=2", "top_rate stands there twice"),
        ("lape:languages=Deutsch!", "'Deutsch!' is not a language"),
        ("probability:threshold=own", "every neuron has the same relevance"),
        ("categories:statistic=median", "unknown statistic 'median'"),
    ],
)
def test_what_is_no_selection_is_said_in_one_line(known: Known, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        select(text, known)
    assert "\n" not in str(caught.value)


def test_an_empty_one_is_refused_where_neurons_are_needed(known: Known) -> None:
    with pytest.raises(InputError, match="selection 'lape without lape': no neuron in any language"):
        check_not_empty(select("lape without lape", known), "lape without lape")


def test_several_between_commas() -> None:
    text = "lape:top_rate=0.02,rate_of=model, probability,lape and random:seed=1,like=lape"
    assert split_selections(text) == (
        "lape:top_rate=0.02,rate_of=model", "probability", "lape and random:seed=1,like=lape",
    )  # fmt: skip
    for text, message in (("lape,lape", "stands there twice"), ("lape,", "is empty"), ("seed=1", "of no selection")):
        with pytest.raises(InputError, match=message):
            split_selections(text)
