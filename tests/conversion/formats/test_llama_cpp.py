"""llama.cpp with a control vector says what the steered model says: each vector is added behind its own layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command
from conftest import tiny_plain
from transformers import AutoModelForCausalLM

from ..test_gguf_source import write_gguf
from .conftest import with_vectors
from .llama_cpp import LIBRARY, LlamaCpp

pytestmark = pytest.mark.skipif(not LIBRARY, reason="CLAS_LLAMA_CPP names no library of llama.cpp; see llama_cpp.py")
TOKENS = [72, 97, 108, 108, 111]
CLOSE = 0.02  # llama.cpp keeps keys and values in half precision


def test_llama_cpp_adds_what_the_steered_model_adds(family: Any, converter: Command, tmp_path: Path) -> None:
    settings = {"bridge_layers": [], "vector_layers": [1, 3, 5], "vector_strength": 0.5, "vocab_size": 262}
    steered = with_vectors(tmp_path / "steered", family, **settings)
    converter.made(steered, "--format", "control-vector", "--out", tmp_path / "out")
    gguf = write_gguf(tmp_path / "base.gguf", tiny_plain(family, vocab_size=262), family.gguf or "llama")
    model, llama = AutoModelForCausalLM.from_pretrained(steered), LlamaCpp(gguf)

    def expected(language: str) -> torch.Tensor:
        with torch.inference_mode():
            return model(torch.tensor([TOKENS]), language=language).logits[0, -1]

    def close(language: str) -> bool:
        return bool((llama.logits(TOKENS) - expected(language)).abs().max() < CLOSE)

    assert close("en")
    for language in ("de", "zh"):
        llama.put(tmp_path / "out" / f"{language}.gguf", model.config.num_hidden_layers)
        assert close(language)
        assert not close("en")
    llama.take_away()
    assert close("en")
