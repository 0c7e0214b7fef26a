"""Figures with nothing in them: drawing takes longer than all else, and what counts is that they are written."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from clas_models.profiling import figures
from eval.report import figures as report_figures


@pytest.fixture(autouse=True)
def _empty_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_draw", lambda *given: Figure(figsize=(0.1, 0.1)))
    monkeypatch.setattr(report_figures, "draw", lambda *given: Figure(figsize=(0.1, 0.1)))
