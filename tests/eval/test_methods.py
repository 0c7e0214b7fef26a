"""Methods: what is in force under each, and which cannot be had."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from run_helpers import quantified_fixture, save_plain, steered_fixture  # noqa: F401
from torch import Tensor

from clas_models.errors import InputError
from clas_models.profiling.lape import lape
from clas_models.profiling.neuron_profile import NeuronProfile
from clas_models.profiling.selections import select as selected
from eval.engine.choices import choose
from eval.loading import Checkpoint, open_checkpoint
from eval.method_tables import Group, grouped
from eval.methods import METHODS, methods_of

PROMPTS = [list(range(30, 70)), list(range(40, 60))]


@pytest.fixture(scope="module")
def checkpoint(steered: Path) -> Checkpoint:
    return open_checkpoint(str(steered))


@pytest.fixture
def copy(steered: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(steered, tmp_path / "copy"))


def groups(checkpoint: Checkpoint, *names: str, **strengths: Any) -> list[Group]:
    return grouped(methods_of(names, checkpoint, strengths), checkpoint)


def refused(checkpoint: Checkpoint, *names: str, **strengths: Any) -> str:
    with pytest.raises(InputError) as caught:
        groups(checkpoint, *names, **strengths)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def logits(model: Any, group: Group, language: str) -> Tensor:
    """`[methods, prompts, choices]` of all methods of a group."""
    with group.in_force(model):
        parts = list(choose(model, PROMPTS, [48, 49, 50], language, group.conditions, batch_size=2))
    assert len(parts) == 1
    return parts[0][1]


def digest(group: Group) -> str | None:
    return group.digest(group.methods[0])


def test_every_method_says_what_is_in_force(checkpoint: Checkpoint) -> None:
    described = {
        method.name: method.described
        for method in methods_of(
            [kind for kind in METHODS if "vectors" not in kind and kind != "fitted"] + ["int:site=activated"],
            checkpoint,
            {},
        )
    }
    mean = {"kind": "int", "select": "lape", "value": "mean", "site": "gate"}
    assert described == {
        "base": {"kind": "base"},
        "clas": {"kind": "clas", "alpha": 4.0, "beta": 0.9, "gamma": 0.6},
        "int-mean": mean,
        "int:site=activated": {**mean, "site": "activated"},
    }


def test_strengths_that_are_given_replace_the_checkpoints(checkpoint: Checkpoint) -> None:
    alpha = {"de": -2.0, "default": 0.5}
    named, plain = methods_of(["clas:alpha=3", "clas"], checkpoint, {"alpha": alpha, "gamma": 0})
    assert plain.described == {"kind": "clas", "alpha": alpha, "beta": 0.9, "gamma": 0.0}
    assert plain.condition == {"alpha": alpha, "beta": 0.9, "gamma": 0.0, "vector_strength": 0.0}
    assert named.condition == {"alpha": 3.0, "beta": 0.9, "gamma": 0.0, "vector_strength": 0.0}


def test_a_method_may_act_as_for_another_language(checkpoint: Checkpoint) -> None:
    steering, writing = groups(checkpoint, "base", "clas:as=zh", "clas:as=en", "int:as=zh", "int:as=de")
    assert steering.methods[1].described["as"] == "zh"
    model = checkpoint.load()
    [clas, _] = groups(checkpoint, "clas", "int-mean")
    base, as_chinese, as_english = logits(model, steering, "de")
    assert torch.equal(as_english, base)
    assert torch.equal(as_chinese, logits(model, clas, "zh")[0])
    for group, rows in ((steering, "sw"), (writing, "de"), (writing, "en")):
        found = logits(model, group, rows)
        alone = [logits(model, one, rows)[0] for method in group.methods for one in groups(checkpoint, method.name)]
        assert torch.equal(found, torch.stack(alone))
    as_chinese, as_german = logits(model, writing, "de")
    assert not torch.equal(as_chinese, as_german)
    assert torch.equal(as_german, logits(model, groups(checkpoint, "int-mean")[0], "de")[0])


def test_random_masks_have_as_many_neurons_and_leave_no_trace(checkpoint: Checkpoint) -> None:
    model = checkpoint.load()
    own = model.masks
    steering, first, second = groups(checkpoint, "base", "clas", "clas:masks=random", "clas:masks=random,seed=1")
    base, expected = logits(model, steering, "de")
    found = []
    for group in (first, second, first):
        with group.in_force(model):
            drawn = model.masks
            assert model.steering.neurons == {i: (int(s.sum()), int(p.sum())) for i, (s, p) in own.items()}
            assert not any(bool((shared & specific).any()) for shared, specific in drawn.values())
            assert any(not torch.equal(drawn[layer][kind], own[layer][kind]) for layer in own for kind in (0, 1))
        found.append(logits(model, group, "de")[0])
        assert torch.equal(logits(model, group, "en")[0], logits(model, steering, "en")[0])
        assert torch.equal(logits(model, steering, "de")[1], expected)
        assert all(torch.equal(a, b) for i in own for a, b in zip(own[i], model.masks[i], strict=True))
    assert torch.equal(found[0], found[2])
    for one, other in ((found[0], found[1]), (found[0], expected), (found[1], expected), (found[0], base)):
        assert not torch.equal(one, other)
    assert digest(first) != digest(second)
    assert digest(first) == digest(groups(checkpoint, "clas:masks=random")[0])


def test_own_masks_come_back_after_an_exception(checkpoint: Checkpoint) -> None:
    model, [group] = checkpoint.load(), groups(checkpoint, "clas:masks=random")
    own = model.masks
    with pytest.raises(KeyboardInterrupt), group.in_force(model):
        raise KeyboardInterrupt
    assert all(torch.equal(a, b) for i in own for a, b in zip(own[i], model.masks[i], strict=True))


def test_random_masks_are_described_by_their_seed(checkpoint: Checkpoint) -> None:
    plain, control = methods_of(["clas", "clas:seed=3,masks=random,alpha=2"], checkpoint, {})
    assert control.name == "clas:alpha=2,masks=random,seed=3"
    assert control.described == {**plain.described, "alpha": 2.0, "masks": "random", "seed": 3}
    assert "seed=3 of clas is for masks=random" in refused(checkpoint, "clas:seed=3")
    assert "write a whole number" in refused(checkpoint, "clas:masks=random,seed=-1")
    together = [[method.name for method in group.methods] for group in groups(
        checkpoint, "clas", "clas:masks=random", "clas:masks=random,alpha=1", "clas:masks=random,seed=2")]  # fmt: skip
    assert together == [["clas"], ["clas:masks=random", "clas:alpha=1,masks=random"], ["clas:masks=random,seed=2"]]


def test_methods_that_differ_in_strengths_are_computed_together(checkpoint: Checkpoint) -> None:
    together = [[method.name for method in group.methods] for group in groups(checkpoint, "clas", "int-mean", "base")]
    assert together == [["clas", "base"], ["int-mean"]]


def test_base_is_the_plain_model_whatever_was_in_force_before(checkpoint: Checkpoint, tmp_path: Path) -> None:
    plain = open_checkpoint(str(save_plain(tmp_path / "plain")))
    expected = logits(plain.load(), groups(plain, "base")[0], "de")
    model = checkpoint.load()
    steering, overwriting = groups(checkpoint, "base", "clas", "int-mean")
    for group in (steering, overwriting, steering):
        found = logits(model, group, "de")
        assert torch.equal(found[0], expected[0]) == (group is steering)
    assert not torch.equal(logits(model, steering, "de")[1], expected[0])


@pytest.mark.parametrize("language", ["en", "sw"])
def test_int_mean_leaves_the_anchor_and_unprofiled_languages_alone(checkpoint: Checkpoint, language: str) -> None:
    base, overwriting = groups(checkpoint, "base", "int-mean")
    model = checkpoint.load()
    assert torch.equal(logits(model, overwriting, language), logits(model, base, language))


def test_int_mean_writes_the_means_of_the_languages_own_neurons(checkpoint: Checkpoint) -> None:
    [group] = groups(checkpoint, "int-mean")
    assert group.tables is not None
    masks, values = group.tables.masks, group.tables.values
    profile = checkpoint.profile()
    neurons = lape(profile)
    assert not masks[0].any()  # English
    for row, language in enumerate(["de", "zh"], start=1):
        assert torch.equal(masks[row], neurons.masks[row])
        mean = profile.gate_sum[row] / profile.tokens[row]
        assert torch.equal(values[row], torch.where(masks[row], mean.float(), 0)), language
    assert masks.any()


def test_int_mean_is_what_hooks_on_a_plain_model_do(checkpoint: Checkpoint, tmp_path: Path) -> None:
    [group] = groups(checkpoint, "int:site=activated")
    assert group.tables is not None
    plain = open_checkpoint(str(save_plain(tmp_path / "plain")))
    model = plain.load()
    for layer, mask, value in zip(model.model.layers, group.tables.masks[1], group.tables.values[1], strict=True):
        layer.mlp.act_fn.register_forward_hook(lambda _, __, out, m=mask, v=value: torch.where(m, v, out))
    expected = logits(model, groups(plain, "base")[0], "de")
    assert torch.equal(logits(checkpoint.load(), group, "de"), expected)


@pytest.mark.parametrize("select", ["lape", "probability:top_rate=0.05"])
def test_percentiles_are_what_hooks_on_a_plain_model_do(select: str, quantified: Path, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(quantified))
    [group] = groups(checkpoint, f"int:select=({select}),value=p90,site=activated")
    known = checkpoint.known()
    assert known.quantiles is not None
    neurons, p90 = selected(select, known), known.quantiles.of("de", 90, "activated")
    plain = open_checkpoint(str(save_plain(tmp_path / "plain")))
    model = plain.load()
    for place, layer in enumerate(model.model.layers):
        chosen, written = neurons.indices("de")[place], p90[place]

        def write(_: Any, __: Any, out: Tensor, chosen: Tensor = chosen, written: Tensor = written) -> Tensor:
            out = out.clone()
            out[..., chosen] = written[chosen]
            return out

        layer.mlp.act_fn.register_forward_hook(write)
    expected = logits(model, groups(plain, "base")[0], "de")
    assert torch.equal(logits(checkpoint.load(), group, "de"), expected)
    assert not torch.equal(logits(checkpoint.load(), groups(checkpoint, "base")[0], "de"), expected)


def test_an_int_is_described_in_the_one_way(quantified: Path) -> None:
    checkpoint = open_checkpoint(str(quantified))
    text = "int:site=activated,value=mean+std,select=(lape:rate_of=model,top_rate=0.020 or (categories))"
    [method] = methods_of([text], checkpoint, {})
    assert method.name == ("int:select=(lape:top_rate=0.02,rate_of=model or categories),value=mean+1std,site=activated")
    assert method.described == {
        "kind": "int", "select": "lape:top_rate=0.02,rate_of=model or categories", "value": "mean+1std",
        "site": "activated",
    }  # fmt: skip
    assert methods_of([method.name], checkpoint, {}) == [method]
    assert type(method.described["select"]) is str
    assert "is given more than once as int:select=(random:like=lape)" in refused(
        checkpoint, "int:select=(random:like=lape)", "int:select=random:like=(lape)"
    )


def test_a_selection_that_cannot_be_written_over(checkpoint: Checkpoint, quantified: Path, tmp_path: Path) -> None:
    assert "select=best: unknown selection 'best': choose among lape" in refused(checkpoint, "int:select=best")
    assert "unknown option 'rate'; its options are top_rate" in refused(checkpoint, "int:select=(lape:rate=1)")
    assert refused(checkpoint, "int:select=(lape without lape)") == (
        "selection 'lape without lape': no neuron in any language; loosen what it asks for, or choose another"
    )
    assert "value p90: quantiles were not recorded" in refused(checkpoint, "int:value=p90")
    assert "P33 was not recorded: choose one of P5" in refused(open_checkpoint(str(quantified)), "int:value=p33")
    assert "value=median: unknown value 'median' to write" in refused(checkpoint, "int:value=median")
    found = selected("lape", checkpoint.known())
    other = replace(found, masks=torch.cat([found.masks, found.masks], dim=2))
    other.save(tmp_path / "other.safetensors")
    assert "a selection of another model" in refused(checkpoint, f"int:select=({tmp_path}/other.safetensors)")


def test_the_digest_follows_what_a_file_holds(checkpoint: Checkpoint, tmp_path: Path) -> None:
    known, path = checkpoint.known(), tmp_path / "mine.safetensors"
    digests = set()
    for text in ("lape", "categories", "lape"):
        selected(text, known).save(path)
        digests.add(digest(groups(checkpoint, f"int:select=({path})")[0]))
    assert len(digests) == 2
    assert digests == {digest(groups(checkpoint, f"int:select={text}")[0]) for text in ("lape", "categories")}


def test_the_two_sites_differ(checkpoint: Checkpoint) -> None:
    sites = [groups(checkpoint, f"int:site={site}")[0] for site in ("gate", "activated")]
    assert digest(sites[0]) != digest(sites[1])
    assert digest(groups(checkpoint, "base")[0]) is None


def test_unknown_names_and_options_are_refused(checkpoint: Checkpoint) -> None:
    assert refused(checkpoint, "magic") == (
        "unknown method 'magic': choose among base, clas, fitted, vectors, clas+vectors, int, int-mean"
    )
    assert refused(checkpoint, "base", "base") == "method 'base' is given more than once: name every method once"
    assert "method 'int:value=mean' is given more than once as int-mean" in refused(
        checkpoint, "int-mean", "int:value=mean"
    )
    assert "method 'clas:alpha=4' is given more than once as clas" in refused(checkpoint, "clas", "clas:alpha=4")
    assert "site=up: choose one of gate, activated" in refused(checkpoint, "int:site=up")
    assert "fr is not among the profiled languages en, de, zh" in refused(checkpoint, "clas:as=fr")
    assert "alpha is for the method clas" in refused(checkpoint, "base", alpha=1.0)


@pytest.mark.parametrize(
    ("strengths", "said"),
    [
        ({"alpha": {"fr": 1.0, "default": 0.0}}, "'fr' is not among the languages en, de, zh"),
        ({"alpha": {"en": 1.0, "default": 0.0}}, "the anchor language 'en' is never steered"),
        ({"beta": float("nan")}, "beta: nan is not finite"),
    ],
)
def test_strengths_that_cannot_be_used_are_refused(
    strengths: dict[str, Any], said: str, checkpoint: Checkpoint
) -> None:
    assert said in refused(checkpoint, "clas", **strengths)


def test_a_plain_checkpoint_has_only_base(tmp_path: Path) -> None:
    plain = open_checkpoint(str(save_plain(tmp_path / "plain")))
    assert [method.name for method in methods_of(None, plain, {})] == ["base"]
    for name in ("clas", "int-mean"):
        assert "a plain checkpoint, which only base can be run with" in refused(plain, "base", name)


def test_an_old_profile_has_no_means_after_the_nonlinearity(copy: Path) -> None:
    path = copy / "neuron_profile.safetensors"
    replace(NeuronProfile.load(path), act_sum=None).save(path)
    checkpoint = open_checkpoint(str(copy))
    groups(checkpoint, "int-mean")
    assert "lacks 'act_sum'" in refused(checkpoint, "int:site=activated")


def test_a_profile_without_all_layers_is_refused(copy: Path) -> None:
    path = copy / "neuron_profile.safetensors"
    NeuronProfile.load(path).of_layers([0, 1]).save(path)
    assert "lacks layer 2-5" in refused(open_checkpoint(str(copy)), "int-mean")
