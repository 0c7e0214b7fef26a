"""One thread for all of this folder."""

from __future__ import annotations
