"""Stock vLLM adds the vectors of steered checkpoints on the tokens that transformers adds them to: the same greedy
tokens, whatever a batch does with its requests.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_plain, tiny_steered
from conversion.support import change_tensors
from test_vllm import HEADS, LANGUAGES, expected, requests, saved, vllm  # noqa: F401
from vllm_environment import PER_REQUEST, Vllm, VllmError, _environment  # noqa: F401

from clas_models import FAMILIES
from clas_models.modeling.positions import POSITIONS

pytestmark = pytest.mark.slow

LAYERS = [0, 2, 5]  # the first, one without masks, the last


def with_vectors(folder: Path, family: Any = FAMILIES["llama"], **settings: Any) -> Any:
    """A tiny steered model with masks and vectors, loaded in transformers; `model.folder` is its checkpoint."""
    model = tiny_steered(family, **HEADS, **{"vector_layers": LAYERS, "vector_strength": 1.0, **settings})
    noise = torch.Generator().manual_seed(3)
    for layer in model.config.vector_layers:
        vectors = model.model.layers[layer].add.vectors
        vectors[1:] = torch.randn(vectors[1:].shape, generator=noise)
    return saved(model, folder)


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_batch_of_mixed_languages(vllm: Vllm, tmp_path: Path, positions: str) -> None:  # noqa: F811
    model = with_vectors(tmp_path, vector_positions=positions)
    # 32 tokens a step: prompts are cut, and steps hold parts of prompts beside single tokens of other requests.
    batch = requests(LANGUAGES * 4)
    answer = vllm.run(model.folder, batch, **PER_REQUEST, max_num_batched_tokens=32, max_num_seqs=5)
    assert answer["tokens"] == [expected(model, batch)]
    for other in {*POSITIONS} - {positions}:
        assert expected(model, batch, positions=other) != expected(model, batch)


def test_every_family(vllm: Vllm, family: Any, tmp_path: Path) -> None:  # noqa: F811
    model = with_vectors(tmp_path, family, vector_positions="generated", bridge_layers=[])
    batch = requests(LANGUAGES * 2)
    answer = vllm.run(model.folder, batch, **PER_REQUEST)
    assert answer["tokens"] == [expected(model, batch)]
    model.set_steering(vector_strength=0)
    assert answer["tokens"] != [expected(model, batch)]


@pytest.mark.parametrize("positions", ["last", "generated"])
def test_interrupted_requests_keep_the_end_of_their_prompt(
    vllm: Vllm,  # noqa: F811
    tmp_path: Path,
    positions: str,
) -> None:
    model = with_vectors(tmp_path, vector_positions=positions)
    batch = requests(["de", "en", "hi", "zh"] * 3, seed=1, longest=60)
    # Room for 6 blocks of 32 tokens: requests that run together outgrow it.
    answer = vllm.run(
        model.folder, batch, **PER_REQUEST, block_size=32, num_gpu_blocks_override=7, max_model_len=96, max_num_seqs=4
    )
    assert answer["preemptions"] > 0
    assert answer["tokens"] == [expected(model, batch)]


def test_one_language_and_other_strengths_for_the_engine(vllm: Vllm, tmp_path: Path) -> None:  # noqa: F811
    model = with_vectors(tmp_path, vector_positions="last")
    strength = {"de": -2.0, "default": 0.5}
    overrides = {"language": "de", "vector_strength": strength, "vector_positions": "all", "vector_layers": [2]}
    batch = requests([None] * 4)
    # The same prompts again: their keys and values come from the prefix cache.
    answer = vllm.run(model.folder, batch, batch, hf_overrides=overrides)
    fewer = type(model).from_pretrained(
        model.folder, vector_layers=[2], vector_positions="all", vector_strength=strength
    )
    steered = expected(fewer, batch, language="de")
    assert answer["tokens"] == [steered, steered]
    assert steered != expected(model, batch, language="de", positions="all")


def test_english_is_the_plain_model(vllm: Vllm, tmp_path: Path) -> None:  # noqa: F811
    model = with_vectors(tmp_path / "steered")
    plain = saved(tiny_plain(FAMILIES["llama"], **HEADS), tmp_path / "plain")
    batch = requests([None] * 8)
    english = vllm.run(model.folder, batch, **PER_REQUEST, hf_overrides={"language": "en"})
    assert english["tokens"] == vllm.run(plain.folder, batch)["tokens"]


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ({}, "vector_positions: 'last' depends on where the prompt of each request ends; add --no-enable-prefix"),
        ({"hf_overrides": {"vector_positions": "some"}}, "vector_positions: 'some'"),
        (
            {"hf_overrides": {"vector_positions": "all", "vector_layers": [1]}},
            "vector_layers: [1], but the checkpoint has no 'model.layers.1.add.vectors'",
        ),
        ({**PER_REQUEST, "enable_prompt_embeds": True}, "RequestLanguages: vector_positions is 'last', and vLLM does"),
    ],
)
def test_an_engine_that_cannot_add_does_not_start(
    vllm: Vllm,  # noqa: F811
    tmp_path: Path,
    engine: dict[str, Any],
    message: str,
) -> None:
    model = with_vectors(tmp_path, vector_positions="last")
    with pytest.raises(VllmError, match=re.escape(message)) as refusal:
        vllm.run(model.folder, requests([None]), **engine)
    assert "\n" not in str(refusal.value)


def test_an_engine_that_would_move_the_anchor_does_not_start(vllm: Vllm, tmp_path: Path) -> None:  # noqa: F811
    model = with_vectors(tmp_path, vector_positions="all")
    change_tensors(model.folder / "model.safetensors", lambda tensors: tensors["model.layers.2.add.vectors"].fill_(1))
    with pytest.raises(VllmError, match="layer 2: the vector of the anchor en is not 0"):
        vllm.run(model.folder, requests([None]))


def test_two_ranks_add_whole_vectors(tmp_path: Path) -> None:
    model = with_vectors(tmp_path, vector_positions="generated")
    batch = requests(LANGUAGES)
    with Vllm(tmp_path / "log", workers=2) as vllm:  # noqa: F811
        assert vllm.run(model.folder, batch, **PER_REQUEST)["tokens"] == [expected(model, batch)]
