"""Fitted strengths: one for each language, layer and category in place of beta and gamma; `alpha` multiplies them."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import cpu_offload
from bare_environment import make_bare_environment
from conftest import TINY, tiny_plain, tiny_steered
from conversion.support import change_tensors, rewrite_json
from modeling_helpers import LAYERS_ON_DISK, MIXED, assert_anchor_rows_are_plain
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from clas_models import FAMILIES
from clas_models.modeling.fitted import ALL_SHARED, DEAD, PARTIAL_SHARED, SPECIFIC
from clas_models.modeling.scale import FittedScaleInLayer, ScaleInLayer
from clas_models.modeling.steering import CATEGORIES

NEURONS = TINY["intermediate_size"]
LANGUAGES = ["en", "de", "zh", "hi"]
LAYERS = [1, 4]
IDS = [0, 1, 0, 4]  # of MIXED: fr was not profiled
HALVES = [torch.bfloat16, torch.float16]
Tables = dict[int, Tensor]


def table(seed: int) -> Tensor:
    """Strengths float32 `[5, 4]` of about 1, which no half precision holds; those of English, the first, are 0."""
    strengths = torch.randn(len(LANGUAGES) + 1, len(CATEGORIES), generator=torch.Generator().manual_seed(seed))
    strengths[0] = 0
    assert not any(torch.equal(strengths.to(dtype).float(), strengths) for dtype in HALVES)
    return strengths


def drawn(seed: int) -> Tensor:
    """Of each neuron of a layer its category, uint8 `[48]`: all four occur."""
    found = torch.randint(0, 4, (NEURONS,), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    assert len(found.unique()) == 4
    return found


STRENGTHS: Tables = {layer: table(layer) for layer in LAYERS}
NEURON_CATEGORIES: Tables = {layer: drawn(layer) for layer in LAYERS}


def fitted(family: Any, strengths: Mapping[int, Tensor] = STRENGTHS, **overrides: Any) -> Any:
    """A tiny model of which layers 1 and 4 are steered with `STRENGTHS`, not 2 and 3 with beta and gamma."""
    model = tiny_steered(family, **{"alpha": 1.0, **overrides})
    model.set_fitted(strengths, {layer: NEURON_CATEGORIES[layer] for layer in strengths})
    return model


def logits(model: Any, tokens: Tensor, language: Any = MIXED) -> Tensor:
    with torch.inference_mode():
        return model(tokens, language=language)[0]


def assert_same_tables(found: Tables, expected: Mapping[int, Tensor] = STRENGTHS) -> None:
    assert list(found) == sorted(expected)
    for layer, strengths in found.items():
        assert strengths.dtype == torch.float32
        assert torch.equal(strengths, expected[layer])


def row_scales(model: Any) -> Tables:
    """What the layers really multiply by, of each category."""
    return {layer: model.model.layers[layer].mlp.scale.row_scales for layer in model.config.bridge_layers}


def assert_scales_are_exact(model: Any, alpha: float = 1.0) -> None:
    """Rounded once, from float64, to the precision that strengths are kept in."""
    wide = torch.float64 if model.dtype == torch.float64 else torch.float32
    for layer, scales in row_scales(model).items():
        assert scales.dtype == wide
        assert torch.equal(scales, (1 + alpha * STRENGTHS[layer].double()).to(wide))


@contextmanager
def by_hand(plain: Any, alpha: tuple[float, ...]) -> Iterator[None]:
    """On a plain model, neuron by neuron: 1 + alpha s[language, layer, category], for the languages of MIXED."""

    def multiply(layer: int) -> Any:
        strength = STRENGTHS[layer].double()[:, NEURON_CATEGORIES[layer].long()]
        factors = 1 + torch.tensor(alpha, dtype=torch.float64)[:, None] * strength
        return lambda _, args: args[0] * factors.float().to(args[0].dtype)[IDS, None]

    handles = [
        plain.model.layers[layer].mlp.down_proj.register_forward_pre_hook(multiply(layer)) for layer in STRENGTHS
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


# ---- the rule


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_the_paper_s_rule_is_one_case(family: Any, tokens: Tensor, dtype: torch.dtype) -> None:
    """Bit for bit, with a beta and a gamma that the table holds exactly."""
    model = tiny_steered(family, beta=0.5, gamma=0.25).to(dtype)
    expected, masks = logits(model, tokens), model.masks
    paper = torch.zeros(5, 4)
    paper[1:, SPECIFIC], paper[1:, PARTIAL_SHARED] = -0.25, 0.5
    others = torch.arange(NEURONS) % 2 == 0  # of the neurons in no mask some are dead, the others all-shared
    categories = {}
    for layer, (shared, specific) in masks.items():
        categories[layer] = torch.where(others, DEAD, ALL_SHARED).to(torch.uint8)
        categories[layer][shared], categories[layer][specific] = PARTIAL_SHARED, SPECIFIC
    model.set_fitted(dict.fromkeys(masks, paper), categories)
    assert model.steering.fitted
    assert torch.equal(logits(model, tokens), expected)
    assert not torch.equal(expected, logits(model, tokens, "en"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("alpha", [1.0, {"de": -0.5, "default": 2.0}], ids=str)
def test_each_neuron_is_multiplied_by_the_strength_of_its_category(
    family: Any, tokens: Tensor, dtype: torch.dtype, alpha: Any
) -> None:
    """Rows of the anchor, of a profiled language, and of one that takes the last row of the table."""
    plain, model = tiny_plain(family).to(dtype), fitted(family, alpha=alpha).to(dtype)
    found, unsteered = logits(model, tokens), plain(tokens).logits
    by_id = (0.0, 1.0, 1.0, 1.0, 1.0) if alpha == 1.0 else (0.0, -0.5, 2.0, 2.0, 2.0)
    with by_hand(plain, by_id):
        assert torch.equal(found, plain(tokens).logits)
    assert_anchor_rows_are_plain(found, unsteered)
    for row, language in enumerate(MIXED):
        assert torch.equal(logits(model, tokens, language)[row], found[row])


def test_no_strength_for_languages_that_were_not_profiled_leaves_them_alone(family: Any, tokens: Tensor) -> None:
    strengths = {layer: each.clone() for layer, each in STRENGTHS.items()}
    for each in strengths.values():
        each[-1] = 0
    model, plain = fitted(family, strengths), tiny_plain(family)(tokens).logits
    assert torch.equal(logits(model, tokens, "fr"), plain)
    assert torch.equal(logits(model, tokens, None), plain)
    assert not torch.equal(logits(model, tokens, "hi"), plain)


def test_alpha_is_the_one_dial(family: Any, tokens: Tensor) -> None:
    model, plain = fitted(family, alpha=0.0), tiny_plain(family)(tokens).logits
    assert torch.equal(logits(model, tokens), plain)
    model.set_steering(alpha=2.0)
    twice = fitted(family, {layer: 2 * each for layer, each in STRENGTHS.items()})
    assert torch.equal(logits(model, tokens), logits(twice, tokens))
    with model.temporary_steering(alpha={"de": 0.0, "default": 1.0}):
        assert model.steering.alpha["de"] == 0.0
        assert torch.equal(logits(model, tokens, "de"), plain)
        assert torch.equal(logits(model, tokens, "fr"), logits(fitted(family), tokens, "fr"))
    assert torch.equal(logits(model, tokens), logits(twice, tokens))
    model.reset_steering()
    assert torch.equal(logits(model, tokens), plain)


def test_it_generates_in_mixed_batches(family: Any, tokens: Tensor) -> None:
    model, plain = fitted(family), tiny_plain(family)
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": -1}
    found = model.generate(tokens, language=MIXED, **options)
    assert_anchor_rows_are_plain(found, plain.generate(tokens, **options))
    for row, language in enumerate(MIXED):
        assert torch.equal(model.generate(tokens, language=language, **options)[row], found[row])


# ---- told and replaced


def test_a_model_tells_what_is_fitted(family: Any) -> None:
    model = fitted(family)
    told = model.fitted_strengths
    assert_same_tables(told)
    told[1].zero_()  # a copy
    assert_same_tables(model.fitted_strengths)
    steering = model.steering
    assert (steering.fitted, steering.bridge_layers) == (True, (1, 4))
    assert "alpha en 0, de 1, zh 1, hi 1, default 1; fitted strengths; " in str(steering)
    assert model.rules[0].layers == (1, 4)
    assert model.config.bridge_layers == model.model.config.bridge_layers == [1, 4]
    assert tiny_steered(family).fitted_strengths == {}


def test_another_call_takes_the_place_of_all_of_them(family: Any, tokens: Tensor) -> None:
    model = fitted(family)
    model.set_fitted({2: table(7)}, {2: drawn(7)})
    assert_same_tables(model.fitted_strengths, {2: table(7)})
    assert [layer.mlp.scale is not None for layer in model.model.layers] == [layer == 2 for layer in range(6)]
    assert torch.equal(logits(model, tokens, "en"), tiny_plain(family)(tokens).logits)


def paper(family: Any) -> Any:
    return tiny_steered(family)


def paper_without_layers(family: Any) -> Any:
    return tiny_steered(family, bridge_layers=[])


@pytest.mark.parametrize("make", [paper, paper_without_layers, fitted])
@pytest.mark.parametrize("fails", [False, True])
def test_for_a_while_the_model_s_own_come_back(family: Any, tokens: Tensor, make: Any, fails: bool) -> None:
    model = make(family)
    before, told = logits(model, tokens), model.steering
    try:
        with model.temporary_fitted({2: table(9)}, {2: drawn(9)}):
            assert_same_tables(model.fitted_strengths, {2: table(9)})
            assert not torch.equal(logits(model, tokens), before)
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert fails
    assert model.steering == told
    assert torch.equal(logits(model, tokens), before)
    assert model.config.to_dict() == make(family).config.to_dict()


@pytest.mark.parametrize("make", [paper, fitted])
def test_alpha_that_was_changed_meanwhile_reaches_the_model_s_own(family: Any, tokens: Tensor, make: Any) -> None:
    model, other = make(family), make(family)
    with model.temporary_fitted({2: table(9)}, {2: drawn(9)}):
        model.set_steering(alpha=-1.5)
    other.set_steering(alpha=-1.5)
    assert torch.equal(logits(model, tokens), logits(other, tokens))


def test_a_beta_of_before_comes_back(family: Any, tokens: Tensor) -> None:
    """Where strengths are fitted it says nothing, but it must not be lost."""
    model = tiny_steered(family)
    expected = logits(model, tokens)
    with model.temporary_steering(beta=0.9), model.temporary_fitted(STRENGTHS, NEURON_CATEGORIES):
        with model.temporary_steering(alpha=2.0):
            assert model.config.beta == 0.9
        model.reset_steering()
        assert (model.config.beta, model.steering.alpha["zh"]) == (0.4, 1.5)
    assert torch.equal(logits(model, tokens), expected)
    with model.temporary_steering(beta=0.9):
        model.set_fitted(STRENGTHS, NEURON_CATEGORIES)
    assert model.config.beta == 0.4


def test_what_is_put_in_under_inference_mode_can_be_changed_later(family: Any) -> None:
    model = tiny_steered(family, alpha=1.0)
    with torch.inference_mode():
        model.set_fitted(STRENGTHS, NEURON_CATEGORIES)
        with model.temporary_fitted({2: table(9)}, {2: drawn(9)}):
            pass
    model.set_steering(alpha=2.0)
    assert_scales_are_exact(model, alpha=2.0)


def test_factors_below_0_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", logger="clas_models.modeling.steering")  # a program may have silenced it
    strengths = torch.zeros(5, 4)
    strengths[2, ALL_SHARED] = -1.75
    fitted(FAMILIES["llama"], {4: strengths}).save_pretrained(tmp_path)
    AutoModelForCausalLM.from_pretrained(tmp_path, alpha=0.5)
    assert "below 0" not in caplog.text
    AutoModelForCausalLM.from_pretrained(tmp_path)
    assert "with factors below 0: zh (alpha 1): -0.75 for all-shared neurons" in caplog.text


# ---- in any precision, every bit of the table


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES, torch.float64], ids=str)
def test_a_table_is_put_into_a_model_of_any_precision(family: Any, tokens: Tensor, dtype: torch.dtype) -> None:
    model = tiny_steered(family, alpha=1.0).to(dtype)
    model.set_fitted(STRENGTHS, NEURON_CATEGORIES)
    assert_same_tables(model.fitted_strengths)
    assert_scales_are_exact(model)
    assert torch.equal(logits(model, tokens), logits(fitted(family).to(dtype), tokens))


@pytest.mark.parametrize(
    "cast",
    [
        lambda model: model.to(torch.bfloat16).float(),
        lambda model: model.half(),
        lambda model: model.bfloat16(),
        lambda model: model.double(),
        lambda model: model.half().double(),
    ],
)
def test_casting_a_model_rounds_no_strength(family: Any, cast: Any) -> None:
    model = cast(fitted(family))
    assert_same_tables(model.fitted_strengths)
    assert model.state_dict()["model.layers.1.mlp.scale.fitted_strengths"].dtype == torch.float32
    assert_scales_are_exact(model)
    model.set_steering(alpha=-3.0)
    assert_scales_are_exact(model, alpha=-3.0)


def put_into_loaded(family: Any, folder: Path, stored: torch.dtype, dtype: torch.dtype | None = None) -> Any:
    """A loaded model of the paper's rule, into which strengths are put."""
    tiny_steered(family, alpha=1.0).to(stored).save_pretrained(folder / "paper")
    model = AutoModelForCausalLM.from_pretrained(folder / "paper", dtype=dtype)
    model.set_fitted(STRENGTHS, NEURON_CATEGORIES)
    return model


@pytest.mark.parametrize("stored", [torch.float32, *HALVES], ids=str)
@pytest.mark.parametrize("dtype", [None, torch.float32, *HALVES, torch.float64], ids=str)
def test_loading_and_saving_in_any_precision_keeps_every_bit(
    family: Any, tokens: Tensor, tmp_path: Path, stored: torch.dtype, dtype: torch.dtype | None
) -> None:
    fitted(family).to(stored).save_pretrained(tmp_path / "first")
    loaded, report = AutoModelForCausalLM.from_pretrained(tmp_path / "first", dtype=dtype, output_loading_info=True)
    assert not report["missing_keys"] | report["unexpected_keys"]
    assert loaded.dtype == (stored if dtype is None else dtype)
    assert_same_tables(loaded.fitted_strengths)
    assert_scales_are_exact(loaded)
    assert torch.equal(logits(loaded, tokens), logits(put_into_loaded(family, tmp_path, stored, dtype), tokens))

    loaded.save_pretrained(tmp_path / "again")
    for folder in ("first", "again"):
        saved = load_file(tmp_path / folder / "model.safetensors")
        for layer in LAYERS:
            name = f"model.layers.{layer}.mlp.scale."
            assert saved[f"{name}fitted_strengths"].dtype == torch.float32
            assert torch.equal(saved[f"{name}fitted_strengths"], STRENGTHS[layer])
            for mask, category in (("shared", PARTIAL_SHARED), ("specific", SPECIFIC), ("all_shared", ALL_SHARED)):
                assert torch.equal(saved[f"{name}{mask}_mask"], NEURON_CATEGORIES[layer] == category)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    assert again.steering == loaded.steering
    assert torch.equal(logits(again, tokens), logits(loaded, tokens))
    loaded.set_steering(alpha=0.25)
    assert_scales_are_exact(loaded, alpha=0.25)


@pytest.mark.parametrize(
    "auto",
    [
        AutoModel,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
        AutoModelForQuestionAnswering,
    ],
)
def test_every_auto_class(family: Any, tokens: Tensor, tmp_path: Path, auto: Any) -> None:
    model = put_into_loaded(family, tmp_path, torch.bfloat16)
    model.save_pretrained(tmp_path / "causal")
    head = auto.from_pretrained(tmp_path / "causal")
    assert_same_tables(head.fitted_strengths)
    head.save_pretrained(tmp_path / "head")
    loaded, report = auto.from_pretrained(tmp_path / "head", output_loading_info=True)
    assert not report["missing_keys"] | report["unexpected_keys"]
    assert_same_tables(loaded.fitted_strengths)
    assert torch.equal(logits(loaded.base_model, tokens), logits(model.model, tokens))


def test_alpha_and_fewer_layers_are_overrides(family: Any, tokens: Tensor, tmp_path: Path) -> None:
    fitted(family).save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, alpha=0.5, beta=0.4, bridge_layers=[4])
    assert_same_tables(loaded.fitted_strengths, {4: STRENGTHS[4]})
    assert_scales_are_exact(loaded, alpha=0.5)
    loaded.set_steering(alpha=0)
    assert torch.equal(logits(loaded, tokens), tiny_plain(family)(tokens).logits)


def test_copies_and_pickles(family: Any, tokens: Tensor) -> None:
    model = fitted(family)
    expected = logits(model, tokens)
    for copy in (deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(logits(copy, tokens), expected)
        assert_same_tables(copy.fitted_strengths)
        copy.set_fitted({2: table(9)}, {2: drawn(9)})
    assert torch.equal(logits(model, tokens), expected)


def test_a_state_dict_brings_its_strengths(family: Any, tokens: Tensor) -> None:
    model = fitted(family)
    for assign in (False, True):
        other = fitted(family, {layer: -each for layer, each in STRENGTHS.items()})
        logits(other, tokens)  # tables are made
        other.load_state_dict(model.state_dict(), assign=assign)
        assert_scales_are_exact(other)
        assert torch.equal(logits(other, tokens), logits(model, tokens))


def test_a_model_made_without_memory_and_filled_later(family: Any, tokens: Tensor) -> None:
    model = fitted(family)
    with torch.device("meta"):
        empty = family.causal_lm(model.config).eval()
    filled = empty.to_empty(device="cpu")
    filled.model.rotary_emb.inv_freq.copy_(model.model.rotary_emb.inv_freq)
    filled.load_state_dict(model.state_dict())
    assert_scales_are_exact(filled)
    assert torch.equal(logits(filled, tokens), logits(model, tokens))


# ---- elsewhere than in memory, compiled, trained


def offloaded(folder: Path, place: str, scratch: Path, **options: Any) -> Any:
    """A checkpoint whose buffers, too, lie elsewhere until a layer runs."""
    if place == "memory":
        model = AutoModelForCausalLM.from_pretrained(folder, **options)
        return cpu_offload(model, torch.device("cpu"), offload_buffers=True)
    parts = {"": "disk"} if place == "disk" else LAYERS_ON_DISK
    return AutoModelForCausalLM.from_pretrained(
        folder, device_map=parts, offload_buffers=True, offload_folder=scratch, **options
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("place", ["disk", "some layers on disk", "memory"])
def test_tables_that_are_not_in_memory_are_told_and_in_force_as_any(
    place: str, family: Any, dtype: torch.dtype, tokens: Tensor, tmp_path: Path
) -> None:
    model = put_into_loaded(family, tmp_path, dtype)
    model.save_pretrained(tmp_path / "saved")
    loaded = offloaded(tmp_path / "saved", place, tmp_path / "scratch")
    assert loaded.model.layers[1].mlp.scale.fitted_strengths.is_meta
    expected = logits(model, tokens)

    def check(other: Any) -> None:
        assert other.steering == model.steering
        assert_same_tables(other.fitted_strengths)
        assert torch.equal(logits(other, tokens), logits(model, tokens))

    check(loaded)
    for alpha in (-2.0, {"de": 0.0, "default": 0.5}):
        with loaded.temporary_steering(alpha=alpha), model.temporary_steering(alpha=alpha):
            assert not torch.equal(logits(model, tokens), expected)
            check(loaded)
    check(loaded)
    with loaded.temporary_fitted({1: table(9)}, {1: drawn(9)}), model.temporary_fitted({1: table(9)}, {1: drawn(9)}):
        assert_same_tables(loaded.fitted_strengths, {1: table(9)})
        assert torch.equal(logits(loaded, tokens), logits(model, tokens))
    check(loaded)
    assert loaded.model.layers[1].mlp.scale.fitted_strengths.is_meta
    if place != "memory":  # transformers saves what it has placed itself
        loaded.save_pretrained(tmp_path / "again")
        check(AutoModelForCausalLM.from_pretrained(tmp_path / "again"))
    loaded.set_fitted({2: table(8)}, {2: drawn(8)})
    model.set_fitted({2: table(8)}, {2: drawn(8)})
    assert torch.equal(logits(loaded, tokens), logits(model, tokens))


def test_other_strengths_need_no_new_graph(family: Any, tokens: Tensor) -> None:
    torch._dynamo.reset()
    model, graphs = fitted(family), []

    def backend(graph: Any, _: list[Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    try:
        compiled = torch.compile(model, fullgraph=True, backend=backend)
        before = logits(compiled, tokens, "de")
        torch.testing.assert_close(before, logits(model, tokens, "de"))
        model.set_steering(alpha=-1.5)
        torch.testing.assert_close(logits(compiled, tokens, "de"), logits(model, tokens, "de"))
        assert not torch.allclose(logits(compiled, tokens, "de"), before)
        with model.temporary_steering(alpha=0):
            torch.testing.assert_close(logits(compiled, tokens, "de"), tiny_plain(family)(tokens).logits)
        assert len(graphs) == 1
    finally:
        torch._dynamo.reset()


def test_a_compiled_layer_follows_another_table() -> None:
    model = fitted(FAMILIES["llama"])
    scale: FittedScaleInLayer = model.model.layers[4].mlp.scale
    compiled = torch.compile(scale, backend="eager", fullgraph=True)
    h, ids = torch.ones(1, 1, NEURONS), torch.tensor([2])
    assert torch.equal(compiled(h, ids), scale(h, ids))
    before = scale(h, ids)
    scale.set_fitted(table(9), scale.all_shared_mask)
    assert torch.equal(compiled(h, ids), scale(h, ids))
    assert not torch.equal(scale(h, ids), before)


def test_a_step_of_training_leaves_strengths_alone(family: Any, tokens: Tensor) -> None:
    model = fitted(family).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(tokens, labels=tokens, language=MIXED).loss.backward()
    optimizer.step()
    assert_same_tables(model.fitted_strengths)
    assert_scales_are_exact(model)


# ---- what is refused


@pytest.mark.parametrize(
    ("strengths", "categories", "message"),
    [
        ({9: table(1)}, {9: drawn(1)}, r"bridge_layers\[0\]: 9 is out of range; layers are 0 to 5"),
        ({"1": table(1)}, {"1": drawn(1)}, r"bridge_layers\[0\]: '1' is not an integer"),
        ({1: table(1)}, {4: drawn(1)}, r"strengths of layers \[1\], categories of layers \[4\]"),
        ({1: table(1)[:4]}, {1: drawn(1)}, r"layer 1: fitted strengths are torch.float32 \[4, 4\]; .* = \[5, 4\]"),
        ({1: table(1)[:, :2]}, {1: drawn(1)}, r"layer 1: fitted strengths are torch.float32 \[5, 2\]"),
        ({1: table(1).int()}, {1: drawn(1)}, "layer 1: fitted strengths are torch.int32"),
        ({1: [[0.0]]}, {1: drawn(1)}, "layer 1: fitted strengths are a list"),
        ({1: table(1) / 0}, {1: drawn(1)}, "layer 1: fitted strengths are not finite"),
        ({1: table(1).double() * 1e300}, {1: drawn(1)}, "layer 1: fitted strengths are not finite"),
        ({1: table(1) + 1}, {1: drawn(1)}, "layer 1: the strengths of the anchor en are not 0; it is never steered"),
        ({1: table(1)}, {1: drawn(1).int()}, r"layer 1: categories are torch.int32 \[48\]; allowed is .*uint8 \[48\]"),
        ({1: table(1)}, {1: drawn(1)[:40]}, r"layer 1: categories are torch.uint8 \[40\]"),
        ({1: table(1)}, {1: drawn(1) + 1}, r"layer 1: category 4; allowed are 0 to 3: \('dead', "),
    ],
)  # fmt: skip
@pytest.mark.parametrize("make", [paper, fitted])
def test_what_does_not_fit_changes_nothing(
    make: Any, strengths: Any, categories: Any, message: str, tokens: Tensor
) -> None:
    model = make(FAMILIES["llama"])
    before, told = logits(model, tokens), model.steering
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        model.set_fitted(strengths, categories)
    assert "\n" not in str(caught.value)
    with pytest.raises((TypeError, ValueError), match=message), model.temporary_fitted(strengths, categories):
        pytest.fail("the block is not entered")
    assert model.steering == told
    assert torch.equal(logits(model, tokens), before)


@pytest.mark.parametrize("name", ["beta", "gamma"])
def test_beta_and_gamma_are_no_part_of_it(family: Any, tokens: Tensor, tmp_path: Path, name: str) -> None:
    model = fitted(family)
    before, message = logits(model, tokens), f"{name}: 0.9, but the checkpoint's strengths are fitted, .* change alpha"
    with pytest.raises(ValueError, match=message):
        model.set_steering(alpha=2.0, **{name: 0.9})
    with pytest.raises(ValueError, match=message), model.temporary_steering(**{name: 0.9}):
        pytest.fail("the block is not entered")
    assert torch.equal(logits(model, tokens), before)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        AutoModelForCausalLM.from_pretrained(tmp_path, **{name: 0.9})
    model.set_steering(beta=0.4, gamma=0.2)  # what they are


def test_masks_alone_do_not_change(family: Any, tokens: Tensor) -> None:
    model = fitted(family)
    before = logits(model, tokens)
    with pytest.raises(ValueError, match=r"masks: the strengths are fitted to categories .* set_fitted"):
        model.set_masks(model.masks)
    assert torch.equal(logits(model, tokens), before)


def test_fitted_is_true_or_false(family: Any) -> None:
    with pytest.raises(TypeError, match="fitted: 1 is of type int; allowed is true or false"):
        tiny_steered(family, fitted=1)


TABLE = "model.layers.4.mlp.scale.fitted_strengths"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop(TABLE), f"fitted: True, but the checkpoint has no '{TABLE}'; allowed are layers "),
        (
            lambda tensors: tensors.pop("model.layers.1.mlp.scale.all_shared_mask"),
            "but the checkpoint has no 'model.layers.1.mlp.scale.all_shared_mask'",
        ),
        (lambda tensors: tensors[TABLE][2].fill_(math.nan), "layer 4: fitted strengths are not finite"),
        (lambda tensors: tensors[TABLE][0].fill_(0.5), "layer 4: the strengths of the anchor en are not 0"),
        (lambda tensors: tensors["model.layers.1.mlp.scale.all_shared_mask"].fill_(True), "layer 1: .* overlap in"),
    ],
)
@pytest.mark.parametrize("place", [{}, {"device_map": "cpu"}, {"device_map": {"": "disk"}, "offload_buffers": True}])
def test_a_checkpoint_with_strengths_that_cannot_be_does_not_load(
    tmp_path: Path, change: Any, message: str, place: Any
) -> None:
    fitted(FAMILIES["llama"]).save_pretrained(tmp_path)
    change_tensors(tmp_path / "model.safetensors", change)
    if place.get("offload_buffers"):
        place = {**place, "offload_folder": tmp_path / "scratch"}
    with pytest.raises(ValueError, match=message):
        AutoModelForCausalLM.from_pretrained(tmp_path, **place)


def test_a_checkpoint_of_the_paper_s_rule_has_none(family: Any, tmp_path: Path) -> None:
    tiny_steered(family).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"fitted: True, but the checkpoint has no 'model\.layers\.2\.mlp\.scale\.fit"):
        AutoModelForCausalLM.from_pretrained(tmp_path, fitted=True)


def test_a_configuration_from_before_there_were_fitted_strengths(family: Any, tokens: Tensor, tmp_path: Path) -> None:
    model = tiny_steered(family)
    model.save_pretrained(tmp_path)
    rewrite_json(tmp_path / "config.json", lambda config: config.pop("fitted"))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.steering == model.steering
    assert type(loaded.model.layers[2].mlp.scale) is ScaleInLayer
    assert torch.equal(logits(loaded, tokens), logits(model, tokens))


# ---- with the carried code


LOAD = """
import sys, torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code=True, dtype=sys.argv[3]).eval()
with torch.inference_mode():
    logits = model(torch.arange(36).view(4, 9), language=["en", "de", "en-US", "fr"]).logits
model.set_steering(alpha=0.5)
model.save_pretrained(sys.argv[2])
save_file({"logits": logits}, sys.argv[2] + "/logits")
print(type(model).__module__)
"""


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_without_the_package(family: Any, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, dtype: str) -> None:
    """The carried code alone gives the same bits, and saves the same table."""
    fitted(family).save_pretrained(tmp_path / "saved")
    bare = make_bare_environment(tmp_path_factory.mktemp("bare"))
    ended = bare.run(LOAD, tmp_path / "saved", tmp_path / "again", dtype)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.startswith("transformers_modules.")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype=getattr(torch, dtype))
    found = load_file(tmp_path / "again" / "logits")["logits"]
    assert torch.equal(found, logits(model, torch.arange(36).view(4, 9)))
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    assert_same_tables(again.fitted_strengths)
    assert_scales_are_exact(again, alpha=0.5)
    assert json.loads((tmp_path / "again/config.json").read_text())["fitted"] is True
