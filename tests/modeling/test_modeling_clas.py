"""The rule inside a model: exactness against the plain model, languages of rows, and changing strengths."""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
from conftest import STEERING, tiny_plain, tiny_steered
from modeling_helpers import (
    MIXED,
    assert_anchor_rows_are_plain,
    bridge_mlps,
)
from torch import Tensor

from clas_models.modeling.layers_clas import ClasDecoderLayerMixin, ClasMLPMixin

HALF = [torch.bfloat16, torch.float16]
DTYPES = [torch.float32, *HALF]


@pytest.fixture(autouse=True)
def no_gradients() -> Any:
    with torch.inference_mode():
        yield


def padding_mask(tokens: Tensor, side: str) -> Tensor:
    """Row `r` has `r` positions of padding on that side."""
    mask = torch.ones_like(tokens)
    for row in range(len(tokens)):
        mask[row, :row] = 0
    return mask if side == "left" else mask.flip(1)


# ---- exactness


@pytest.mark.parametrize("alpha", [1.0, -1.0, 2.5, -0.3])
def test_a_bridge_mlp_equals_the_papers_three_steps(family: Any, alpha: float) -> None:
    mlp = bridge_mlps(tiny_steered(family, alpha=alpha).double())[0]
    x = torch.randn(2, 5, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    shared, specific = mlp.scale.shared_mask.double(), mlp.scale.specific_mask.double()

    h = mlp.act_fn(mlp.gate_proj(x)) * mlp.up_proj(x)
    h1 = h * (1 + STEERING["beta"] * shared)
    h2 = h1 * (1 - STEERING["gamma"] * specific)
    h_final = (1 - alpha) * h + alpha * h2

    anchor, german = mlp(x, torch.tensor([0, 1]))
    torch.testing.assert_close(german, mlp.down_proj(h_final)[1], rtol=0, atol=1e-12)
    assert torch.equal(anchor, mlp.down_proj(h)[0])
    assert not torch.allclose(german, mlp.down_proj(h)[1])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_anchor_rows_of_a_mixed_batch_keep_every_bit(
    family: Any, dtype: torch.dtype, attention: str, tokens: Tensor
) -> None:
    plain, steered = (make(family).to(dtype) for make in (tiny_plain, tiny_steered))
    for model in (plain, steered):
        model.set_attn_implementation(attention)
        assert model.config._attn_implementation == attention

    assert_anchor_rows_are_plain(steered(tokens, language=MIXED).logits, plain(tokens).logits)
    assert torch.equal(steered(tokens, language="en").logits, plain(tokens).logits)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_alpha_zero_keeps_every_bit(family: Any, dtype: torch.dtype, attention: str, tokens: Tensor) -> None:
    plain, steered = tiny_plain(family).to(dtype), tiny_steered(family, alpha=0).to(dtype)
    plain.set_attn_implementation(attention)
    steered.set_attn_implementation(attention)

    assert torch.equal(steered(tokens, language="de").logits, plain(tokens).logits)
    assert torch.equal(steered(tokens, language=MIXED).logits, plain(tokens).logits)


@pytest.mark.parametrize("side", ["left", "right"])
def test_anchor_rows_keep_every_bit_under_padding(family: Any, side: str, tokens: Tensor) -> None:
    plain, steered = tiny_plain(family), tiny_steered(family)
    mask = padding_mask(tokens, side)
    assert_anchor_rows_are_plain(
        steered(tokens, attention_mask=mask, language=MIXED).logits, plain(tokens, attention_mask=mask).logits
    )


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_anchor_rows_keep_every_bit_at_every_decoding_step(
    family: Any, dtype: torch.dtype, attention: str, tokens: Tensor
) -> None:
    plain, unsteered = tiny_plain(family).to(dtype), tiny_steered(family, alpha=0).to(dtype)
    mixed = tiny_steered(family).to(dtype)
    models = {"plain": (plain, {}), "mixed": (mixed, {"language": MIXED}), "alpha 0": (unsteered, {"language": "de"})}
    for model, _ in models.values():
        model.set_attn_implementation(attention)

    fed, caches = tokens, dict.fromkeys(models)
    for _ in range(5):
        logits = {}
        for name, (model, language) in models.items():
            output = model(fed, past_key_values=caches[name], use_cache=True, **language)
            logits[name], caches[name] = output.logits, output.past_key_values
        assert torch.equal(logits["alpha 0"], logits["plain"])
        assert_anchor_rows_are_plain(logits["mixed"], logits["plain"])
        fed = logits["plain"][:, -1:].argmax(-1)


def test_negative_alpha_steers_the_other_way(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family).double()
    x = torch.randn(4, 9, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    mlp = bridge_mlps(steered)[0]
    german = torch.ones(4, dtype=torch.long)

    shifts = []
    for alpha in (0.0, 2.0, -2.0):
        steered.set_steering(alpha=alpha)
        shifts.append(mlp(x, german))
    torch.testing.assert_close(shifts[1] - shifts[0], shifts[0] - shifts[2], rtol=0, atol=1e-12)


# ---- what `language` may be


def test_a_mixed_batch_gives_each_row_what_it_gets_alone(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family).double()
    mixed = steered(tokens, language=["en", "de", "zh", "fr"]).logits
    for row, language in enumerate(["en", "de", "zh", "fr"]):
        alone = steered(tokens[row : row + 1], language=language).logits
        torch.testing.assert_close(mixed[row : row + 1], alone, rtol=0, atol=1e-10)


def test_codes_and_ids_say_the_same(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family)
    by_code = steered(tokens, language=["en", "de", "zh", "fr"]).logits
    for language in (("en", "de", "zh", "fr"), torch.tensor([0, 1, 2, 4]), torch.tensor([0, 1, 2, 4]).int()):
        assert torch.equal(steered(tokens, language=language).logits, by_code)
    assert torch.equal(steered(tokens, language="de").logits, steered(tokens, language=["de"] * 4).logits)


def test_each_language_has_its_own_strength(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family)
    results = {code: steered(tokens, language=code).logits for code in ("en", "de", "zh", "hi", "fr")}
    steered.set_steering(alpha=1.0)
    assert torch.equal(results["hi"], steered(tokens, language="hi").logits)
    assert torch.equal(results["fr"], steered(tokens, language="de").logits)
    assert torch.equal(results["en"], steered(tokens, language="en").logits)
    steered.set_steering(alpha=-2.0)
    assert torch.equal(results["de"], steered(tokens, language="hi").logits)


def test_no_language_is_an_unnamed_one_that_is_steered(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family)
    assert torch.equal(steered(tokens).logits, steered(tokens, language="fr").logits)
    assert not torch.equal(steered(tokens).logits, steered(tokens, language="en").logits)


def test_the_configuration_names_the_default(family: Any, tokens: Tensor) -> None:
    german = tiny_steered(family, language="de")
    explicit = tiny_steered(family)
    assert torch.equal(german(tokens).logits, explicit(tokens, language="de").logits)
    assert torch.equal(german(tokens, language="zh").logits, explicit(tokens, language="zh").logits)


@pytest.mark.parametrize("written", ["en", "EN", "en-US", "en_gb"])
def test_ways_to_write_the_anchor(family: Any, written: str, tokens: Tensor) -> None:
    plain, steered = tiny_plain(family), tiny_steered(family)
    assert torch.equal(steered(tokens, language=written).logits, plain(tokens).logits)


def test_the_anchor_may_be_any_language(family: Any, tokens: Tensor) -> None:
    plain, steered = tiny_plain(family), tiny_steered(family, anchor_language="de", alpha=1.0)
    assert torch.equal(steered(tokens, language="de").logits, plain(tokens).logits)
    assert not torch.equal(steered(tokens, language="en").logits, plain(tokens).logits)


@pytest.mark.parametrize(
    ("language", "error", "words"),
    [
        (5, TypeError, ["language:", "5", "int", "a list of codes", "a LongTensor of ids"]),
        ({"de": 1}, TypeError, ["language:", "{'de': 1}", "dict", "a list of codes"]),
        (["de", "en", 3, "en"], TypeError, ["language[2]:", "3", 'a code such as "de"']),
        ("deutsch!", ValueError, ["language:", "'deutsch!'", "ISO 639"]),
        (["de", "en"], ValueError, ["language:", "2 entries", "4 rows", "one a row"]),
        (torch.tensor([0, 1]), ValueError, ["language:", "2 entries", "4 rows", "one a row"]),
        (torch.tensor([0, 1, 5, 2]), ValueError, ["language:", "ids from 0 to 5", "0 to 4"]),
        (torch.tensor([0, 1, -1, 2]), ValueError, ["language:", "ids from -1 to 2", "0 to 4"]),
        (torch.tensor([[0, 1, 2, 3]]), ValueError, ["language:", "[1, 4]", "[batch]"]),
        (torch.tensor([0.0, 1.0, 2.0, 3.0]), TypeError, ["language:", "torch.float32", "torch.int64"]),
    ],
    ids=str,
)
def test_languages_that_are_not_allowed(
    family: Any, language: Any, error: type[Exception], words: list[str], tokens: Tensor
) -> None:
    steered = tiny_steered(family)
    for call in (steered, steered.model, partial(steered.generate, max_new_tokens=1)):
        with pytest.raises(error) as caught:
            call(tokens, language=language)
        assert all(word in str(caught.value) for word in words), str(caught.value)


def test_what_the_base_class_says_about_missing_inputs(family: Any) -> None:
    with pytest.raises(ValueError, match="exactly one of input_ids or inputs_embeds"):
        tiny_steered(family)(language="de")


# ---- structure


def test_every_layer_is_of_the_family_and_bridge_layers_have_a_rule(family: Any) -> None:
    plain, steered = tiny_plain(family), tiny_steered(family)
    for index, (base, layer) in enumerate(zip(plain.model.layers, steered.model.layers, strict=True)):
        assert isinstance(layer, ClasDecoderLayerMixin)
        assert isinstance(layer, type(base))
        assert isinstance(layer.mlp, ClasMLPMixin)
        assert isinstance(layer.mlp, type(base.mlp))
        assert type(layer.mlp).__name__ == f"Clas{type(base.mlp).__name__}"
        assert type(layer.self_attn) is type(base.self_attn)
        assert (layer.mlp.scale is not None) is (index in STEERING["bridge_layers"])
        assert layer.mlp.write is layer.add is None


def test_without_bridge_layers_nothing_is_steered(family: Any, tokens: Tensor) -> None:
    plain, unsteered = tiny_plain(family), tiny_steered(family, bridge_layers=[])
    assert torch.equal(unsteered(tokens, language="de").logits, plain(tokens).logits)
    assert list(unsteered.state_dict()) == list(plain.state_dict())


def test_masks_are_boolean_buffers_beside_the_plain_weights(family: Any) -> None:
    plain, steered = tiny_plain(family), tiny_steered(family)
    added = [key for key in steered.state_dict() if key not in plain.state_dict()]
    assert added == [f"model.layers.{i}.mlp.scale.{mask}" for i in (2, 3) for mask in ("shared_mask", "specific_mask")]
    assert all(steered.state_dict()[key].dtype == torch.bool for key in added)
    assert all(steered.state_dict()[key].shape == (steered.config.intermediate_size,) for key in added)
    assert [name for name, _ in steered.named_parameters()] == [name for name, _ in plain.named_parameters()]


def test_a_new_model_has_empty_masks(family: Any, tokens: Tensor) -> None:
    model = family.causal_lm(tiny_steered(family).config)
    assert not any(mlp.scale.shared_mask.any() or mlp.scale.specific_mask.any() for mlp in bridge_mlps(model))


# ---- inside the layers


def test_hidden_states_are_plain_up_to_the_first_bridge_layer(family: Any, tokens: Tensor) -> None:
    plain = tiny_plain(family)(tokens, output_hidden_states=True).hidden_states
    steered = tiny_steered(family)(tokens, language=MIXED, output_hidden_states=True).hidden_states

    first = min(STEERING["bridge_layers"])
    assert len(steered) == len(plain) == 7
    for layer in range(first + 1):
        assert torch.equal(steered[layer], plain[layer])
    for layer in range(first + 1, len(plain)):
        assert_anchor_rows_are_plain(steered[layer], plain[layer])


def test_attentions_are_plain_up_to_the_first_bridge_layer(family: Any, tokens: Tensor) -> None:
    models = tiny_plain(family), tiny_steered(family)
    for model in models:
        model.set_attn_implementation("eager")
    plain = models[0](tokens, output_attentions=True).attentions
    steered = models[1](tokens, language=MIXED, output_attentions=True).attentions

    first = min(STEERING["bridge_layers"])
    assert len(steered) == len(plain) == 6
    for layer in range(first + 1):
        assert torch.equal(steered[layer], plain[layer])
    for layer in range(first + 1, len(plain)):
        assert_anchor_rows_are_plain(steered[layer], plain[layer])


def test_embeddings_go_in_like_ids(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family)
    embeddings = steered.get_input_embeddings()(tokens)
    by_ids = steered(tokens, language=MIXED).logits
    assert torch.equal(steered(inputs_embeds=embeddings, language=MIXED).logits, by_ids)


def test_a_tuple_and_the_last_logits_on_request(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family)
    whole = steered(tokens, language=MIXED).logits
    assert torch.equal(steered(tokens, language=MIXED, return_dict=False)[0], whole)
    torch.testing.assert_close(steered(tokens, language=MIXED, logits_to_keep=1).logits, whole[:, -1:])


# ---- strengths on a loaded model


def set_steering(model: Any, **values: Any) -> None:
    model.set_steering(**values)


def steer_for_a_block(model: Any, **values: Any) -> None:
    with model.temporary_steering(**values):
        pytest.fail("the block must not run")


def test_set_steering_is_building_anew_with_these_strengths(family: Any, tokens: Tensor) -> None:
    changed = tiny_steered(family)
    changed.set_steering(alpha={"de": 0.5, "default": -1.5}, beta=0.9, gamma=-0.1)
    built = tiny_steered(family, alpha={"de": 0.5, "default": -1.5}, beta=0.9, gamma=-0.1)
    assert torch.equal(changed(tokens, language=MIXED).logits, built(tokens, language=MIXED).logits)
    assert changed.steering == built.steering
    assert changed.config.to_dict() == built.config.to_dict()


@pytest.mark.parametrize("change", [{"alpha": -1.0}, {"beta": 1.4}, {"gamma": 0.9}], ids=str)
def test_what_is_not_given_stays(family: Any, change: dict[str, float], tokens: Tensor) -> None:
    changed = tiny_steered(family)
    before = changed(tokens, language="de").logits
    changed.set_steering(**change)
    assert torch.equal(changed(tokens, language="de").logits, tiny_steered(family, **change)(tokens, language="de")[0])
    assert not torch.equal(changed(tokens, language="de").logits, before)


def test_strengths_are_set_for_all_parts_of_a_model(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family)
    steered.model.set_steering(alpha=0)
    assert torch.equal(steered(tokens, language="de").logits, tiny_plain(family)(tokens).logits)
    assert steered.steering == steered.model.steering


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"alpha": "x"}, TypeError, "alpha: 'x' is of type str; allowed is a number or a mapping"),
        ({"alpha": {"fr": 1}}, ValueError, "alpha: 'fr' is not among the languages en, de, zh, hi"),
        ({"alpha": {"en": 1, "default": 1}}, ValueError, "alpha: the anchor language 'en' is never steered"),
        ({"alpha": 1, "beta": float("inf")}, ValueError, "beta: inf is not finite; allowed is a finite number"),
        ({"alpha": -3, "beta": 0.1, "gamma": "y"}, TypeError, "gamma: 'y' is of type str; allowed is a finite number"),
    ],
)
@pytest.mark.parametrize("change", [set_steering, steer_for_a_block])
def test_rejected_strengths_leave_everything_as_it_was(
    family: Any,
    change: Callable[..., None],
    values: dict[str, Any],
    error: type[Exception],
    message: str,
    tokens: Tensor,
) -> None:
    steered = tiny_steered(family)
    logits, steering, config = steered(tokens, language=MIXED).logits, steered.steering, steered.config.to_dict()

    with pytest.raises(error) as caught:
        change(steered, **values)

    assert message in str(caught.value)
    assert (steered.steering, steered.config.to_dict()) == (steering, config)
    assert torch.equal(steered(tokens, language=MIXED).logits, logits)


def test_temporary_steering_comes_to_an_end(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family)
    before, config = steered(tokens, language="de").logits, steered.config.to_dict()
    with steered.temporary_steering(alpha=0):
        assert torch.equal(steered(tokens, language="de").logits, tiny_plain(family)(tokens).logits)
        with steered.temporary_steering(alpha={"default": 3.0}, beta=1, gamma=1):
            assert steered.steering.alpha["de"] == 3
        assert (steered.steering.alpha["de"], steered.steering.beta) == (0, STEERING["beta"])
    assert torch.equal(steered(tokens, language="de").logits, before)
    assert steered.config.to_dict() == config


def test_temporary_steering_comes_to_an_end_after_an_exception(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family)
    before, config = steered(tokens, language="de").logits, steered.config.to_dict()
    with pytest.raises(KeyboardInterrupt), steered.temporary_steering(alpha=5, gamma=3):
        raise KeyboardInterrupt
    assert torch.equal(steered(tokens, language="de").logits, before)
    assert steered.config.to_dict() == config


def test_steering_tells_what_is_in_force(family: Any) -> None:
    steered = tiny_steered(family, language="hi")
    neurons = {
        index: (int(mlp.scale.shared_mask.sum()), int(mlp.scale.specific_mask.sum()))
        for index, mlp in zip((2, 3), bridge_mlps(steered), strict=True)
    }

    steering = steered.steering
    assert steering.languages == ("en", "de", "zh", "hi")
    assert (steering.anchor_language, steering.language) == ("en", "hi")
    assert steering.alpha == {"en": 0.0, "de": -2.0, "zh": 1.5, "hi": 1.0, "default": 1.0}
    assert (steering.beta, steering.gamma) == (0.4, 0.2)
    assert steering.bridge_layers == (2, 3)
    assert (steering.neurons, steering.intermediate_size) == (neurons, 48)
    assert min(min(counts) for counts in neurons.values()) > 0

    (shared2, specific2), (shared3, specific3) = neurons.values()
    assert str(steering) == (
        "alpha en 0, de -2, zh 1.5, hi 1, default 1; beta 0.4; gamma 0.2; default language hi; of 48 neurons "
        f"layer 2: {shared2} shared, {specific2} specific, layer 3: {shared3} shared, {specific3} specific"
    )


def test_steering_without_bridge_layers(family: Any) -> None:
    steering = tiny_steered(family, bridge_layers=[], alpha=2.0).steering
    assert (steering.bridge_layers, steering.alpha["de"]) == ((), 2.0)
    assert str(steering).endswith("of 48 neurons none (no bridge layers)")


def test_steering_tells_what_acts_not_what_was_written_into_the_configuration(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family)
    before, steering = steered(tokens, language="de").logits, steered.steering
    steered.config.beta = 0.9
    assert torch.equal(steered(tokens, language="de").logits, before)
    assert steered.steering == steering


# ---- strengths under changes of dtype, copies and threads


def strengths_in(model: Any) -> list[list[list[float]]]:
    return [mlp.scale.row_scales.tolist() for mlp in bridge_mlps(model)]


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_strengths_survive_a_half_precision_format(family: Any, dtype: torch.dtype) -> None:
    steered = tiny_steered(family, alpha=1 / 3, beta=0.1, gamma=0.7)
    before = strengths_in(steered)
    steered.to(dtype)
    assert all(
        mlp.scale.shared_mask.dtype == mlp.scale.specific_mask.dtype == torch.bool for mlp in bridge_mlps(steered)
    )
    assert strengths_in(steered) == before
    assert strengths_in(steered.to(torch.float32)) == before


def test_strengths_are_exact_in_float64(family: Any) -> None:
    exact = tiny_steered(family).config.scale_rule.strengths.scales().tolist()
    for model in (tiny_steered(family).double(), tiny_steered(family).bfloat16().double()):
        assert strengths_in(model) == [exact, exact]
        model.set_steering(alpha=1 / 3)
        assert strengths_in(model) == [model.config.scale_rule.strengths.scales().tolist()] * 2


def test_strengths_that_were_changed_survive_a_change_of_dtype(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family)
    steered.set_steering(alpha=-1 / 3)
    assert strengths_in(steered.half().float()) == strengths_in(tiny_steered(family, alpha=-1 / 3))


def test_a_copy_is_steered_on_its_own(family: Any, tokens: Tensor) -> None:
    original = tiny_steered(family)
    before = original(tokens, language=MIXED).logits
    copy = deepcopy(original)
    assert torch.equal(copy(tokens, language=MIXED).logits, before)

    copy.set_steering(alpha=0)
    bridge_mlps(copy)[0].scale.shared_mask.zero_()
    assert torch.equal(original(tokens, language=MIXED).logits, before)
    assert original.steering == tiny_steered(family).steering


def test_threads_with_different_languages_do_not_meet(family: Any, tokens: Tensor) -> None:
    steered = tiny_steered(family)
    languages = ["en", "de", "zh", MIXED]
    alone = [steered(tokens, language=language).logits for language in languages]
    barrier = threading.Barrier(len(languages))
    wrong: list[Any] = []

    def ask(language: Any, expected: Tensor) -> None:
        barrier.wait()
        with torch.inference_mode():
            same = [torch.equal(steered(tokens, language=language).logits, expected) for _ in range(15)]
        if not all(same):
            wrong.append(language)

    threads = [threading.Thread(target=ask, args=pair) for pair in zip(languages, alone, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
