"""What the other tests see on a processor, seen on a GPU: the anchor's bits, mixed batches, generation, compilation,
profiles.  Skipped where there is none.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import byte_tokenizer, tiny_plain, tiny_steered
from detector_helpers import CHINESE, GERMAN, rows, with_detector
from torch import Tensor

from clas_models.modeling.write import Write
from clas_models.profiling.corpora import ParallelCorpus
from clas_models.profiling.neuron_profile import NeuronProfile
from clas_models.profiling.profiler import profile_neurons

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.slow,
]
MIXED = ["en", "de", "zh", "fr"]
TOKENS = torch.randint(0, 256, (4, 9), generator=torch.Generator().manual_seed(7))
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)


def logits(model: Any, tokens: Tensor = TOKENS, **options: Any) -> Tensor:
    with torch.no_grad():
        return model(tokens.to(model.device), **options).logits


def assert_close(found: Tensor, expected: Tensor) -> None:
    """As close as the angles of rotary embeddings, which are float32 in every model, come out on the two."""
    torch.testing.assert_close(found.cpu(), expected, rtol=2e-3, atol=1e-3)


def on_gpu(model: Any, dtype: torch.dtype) -> Any:
    return model.to("cuda", dtype)


@DTYPES
def test_the_anchor_keeps_the_bits_of_the_plain_model(family: Any, dtype: torch.dtype) -> None:
    plain, steered = on_gpu(tiny_plain(family), dtype), on_gpu(tiny_steered(family), dtype)
    expected, mixed = logits(plain), logits(steered, language=MIXED)
    assert torch.equal(logits(steered, language="en"), expected)
    assert torch.equal(mixed[0], expected[0])
    assert not torch.equal(mixed[1], expected[1])
    steered.set_steering(alpha=0)
    assert torch.equal(logits(steered, language=MIXED), expected)


def test_a_row_of_a_mixed_batch_is_what_it_is_on_a_processor(family: Any) -> None:
    options = {"vector_layers": [1, 4], "vector_positions": "all"}
    models = [tiny_steered(family, **options).double() for _ in range(2)]
    for model in models:
        for layer in (1, 4):
            model.model.layers[layer].add.vectors[1:] = 0.5
    here, there = models[0], models[1].to("cuda")

    def check() -> None:
        assert_close(logits(there, language=MIXED), logits(here, language=MIXED))

    check()
    with there.temporary_steering(alpha=-3, vector_strength=2), here.temporary_steering(alpha=-3, vector_strength=2):
        check()
    masks = torch.zeros(4, 6, 48, dtype=torch.bool)
    masks[1:, :, ::5] = True
    write = Write(masks, torch.ones(4, 6, 48))
    with there.intervening(write), here.intervening(write):
        check()
    assert there.steering == here.steering


@pytest.mark.parametrize("beams", [1, 3])
def test_generation_and_detection(family: Any, beams: int) -> None:
    here = with_detector(family).double()
    there = with_detector(family).double().to("cuda")
    prompts = rows([GERMAN] * 6, [CHINESE] * 6, list(range(100, 106)), list(range(30, 36)))[0]
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "num_beams": beams}
    for language in ("auto", MIXED):
        found = there.generate(prompts.to("cuda"), language=language, **options)
        assert torch.equal(found.cpu(), here.generate(prompts, language=language, **options))
    for found, expected in zip(there.detect_language(prompts.to("cuda")), here.detect_language(prompts), strict=True):
        assert (found.code, found.language_id) == (expected.code, expected.language_id)
        assert found.confidences == pytest.approx(expected.confidences, abs=1e-6)


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_into_one_graph(family: Any, mode: str) -> None:
    torch._dynamo.reset()
    steered = tiny_steered(family).to("cuda")
    compiled = torch.compile(steered, fullgraph=True, mode=mode)
    ids = torch.tensor([0, 1, 2, 4], device="cuda")
    for alpha in (1.0, -3.0, 0.0):  # a graph that was captured follows what is set
        steered.set_steering(alpha=alpha)
        for _ in range(3):
            with torch.no_grad():
                found = compiled(TOKENS.to("cuda"), language=ids).logits.clone()
        torch.testing.assert_close(found, logits(steered, language=ids), rtol=1e-4, atol=1e-4)
    torch._dynamo.reset()


def test_a_profile_is_that_of_a_processor(family: Any) -> None:
    texts = [{"en": f"Row {row} is {row} years old.", "de": f"Zeile {row} ist {row} Jahre alt."} for row in range(12)]
    corpus = ParallelCorpus("small", ("en", "de"), texts)

    def profile(device: str) -> NeuronProfile:
        model = tiny_plain(family).double().to(device)
        return profile_neurons(model, byte_tokenizer(), corpus, batch_size=4)

    here, there = profile("cpu"), profile("cuda")
    assert torch.equal(here.tokens, there.tokens)
    assert torch.equal(here.positive, there.positive)
    assert_close(there.sum, here.sum)
    assert_close(there.sum_sq, here.sum_sq)
