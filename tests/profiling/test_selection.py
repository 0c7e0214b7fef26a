"""A selection as data: its counts and indices, its file, and what a damaged file may hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from test_lape import FIVE

from clas_models.errors import InputError
from clas_models.profiling.lape import lape
from clas_models.profiling.selection import Selection

SELECTION = lape(FIVE, top_rate=0.4, activation_percentile=0.6, filter_percentile=0.6)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    SELECTION.save(tmp_path / "selection.safetensors")
    return tmp_path / "selection.safetensors"


def rewrite(path: Path, description: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Change the description and the tensors of a saved file in place."""
    with safe_open(path, "pt") as file:
        [(key, text)] = file.metadata().items()
        held = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
    save_file({**held, **tensors}, path, {key: json.dumps({**json.loads(text), **description})})


def test_it_comes_back_from_its_file(path: Path) -> None:
    loaded = Selection.load(path)
    assert torch.equal(loaded.masks, SELECTION.masks)
    for name in ("languages", "layers", "origin"):
        assert getattr(loaded, name) == getattr(SELECTION, name), name
    assert loaded.origin.made_by == "lape"
    assert loaded.origin.arguments == {
        "top_rate": 0.4,
        "activation_percentile": 0.6,
        "filter_percentile": 0.6,
        "rate_of": "model",
    }
    assert loaded.origin.profile == FIVE.provenance


def test_a_language_that_it_lacks() -> None:
    with pytest.raises(InputError, match=r"language 'fr' is not among .*: choose one of en, de, zh"):
        SELECTION.indices("fr")


@pytest.mark.parametrize(
    ("description", "tensors", "message"),
    [
        ({"format_version": 2}, {}, "format version 2, this package reads 1"),
        ({"languages": ["en", "de"]}, {}, r"'masks' is torch.bool \[3, 1, 5\], expected torch.bool \[2, 1, 5\]"),
        ({"languages": ["en", "de", "de"]}, {}, "each once"),
        ({"layers": [-1]}, {}, r"layers \[-1\]: counted from 0"),
        ({"layers": [0, 1]}, {}, "'masks' is"),
        ({"origin": None}, {}, "not a usable selection"),
        ({"origin": {"made_by": "lape", "arguments": {}}}, {}, "'profile'"),
        ({}, {"masks": torch.ones(3, 1, 5)}, "'masks' is torch.float32"),
        ({}, {"masks": torch.tensor(True)}, "'masks' is"),
        ({}, {"more": torch.ones(1)}, "it holds the tensors .*'more'"),
    ],
)
def test_refuses_a_damaged_file(
    path: Path, description: dict[str, Any], tensors: dict[str, torch.Tensor], message: str
) -> None:
    rewrite(path, description, tensors)
    with pytest.raises(InputError, match=message) as caught:
        Selection.load(path)
    assert str(caught.value).startswith(f"{path}: not a usable selection: ")
    assert "\n" not in str(caught.value)


def test_refuses_another_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such selection; save one first"):
        Selection.load(tmp_path / "missing")
    FIVE.save(tmp_path / "profile")
    with pytest.raises(InputError, match="it is a safetensors file, but not a selection"):
        Selection.load(tmp_path / "profile")


def test_one_made_by_hand_is_checked_too() -> None:
    with pytest.raises(InputError, match="ascending"):
        replace(SELECTION, layers=())
