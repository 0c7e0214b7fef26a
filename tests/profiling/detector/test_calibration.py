"""The temperature of the confidences, fitted where the answer is known."""

from __future__ import annotations

from typing import Any

import torch
from trained_tokenizers import builtin_rows

from clas_models.modeling.language_detector import DetectorCalibration
from clas_models.profiling.detector.calibration import fit_temperature
from clas_models.profiling.detector.detector_building import build_detector, judge

from .conftest import Made

CODES = ("en", "de", "fr", "ru")
ROWS = [{code: row[code] for code in CODES} for row in builtin_rows()]


def test_more_wrong_answers_make_less_sure(trained: Any) -> None:
    """Rows whose languages were exchanged are wrong answers that the detector is sure of."""
    detector = build_detector(trained, ROWS[20:], CODES, "en")
    exchanged = [
        row | {"de": row["fr"], "fr": row["de"]} if number % 4 == 0 else row for number, row in enumerate(ROWS)
    ]
    right, wrong = (fit_temperature(detector, trained, rows[:20], "en") for rows in (ROWS, exchanged))
    assert 0.3 <= right < wrong <= 32


def test_it_is_fitted_without_the_rows_that_the_detector_knows(trained: Any) -> None:
    kept = [row for number, row in enumerate(ROWS) if number % 5]
    expected = fit_temperature(build_detector(trained, kept, CODES, "en"), trained, ROWS[::5], "en")
    assert judge(trained, ROWS, CODES, "en")[1] == expected


def test_a_detector_carries_it(trained: Any) -> None:
    plain, warm = (build_detector(trained, ROWS[:20], CODES, "en", temperature=value) for value in (1.0, 2.5))
    assert isinstance(warm.calibration, DetectorCalibration)
    assert (warm.calibration.temperature, warm.calibration.floor) == (2.5, 0.0)
    assert torch.equal(plain.evidence, warm.evidence)
    text = "Wir fahren morgen nach Hause."
    assert (
        Made(warm, trained, CODES).decide(text).confidences.max()
        < Made(plain, trained, CODES).decide(text).confidences.max()
    )
