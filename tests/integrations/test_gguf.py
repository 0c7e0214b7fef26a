"""llama.cpp: its converter takes a folded checkpoint.

Runs where the environment variable LLAMA_CPP names a folder with llama.cpp's `convert_hf_to_gguf.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import TINY, tiny_steered
from integration_helpers import logits, one_thread  # noqa: F401
from torch import Tensor
from transformers import AutoModelForCausalLM

from clas_models import FAMILIES
from clas_models.conversion.cli import main

CONVERTER = Path(os.environ.get("LLAMA_CPP", "nowhere")) / "convert_hf_to_gguf.py"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CONVERTER.is_file(), reason="LLAMA_CPP names no folder with convert_hf_to_gguf.py"),
]
TEXT = ["Der Himmel ist blau.", "The sky is blue.", "Warum regnet es im Frühling?", "Bread is on the table."]


def save_tokenizer(folder: Path) -> None:
    """A SentencePiece model in the layout of Llama: the converter knows every one, and of others only famous ones."""
    sentencepiece = pytest.importorskip("sentencepiece")
    text = folder / "text"
    text.write_text("\n".join(TEXT))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=TINY["vocab_size"] + 40,
        byte_fallback=True,
        hard_vocab_limit=False,
    )
    text.unlink()


def test_a_folded_checkpoint_becomes_a_gguf_file_with_the_same_logits(tmp_path: Path) -> None:
    steered = tiny_steered(FAMILIES["llama"], vocab_size=TINY["vocab_size"] + 40)
    steered.save_pretrained(tmp_path / "steered")
    save_tokenizer(tmp_path / "steered")
    folded = tmp_path / "folded"
    assert main([str(tmp_path / "steered"), "--format", "folded", "--language", "de", "--out", str(folded)]) == 0
    command = [sys.executable, CONVERTER, folded, "--outfile", tmp_path / "folded.gguf", "--outtype", "f32"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr

    read_back = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="folded.gguf", dtype=torch.float32)
    tokens = torch.randint(0, 256, (2, 9), generator=torch.Generator().manual_seed(7))
    found: Tensor = logits(read_back, tokens)
    assert torch.equal(found, logits(AutoModelForCausalLM.from_pretrained(folded), tokens))
    torch.testing.assert_close(found, logits(steered, tokens, language="de"), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(found, logits(steered, tokens, language="en"), atol=0.1)
