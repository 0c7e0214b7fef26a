"""Fixtures of the tasks' tests."""

from .support import hub

__all__ = ["hub"]
