"""Negative log-likelihoods: those of each text alone, with a bounded number of logits at a time."""

from typing import Any

import pytest
import torch
from conftest import tiny_plain, tiny_steered

from eval.engine.batches import plan_batches
from eval.engine.perplexity import negative_log_likelihood
from eval.engine.token_nats import LOGITS_BYTES

from .support import CONDITIONS, mixed_prompts, one_by_one, random_tokens, strengths


def sums(model: Any, rows: list[list[int]], language: str, batch_size: int) -> list[float]:
    found: dict[int, float] = {}
    for batch, (nats,), counts in negative_log_likelihood(model, rows, language, batch_size=batch_size):
        assert counts == [len(rows[index]) - 1 for index in batch]
        found.update(zip(batch, nats, strict=True))
    return [found[index] for index in range(len(rows))]


def alone(model: Any, row: list[int], language: str) -> float:
    log_p = one_by_one(model, row, language)[:-1].float().log_softmax(-1)
    return -float(log_p.double().gather(1, torch.tensor(row[1:])[:, None]).sum())


@pytest.mark.parametrize("steered", [True, False])
def test_sums_are_those_of_each_text_alone(family: Any, steered: bool) -> None:
    model = (tiny_steered if steered else tiny_plain)(family).double()
    rows = mixed_prompts()
    expected = [alone(model, row, "de") for row in rows]
    for batch_size in (1, 3, 8):
        assert sums(model, rows, "de", batch_size) == pytest.approx(expected, rel=1e-6)


def test_a_text_of_one_token_says_nothing(family: Any) -> None:
    assert list(negative_log_likelihood(tiny_steered(family), [[5]], "de")) == [([0], [[0.0]], [0])]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_anchor_is_the_plain_model_to_the_last_digit(family: Any, dtype: torch.dtype) -> None:
    steered, plain = tiny_steered(family).to(dtype), tiny_plain(family).to(dtype)
    rows = mixed_prompts()
    assert sums(steered, rows, "en", 8) == sums(plain, rows, "en", 8)
    assert sums(steered, rows, "de", 8) != sums(plain, rows, "de", 8)


def test_logits_of_a_large_vocabulary_come_in_parts(family: Any) -> None:
    model = tiny_plain(family, vocab_size=60_000)
    largest = [0]
    model.lm_head.register_forward_hook(lambda _, __, out: largest.append(max(largest[-1], out.numel() * 4)))
    rows = [random_tokens(70, 0), random_tokens(60, 1)]
    nats = sums(model, rows, "de", 2)
    assert len(largest) > 2
    assert 3 * largest[-1] <= LOGITS_BYTES
    assert nats == pytest.approx([alone(model, row, "de") for row in rows], rel=1e-5)


def test_a_continued_run_gives_what_the_whole_one_gave(family: Any) -> None:
    model, rows = tiny_steered(family), mixed_prompts()
    whole = list(negative_log_likelihood(model, rows, "de", batch_size=4))
    assert [batch for batch, _, _ in whole] == plan_batches(rows, 4)
    assert list(negative_log_likelihood(model, rows, "de", batch_size=4, skip_batches=3)) == whole[3:]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_conditions_together_are_each_alone_bit_for_bit(family: Any, language: str) -> None:
    model = tiny_steered(family)
    rows, before = mixed_prompts(), strengths(model)
    grid = list(negative_log_likelihood(model, rows, language, CONDITIONS, batch_size=8))
    assert strengths(model) == before
    for place, condition in enumerate(CONDITIONS):
        with model.temporary_steering(**condition):
            alone = list(negative_log_likelihood(model, rows, language, batch_size=8))
        assert [(batch, [sums[place]], counts) for batch, sums, counts in grid] == alone
    distinct = {repr([sums[place] for _, sums, _ in grid]) for place in range(len(CONDITIONS))}
    assert (len(distinct) == 1) == (language == "en")


def test_lower_layers_run_once_for_all_conditions(family: Any) -> None:
    model, rows = tiny_steered(family), mixed_prompts()
    runs = [0] * len(model.model.layers)

    def count(layer: int) -> Any:
        def add(*_: Any) -> None:
            runs[layer] += 1

        return add

    for index, layer in enumerate(model.model.layers):
        layer.register_forward_hook(count(index))
    conditions = [{"alpha": alpha} for alpha in (0.0, 1.0, -2.0, 3.0)]
    list(negative_log_likelihood(model, rows, "de", conditions, batch_size=8))
    packs = runs[0]
    assert packs >= len(plan_batches(rows, 8))
    first = model.config.bridge_layers[0]
    assert runs == [packs] * first + [len(conditions) * packs] * (len(runs) - first)
