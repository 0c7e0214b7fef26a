"""Fixtures of the harness's tests."""

from .support import harness_fixture, model_fixture, sources_fixture

__all__ = ["harness_fixture", "model_fixture", "sources_fixture"]
