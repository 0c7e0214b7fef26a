"""Fixtures that several folders share: tiny models built on the spot, a tiny tokenizer, and where real things lie.

Real models are fetched once into the user's cache; real data sets are optional and live beside the checkout.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from clas_models import FAMILIES

# A test never asks the Hub for anything; those that need one bring their own server.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ALL_THREADS = torch.get_num_threads()
DATA = Path(__file__).parents[2] / "shared" / "data"
TINY = {
    "vocab_size": 260,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,  # wide enough that steering changes the argmax
    "pad_token_id": 256,
    "bos_token_id": 257,
    "eos_token_id": 258,
}
STEERING = {
    "languages": ["en", "de", "zh", "hi"],
    "anchor_language": "en",
    "bridge_layers": [2, 3],
    "alpha": {"de": -2.0, "zh": 1.5, "default": 1.0},
    "beta": 0.4,
    "gamma": 0.2,
}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tiny models run on one thread: more bring nothing there, and threads that wait for each other cost much."""
    torch.set_num_threads(ALL_THREADS if item.get_closest_marker("real") else 1)


@pytest.fixture(params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> Any:
    """Each supported family in turn."""
    return FAMILIES[request.param]


def tiny_plain(family: Any, seed: int = 0, **overrides: Any) -> Any:
    """A plain causal language model of a family with random weights, in eval mode."""
    torch.manual_seed(seed)
    config = family.base_config(**{**TINY, **overrides})
    return AutoModelForCausalLM.from_config(config).eval()


def tiny_steered(family: Any, seed: int = 0, **overrides: Any) -> Any:
    """The steered model with the weights of `tiny_plain(family, seed)`; a third of the neurons are in each mask."""
    plain_only = {key: value for key, value in overrides.items() if key in TINY}
    plain = tiny_plain(family, seed, **plain_only)
    model = family.causal_lm(family.config(**{**TINY, **STEERING, **overrides})).eval()
    result = model.load_state_dict(plain.state_dict(), strict=False)
    assert not result.unexpected_keys
    generator = torch.Generator().manual_seed(seed + 1)
    for index in model.config.bridge_layers:
        mlp = model.model.layers[index].mlp
        draw = torch.rand(mlp.scale.shared_mask.shape, generator=generator)
        mlp.scale.shared_mask.copy_(draw < 0.35)
        mlp.scale.specific_mask.copy_(draw > 0.65)
    return model


@pytest.fixture
def plain(family: Any) -> Any:
    return tiny_plain(family)


@pytest.fixture
def steered(family: Any) -> Any:
    return tiny_steered(family)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Every byte is a token: any script, no training; it reads alike in every family (Qwen2's normalises)."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {symbol: index for index, symbol in enumerate(alphabet)}
    vocab |= {"<pad>": 256, "<s>": 257, "</s>": 258, "<unk>": 259}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return byte_tokenizer()


@pytest.fixture
def tokens() -> torch.Tensor:
    """Ids int64 `[4, 9]`, none of them special."""
    return torch.randint(0, 256, (4, 9), generator=torch.Generator().manual_seed(7))
