"""Steered checkpoints to make other forms of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import byte_tokenizer, tiny_plain, tiny_steered

from ..support import LLAMA, base_only


def save_steered(folder: Path, family: Any, dtype: torch.dtype = torch.float32, shard: str = "1GB", **kw: Any) -> Path:
    """A tiny steered checkpoint (alpha de -2, zh 1.5, default 1) with a tokenizer, a card and a licence."""
    tiny_steered(family, **kw).to(dtype).save_pretrained(folder, max_shard_size=shard)
    byte_tokenizer().save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\nbase_model: owner/base\n---\n# A card\n")
    (folder / "LICENSE").write_text("A licence.")
    return folder


def with_vectors(folder: Path, family: Any = LLAMA, **overrides: Any) -> Path:
    """A tiny steered checkpoint with masks and with vectors after layers 1 and 2, on all tokens."""
    settings = {"vector_layers": [1, 2], "vector_positions": "all", "vector_strength": 1.0, **overrides}
    model, noise = tiny_steered(family, **settings), torch.Generator().manual_seed(3)
    for layer in model.config.vector_layers:
        model.model.layers[layer].add.vectors[1:] = torch.randn(3, 32, generator=noise)
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def steered_folder(tmp_path: Path, family: Any) -> Path:
    """In float32, one file, each family in turn."""
    return save_steered(tmp_path / "steered", family)


@pytest.fixture
def base_of(tmp_path: Path) -> Callable[..., Path]:
    """The plain checkpoint with the weights of `save_steered`."""

    def save(family: Any, dtype: torch.dtype = torch.float32, **kw: Any) -> Path:
        folder = tmp_path / f"base-{len(list(tmp_path.iterdir()))}"
        shape = {name: value for name, value in kw.items() if name != "seed"}
        model = tiny_plain(family, **shape)
        model.load_state_dict(base_only(tiny_steered(family, **kw).state_dict()))
        model.to(dtype).save_pretrained(folder)
        return folder

    return save
