"""Profiles as data: sums of two, choices of languages, files, and all that a damaged file may hold."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import byte_tokenizer, tiny_plain
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from clas_models import FAMILIES
from clas_models.errors import InputError
from clas_models.json_data import from_json
from clas_models.profiling import tensor_file
from clas_models.profiling.corpora import ParallelCorpus
from clas_models.profiling.neuron_profile import COUNTS, FORMATS, HALVES, SUMS, TOTALS, NeuronProfile, Provenance
from clas_models.profiling.profiler import profile_neurons

resource = pytest.importorskip("resource", reason="file modes and size limits are those of POSIX")

WITHOUT_HALVES: dict[str, None] = dict.fromkeys(HALVES)
ROWS = [
    {"en": "one apple", "de": "ein Apfel", "zh": "一个苹果"},
    {"en": "two", "de": "zwei", "zh": "二"},
    {"en": "three green pears", "de": "drei grüne Birnen", "zh": "三个青梨"},
    {"en": "four plums", "de": "vier Pflaumen", "zh": "四个李子"},
    {"en": "five", "de": "fünf", "zh": "五"},
]


@functools.cache
def gathered(first: int = 0, last: int = len(ROWS), name: str = "fruit") -> NeuronProfile:
    """The profile of a tiny model over some of the rows."""
    model = tiny_plain(FAMILIES["llama"], num_hidden_layers=3, intermediate_size=12)
    corpus = ParallelCorpus(name, ("en", "de", "zh"), ROWS[first:last])
    return profile_neurons(model, byte_tokenizer(), corpus, batch_size=2, max_length=64, fingerprint="f00d")


def assert_same(profile: NeuronProfile, expected: NeuronProfile) -> None:
    """Bit for bit."""
    assert profile.tensors.keys() == expected.tensors.keys()
    for name in ("tokens", *expected.tensors):
        left, right = getattr(profile, name), getattr(expected, name)
        assert left.dtype == right.dtype, name
        assert torch.equal(left, right), name
    for name in ("languages", "layers", "num_model_layers", "provenance"):
        assert getattr(profile, name) == getattr(expected, name), name


# -- sums ----------------------------------------------------------------------------------------------------------


def test_two_parts_add_up_to_the_whole() -> None:
    whole, total = gathered(), gathered(0, 2) + gathered(2, 5)
    assert torch.equal(total.tokens, whole.tokens)
    for name in COUNTS:
        assert torch.equal(getattr(total, name), getattr(whole, name)), name
    for name in SUMS:  # other batches, so another rounding
        torch.testing.assert_close(getattr(total, name), getattr(whole, name), rtol=1e-5, atol=1e-5)
    assert (total.languages, total.layers, total.num_model_layers) == (("en", "de", "zh"), (0, 1, 2), 3)
    assert replace(total.provenance, digests=()) == replace(whole.provenance, digests=())  # five samples in both
    assert set(total.provenance.digests) == {*gathered(0, 2).provenance.digests, *gathered(2, 5).provenance.digests}


def test_sums_are_exact_and_in_any_order() -> None:
    first, second, third = gathered(0, 2), gathered(2, 3), gathered(3, 5)
    for name in (*TOTALS, *HALVES):
        assert torch.equal(getattr(first + second, name), getattr(first, name) + getattr(second, name)), name
        assert torch.equal(getattr(second + first, name), getattr(first + second, name)), name
    assert set((first + (second + third)).provenance.digests) == set((third + first + second).provenance.digests)


def test_a_sum_names_each_corpus_once() -> None:
    total = gathered(0, 2) + gathered(2, 3) + gathered(3, 5, "more fruit")
    assert total.provenance.corpus == ("fruit", "more fruit")


def test_the_same_part_counts_once() -> None:
    with pytest.raises(InputError, match="same part of the corpus"):
        _ = gathered() + gathered(name="the same under another name")
    with pytest.raises(InputError, match="same part of the corpus"):
        _ = gathered(0, 2) + gathered(2, 5) + gathered(2, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fingerprint": "beef"}, "different weights .*: f00d and beef"),
        ({"fingerprint": None}, "different weights .*: f00d and None"),
        ({"model_type": "qwen2"}, "different model type .*: llama and qwen2"),
        ({"max_length": 512}, "different maximum length .*: 64 and 512"),
        ({"dtype": "bfloat16"}, "different dtype .*: float32 and bfloat16"),
    ],
)
def test_other_models_and_settings_do_not_add_up(change: dict[str, Any], message: str) -> None:
    second = gathered(2, 5)
    with pytest.raises(InputError, match=message):
        _ = gathered(0, 2) + replace(second, provenance=replace(second.provenance, **change))


def cut(profile: NeuronProfile, part: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """A part of every tensor that has layers and neurons."""
    return {name: part(tensor) for name, tensor in profile.tensors.items() if tensor.dim() == 3}


def test_other_shapes_do_not_add_up() -> None:
    first, second = gathered(0, 2), gathered(2, 5)
    with pytest.raises(InputError, match=r"different shape .*: \(3, 3, 12\) and \(4, 3, 12\)"):
        _ = first + replace(second, num_model_layers=4)
    with pytest.raises(InputError, match=r"different shape .*: \(3, 3, 12\) and \(3, 3, 11\)"):
        _ = first + replace(second, **cut(second, lambda tensor: tensor[..., :11]))
    upper = cut(second, lambda tensor: tensor[:, 1:])
    with pytest.raises(InputError, match=r"different shape .*: \(3, 3, 12\) and \(3, 2, 12\)"):
        _ = first + replace(second, layers=(1, 2), **upper)
    lower = cut(first, lambda tensor: tensor[:, :2])
    with pytest.raises(InputError, match=r"different layers .*: \(0, 1\) and \(1, 2\)"):
        _ = replace(first, layers=(0, 1), **lower) + replace(second, layers=(1, 2), **upper)


def test_other_languages_do_not_add_up() -> None:
    for languages in (["en", "de"], ["de", "en", "zh"]):
        with pytest.raises(InputError, match="different languages"):
            _ = gathered(0, 2) + gathered(2, 5).select(languages)
    assert (gathered(0, 2).select(["en"]) + gathered(2, 5).select(["en"])).languages == ("en",)


def test_only_profiles_add_up() -> None:
    with pytest.raises(TypeError):
        _ = gathered() + 1  # type: ignore[operator]


# -- languages -----------------------------------------------------------------------------------------------------


def test_select_takes_languages_in_their_order() -> None:
    whole, chosen = gathered(), gathered().select(["zh", "en"])
    assert chosen.languages == ("zh", "en")
    for name in ("tokens", *TOTALS, *HALVES):
        assert torch.equal(getattr(chosen, name), getattr(whole, name)[[2, 0]]), name
    assert (chosen.layers, chosen.provenance) == (whole.layers, whole.provenance)


def test_select_shares_no_memory() -> None:
    chosen = gathered(0, 3).select(["en", "de", "zh"])
    before = gathered(0, 3).sum.clone()
    chosen.sum.zero_()
    assert torch.equal(gathered(0, 3).sum, before)


def test_of_layers_takes_layers() -> None:
    chosen = gathered().of_layers([0, 2])
    assert (chosen.layers, chosen.num_model_layers) == ((0, 2), 3)
    for name, tensor in chosen.tensors.items():
        whole = getattr(gathered(), name)
        assert torch.equal(tensor, whole if name == "half_tokens" else whole[:, [0, 2]]), name
    for layers, message in (
        ([1, 3], r"layers \[3\] are not in the profile"),
        ([], "at least one"),
        ([1, 0], "ascending"),
    ):
        with pytest.raises(InputError, match=message):
            gathered().of_layers(layers)


@pytest.mark.parametrize(
    ("languages", "message"),
    [
        (["en", "fr", "it"], "languages fr, it are not in the profile; it has en, de, zh"),
        (["en", "en"], "each once"),
        ([], "at least one"),
    ],
)
def test_select_refuses(languages: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        gathered().select(languages)


# -- files ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A saved profile."""
    path = tmp_path / "fruit.safetensors"
    gathered().save(path)
    return path


def test_save_and_load_give_the_same_profile(path: Path) -> None:
    loaded = NeuronProfile.load(path)
    assert_same(loaded, gathered())
    assert loaded.provenance.samples == 5
    assert isinstance(loaded.provenance.digests, tuple)


def test_a_loaded_profile_outlives_its_file(path: Path) -> None:
    loaded = NeuronProfile.load(path)
    gathered(0, 2).save(path)
    path.unlink()
    assert_same(loaded, gathered())


def test_every_kind_of_profile_can_be_saved(tmp_path: Path) -> None:
    model = tiny_plain(FAMILIES["qwen2"], num_hidden_layers=3, intermediate_size=12)
    corpus = ParallelCorpus("fruit", ("en", "de"), ROWS)
    some_layers = profile_neurons(model, byte_tokenizer(), corpus, layers=[2])
    for profile in (some_layers, gathered().select(["zh", "en"]), gathered(0, 2) + gathered(2, 5)):
        profile.save(tmp_path / "profile.safetensors")
        assert_same(NeuronProfile.load(tmp_path / "profile.safetensors"), profile)


def test_parts_from_files_add_up(tmp_path: Path) -> None:
    for name, part in (("first", gathered(0, 2)), ("second", gathered(2, 5))):
        part.save(tmp_path / name)
    total = NeuronProfile.load(tmp_path / "first") + NeuronProfile.load(tmp_path / "second")
    assert_same(total, gathered(0, 2) + gathered(2, 5))


def test_the_same_profile_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    NeuronProfile.load(path).save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_the_files_mode_follows_the_umask(tmp_path: Path) -> None:
    for mask, mode in ((0o022, 0o644), (0o077, 0o600)):
        before = os.umask(mask)
        try:
            gathered().save(tmp_path / f"{mode}")
        finally:
            os.umask(before)
        assert (tmp_path / f"{mode}").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_save_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def half_saved(tensors: dict[str, Tensor], partial: Path, metadata: dict[str, str]) -> None:
        save_file(tensors, partial, metadata)
        os.truncate(partial, 1000)
        raise error

    monkeypatch.setattr(tensor_file, "save_file", half_saved)
    with pytest.raises(error):
        gathered(0, 2).save(path)
    assert_same(NeuronProfile.load(path), gathered())
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file(path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # the system refuses to make a file longer than that
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            gathered(0, 2).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(path)
    assert_same(NeuronProfile.load(path), gathered())
    assert list(path.parent.iterdir()) == [path]


# -- files of older format versions, which had no act_sum, or no halves ------------------------------------------------


def make_older(path: Path, version: int = 1) -> None:
    """Turn a saved profile into what an earlier version of the format would have held."""

    def change(described: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        described.update(format_version=version)
        for name in set(tensors) - FORMATS[version] - {"tokens"}:
            del tensors[name]

    rewrite(path, change)


@pytest.fixture
def older(path: Path) -> NeuronProfile:
    """The profile of a file of format version 1."""
    make_older(path)
    return NeuronProfile.load(path)


def test_an_older_file_gives_all_but_act_sum(older: NeuronProfile) -> None:
    assert older.act_sum is None
    assert set(older.tensors) == set(TOTALS) - {"act_sum"}
    assert_same(older, replace(gathered(), act_sum=None, **WITHOUT_HALVES))
    assert older.total("gate_sum") is older.gate_sum
    with pytest.raises(InputError, match=r"lacks 'act_sum', .*: profile the model again, .* --corpus") as caught:
        older.total("act_sum")
    assert "\n" not in str(caught.value)
    assert torch.equal(gathered().total("act_sum"), gathered().tensors["act_sum"])


def test_a_sum_with_an_older_profile_lacks_act_sum_too(path: Path) -> None:
    gathered(0, 2).save(path)
    make_older(path)
    first, second = NeuronProfile.load(path), gathered(2, 5)
    without = replace(gathered(0, 2) + second, act_sum=None, **WITHOUT_HALVES)
    assert_same(first + second, without)
    assert (second + first).act_sum is None
    assert torch.equal((second + first).gate_sum, without.gate_sum)


def test_a_file_without_halves_gives_all_totals(path: Path) -> None:
    make_older(path, 2)
    older = NeuronProfile.load(path)
    assert_same(older, replace(gathered(), **WITHOUT_HALVES))
    assert not older.has_halves
    assert gathered().has_halves
    assert not (older.select(["en", "de"]) + gathered(0, 2, "other").select(["en", "de"])).has_halves


@pytest.mark.parametrize("version", FORMATS)
def test_a_profile_is_saved_in_the_newest_format_that_it_fills(path: Path, version: int) -> None:
    make_older(path, version)
    loaded = NeuronProfile.load(path)
    for lacking in (loaded, replace(loaded, half_sum=None)):
        lacking.save(path)
        found = NeuronProfile.load(path)
        assert torch.equal(found.sum, loaded.sum)
        assert found.has_halves == (version == 3 and lacking is loaded)


def test_an_older_profile_is_saved_as_it_was(path: Path, older: NeuronProfile, tmp_path: Path) -> None:
    older.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    older.select(["zh"]).save(tmp_path / "chosen")
    assert_same(
        NeuronProfile.load(tmp_path / "chosen"), replace(gathered().select(["zh"]), act_sum=None, **WITHOUT_HALVES)
    )


# -- files that are no profile -------------------------------------------------------------------------------------


def assert_refused(path: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        NeuronProfile.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert_refused(tmp_path / "missing.safetensors", "no such neuron profile")
    assert_refused(tmp_path, "no such neuron profile")


@pytest.mark.parametrize("kept", [0, 5, 100, 1500, -1])
def test_refuses_a_truncated_file(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    assert_refused(path, "not a usable neuron profile")


def test_refuses_random_bytes(path: Path) -> None:
    path.write_bytes(torch.randint(0, 256, (5000,), generator=torch.Generator().manual_seed(0)).to(torch.uint8).numpy())
    assert_refused(path, "not a usable neuron profile")


def test_refuses_other_safetensors_files(path: Path) -> None:
    for metadata in (None, {"format": "pt"}, *({"clas_profile": text} for text in ("null", "[1]", "7", '"text"'))):
        save_file({"weight": torch.ones(2, 2)}, path, metadata)
        assert_refused(path, "it is a safetensors file, but not a neuron profile")
    save_file({"weight": torch.ones(2, 2)}, path, {"clas_profile": "{"})
    assert_refused(path, "not a usable neuron profile")


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], object]) -> None:
    """Change a saved profile's description and tensors in place."""
    with safe_open(path, "pt") as file:
        described = json.loads(file.metadata()["clas_profile"])
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
    change(described, tensors)
    save_file(tensors, path, {"clas_profile": json.dumps(described)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format_version=4), "format version 4, this package reads 1, 2, 3"),
        (lambda d: d.update(format_version=[2]), "not a usable neuron profile"),
        (lambda d: d.update(format_version=1), "it holds the tensors .*'act_sum'"),
        (lambda d: d.pop("format_version"), "format version None"),
        (lambda d: d.pop("languages"), "languages"),
        (lambda d: d.update(languages=["en", "de"]), r"'tokens' is torch.int64 \[3\], expected torch.int64 \[2\]"),
        (lambda d: d.update(languages=["en", "de", "de"]), "each once"),
        (lambda d: d.update(languages=[]), "at least one"),
        (lambda d: d.update(languages=None), "not a usable neuron profile"),
        (lambda d: d.update(layers=[0, 1]), r"'sum' is .*\[3, 3, 12\], expected .*\[3, 2, 12\]"),
        (lambda d: d.update(layers=[2, 1, 0]), "ascending"),
        (lambda d: d.update(layers=[]), "at least one"),
        (lambda d: d.update(layers=["0", "1", "2"]), "not a usable neuron profile"),
        (lambda d: d.update(layers=[-1, 0, 1]), "counted from 0"),
        (lambda d: d.update(num_model_layers=2), "a model with 2 layers"),
        (lambda d: d.pop("num_model_layers"), "num_model_layers"),
        (lambda d: d.pop("provenance"), "provenance"),
        (lambda d: d.update(provenance="unknown"), "'unknown' in place of an object"),
        (lambda d: d["provenance"].pop("corpus"), "Provenance lacks the field 'corpus'"),
        (lambda d: d["provenance"].update(more=1), "Provenance has no field 'more'"),
        (lambda d: d["provenance"].update(digests=None), "digests: None in place of a list"),
    ],
)
def test_refuses_a_wrong_description(path: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    rewrite(path, lambda described, tensors: change(described))
    assert_refused(path, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("gate_sum"), "it holds the tensors .* expected .*'gate_sum'"),
        (lambda t: t.pop("act_sum"), "it holds the tensors .* expected .*'act_sum'"),
        (lambda t: t.pop("tokens"), "it holds the tensors"),
        (lambda t: t.update(weight=torch.ones(1)), "it holds the tensors .*'weight'"),
        (lambda t: t.update(sum=t["sum"].float()), "'sum' is torch.float32 .* expected torch.float64"),
        (lambda t: t.update(positive=t["positive"].int()), "'positive' is torch.int32 .* expected torch.int64"),
        (lambda t: t.update(tokens=t["tokens"].double()), "'tokens' is torch.float64"),
        (lambda t: t.update(tokens=t["tokens"][:2]), r"'tokens' is torch.int64 \[2\], expected torch.int64 \[3\]"),
        (lambda t: t.update(sum=torch.tensor(1.0).double()), r"'sum' is torch.float64 \[\], expected"),
        (lambda t: t.update(sum_sq=t["sum_sq"][..., :11]), r"'sum_sq' is .*\[3, 3, 11\], expected .*\[3, 3, 12\]"),
        (lambda t: t["sum"][1, 2].fill_(torch.nan), "'sum' holds values that are not finite"),
        (lambda t: t["gate_sum"][0, 0, 0].fill_(-torch.inf), "'gate_sum' holds values that are not finite"),
        (lambda t: t["act_sum"][0, 0, 0].fill_(torch.nan), "'act_sum' holds values that are not finite"),
        (lambda t: t["positive"][2, 1, 3].fill_(10_000), "'positive' holds counts .* above the number of tokens"),
        (lambda t: t["gate_positive"][0, 1, 3].fill_(-1), "'gate_positive' holds counts below 0"),
        (lambda t: t["tokens"][1].fill_(0), "'positive' holds counts .* above the number of tokens"),
        (lambda t: t["tokens"].fill_(-1), "'positive' holds counts"),
        (lambda t: t.pop("half_sum"), "it holds the tensors .* expected .*'half_sum'"),
        (lambda t: t.update(half_sum=t["half_sum"].double()), "'half_sum' is torch.float64 .* expected torch.float32"),
        (lambda t: t["half_sum_abs"][0, 0, 0].fill_(torch.nan), "'half_sum_abs' holds values that are not finite"),
        (lambda t: t["half_tokens"].copy_(t["tokens"] + 1), "'half_tokens' holds counts .* above the number of tokens"),
        (lambda t: t["half_positive"][0, 1, 3].fill_(-1), "'half_positive' holds counts below 0"),
        (lambda t: t["half_tokens"].fill_(0), "'half_positive' holds counts .* above the number of tokens"),
    ],
)
def test_refuses_wrong_tensors(path: Path, change: Callable[[dict[str, Tensor]], object], message: str) -> None:
    def contiguous(described: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        change(tensors)
        tensors.update({name: tensor.contiguous() for name, tensor in tensors.items()})

    rewrite(path, contiguous)
    assert_refused(path, message)


def test_counts_may_reach_the_number_of_tokens(path: Path) -> None:
    rewrite(path, lambda described, tensors: tensors["positive"].copy_(tensors["tokens"][:, None, None]))
    assert NeuronProfile.load(path).positive[0].eq(gathered().tokens[0]).all()


def test_a_profile_made_by_hand_is_checked_too() -> None:
    with pytest.raises(InputError, match="'sum' holds values that are not finite"):
        replace(gathered(), sum=gathered().sum * torch.inf)


def test_provenance_as_a_dictionary() -> None:
    provenance = gathered().provenance
    assert from_json(Provenance, json.loads(json.dumps(asdict(provenance)))) == provenance
