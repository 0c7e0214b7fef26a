"""Fixtures of the evaluation's tests."""

from run_helpers import evaluation_fixture, steered_fixture  # noqa: F401
