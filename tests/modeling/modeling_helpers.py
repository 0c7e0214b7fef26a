"""What the tests of this folder share: a batch of mixed languages, and what its rows are compared with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

PARTS = ["model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head", *(f"model.layers.{i}" for i in range(6))]
LAYERS_ON_DISK = {part: "disk" if part in ("model.layers.1", "model.layers.2") else "cpu" for part in PARTS}
MIXED = ["en", "de", "en-US", "fr"]
ANCHOR_ROWS = [True, False, True, False]


def bridge_mlps(model: Any) -> list[Any]:
    """The steered MLPs of a causal language model."""
    return [model.model.layers[index].mlp for index in model.config.bridge_layers]


def assert_anchor_rows_are_plain(steered: Tensor, plain: Tensor) -> None:
    """The anchor rows of a batch in the languages `MIXED` are bit-identical, the others are not."""
    assert [torch.equal(a, b) for a, b in zip(steered, plain, strict=True)] == ANCHOR_ROWS
