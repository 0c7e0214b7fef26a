"""Tables that lie on disk or in another memory until a layer runs: told, changed and saved as any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import cpu_offload
from detector_helpers import GERMAN, with_detector
from modeling_helpers import LAYERS_ON_DISK
from torch import Tensor
from transformers import AutoModelForCausalLM


def logits(model: Any, tokens: Tensor, language: Any) -> Tensor:
    with torch.inference_mode():
        return model(tokens, language=language)[0]


def offloaded(folder: Path, place: str, scratch: Path) -> Any:
    """A checkpoint whose buffers, too, lie elsewhere until a layer runs."""
    if place == "memory":
        return cpu_offload(AutoModelForCausalLM.from_pretrained(folder), torch.device("cpu"), offload_buffers=True)
    parts = {"": "disk"} if place == "disk" else {**LAYERS_ON_DISK, "model.language_detector": "disk"}
    return AutoModelForCausalLM.from_pretrained(folder, device_map=parts, offload_buffers=True, offload_folder=scratch)


@pytest.mark.parametrize("place", ["disk", "some layers on disk", "memory"])
def test_what_tells_works_where_the_tables_are_not_in_memory(place: str, family: Any, tmp_path: Path) -> None:
    model = with_detector(family, vector_layers=[1, 4], vector_positions="all")
    with torch.no_grad():
        for add in (model.model.layers[1].add, model.model.layers[4].add):
            add.vectors[1:] = 1.0
    model.save_pretrained(tmp_path / "saved")
    loaded = offloaded(tmp_path / "saved", place, tmp_path / "scratch")
    tokens = torch.tensor([[GERMAN] * 9, [100, *range(101, 109)]])
    assert loaded.model.language_detector.kinds.is_meta

    def check(other: Any) -> None:
        assert other.steering == model.steering
        assert other.rules == model.rules
        assert other.detect_language(tokens) == model.detect_language(tokens)
        for language in ("auto", ["de", "en"]):
            assert torch.equal(logits(other, tokens, language=language), logits(model, tokens, language=language))

    check(loaded)
    with loaded.temporary_steering(alpha=-2, vector_strength=3), model.temporary_steering(alpha=-2, vector_strength=3):
        check(loaded)
    check(loaded)
    assert repr(loaded) == repr(model)
    assert loaded.model.language_detector.kinds.is_meta
    if place != "memory":  # transformers saves what it has placed itself
        loaded.save_pretrained(tmp_path / "again")
        check(AutoModelForCausalLM.from_pretrained(tmp_path / "again"))


def test_a_detector_that_is_not_in_memory_follows_a_resized_embedding(family: Any, tmp_path: Path) -> None:
    model = with_detector(family)
    model.save_pretrained(tmp_path / "saved")
    detector = offloaded(tmp_path / "saved", "disk", tmp_path / "scratch").model.language_detector
    for each in (detector, model.model.language_detector):
        each.resize(300)
    tokens = torch.tensor([[GERMAN] * 9 + [299]])
    assert torch.equal(detector(tokens).language_ids, model.model.language_detector(tokens).language_ids)
