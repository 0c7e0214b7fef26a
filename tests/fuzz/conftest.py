"""How much is tried: a little, always the same, by default; `HYPOTHESIS_PROFILE=long` tries other things each time."""

from __future__ import annotations

import os
from collections.abc import Iterator

import datasets
import huggingface_hub
import pytest
from hypothesis import HealthCheck, settings

from .verdict import little_memory

_COMMON = {"database": None, "deadline": None, "print_blob": False, "suppress_health_check": list(HealthCheck)}
settings.register_profile("ci", derandomize=True, max_examples=50, **_COMMON)  # type: ignore[arg-type]
settings.register_profile("long", max_examples=3000, **_COMMON)  # type: ignore[arg-type]
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "fuzz":
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _bounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A number from a damaged file must not take this machine's memory, nor a name be looked for on the Hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with little_memory():
        yield
