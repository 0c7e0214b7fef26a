"""Whether one thread is faster than all is measured, and nothing is changed by it."""

from __future__ import annotations

import time

import pytest
import torch

from clas_models.conversion.loading import fast_in_bfloat16, pick_dtype
from clas_models.conversion.threads import one_thread_is_faster


@pytest.fixture
def threads() -> None:
    torch.set_num_threads(2)


@pytest.mark.parametrize(("alone", "together", "faster"), [(1, 5, True), (5, 3, False), (5, 5, False)])
def test_the_faster_way_is_told(threads: None, alone: int, together: int, faster: bool) -> None:
    def product() -> None:
        time.sleep((alone if torch.get_num_threads() == 1 else together) / 1000)

    assert one_thread_is_faster(product) is faster
    assert torch.get_num_threads() == 2


def test_with_one_thread_there_is_nothing_to_tell() -> None:
    torch.set_num_threads(1)
    assert not one_thread_is_faster(lambda: pytest.fail("timed for nothing"))


@pytest.mark.parametrize("tiles", [False, True])
def test_the_precision_of_a_profile_on_a_processor(tiles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": tiles}, raising=False)
    assert fast_in_bfloat16() is tiles
    cpu = torch.device("cpu")
    assert pick_dtype("auto", cpu, "bfloat16") == ("auto" if tiles else "float32")
    for own in ("float32", "float16", None):
        assert pick_dtype("auto", cpu, own) == "float32"
    assert pick_dtype("bfloat16", cpu, "float32") == "bfloat16"
    assert pick_dtype("auto", torch.device("cuda")) == "auto"
