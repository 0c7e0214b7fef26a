"""A detector that a reader can follow: ten tokens of German and of Chinese, and a steered model that has it."""

from __future__ import annotations

from typing import Any

import torch
from conftest import tiny_steered
from torch import Tensor

from clas_models.modeling.language_detector import DetectorCalibration, DetectorLimits, LanguageDetector

DETECTOR_LANGUAGES = ["de", "zh", "fr"]  # fr is known to the detector, but not profiled
LIMITS = DetectorLimits(word_gain=5, name_gain=1.5, word_loss=4, threshold=6, threshold_growth=1)
# Ids by what they say: each token is a word of its own, worth 4 nats.
GERMAN, CHINESE, FRENCH, ENGLISH, NEUTRAL = 10, 20, 30, 40, 50
# A German name; a piece that continues a word, 3 nats for German; no detector language.
NAME, PIECE, STRANGE = 60, 70, 80
SHOUT = 90  # a German word in capitals
PAD, BEGIN = 256, 257


def fill(detector: LanguageDetector) -> LanguageDetector:
    """The tables that the names above describe."""
    vocab_size, classes = detector.evidence.shape
    evidence = torch.zeros(vocab_size, classes)
    for token, column in ((GERMAN, 0), (CHINESE, 1), (FRENCH, 2), (NAME, 0), (STRANGE, 3), (SHOUT, 0)):
        evidence[token] = -1.0
        evidence[token, column] = 4.0
    evidence[PIECE, 0] = 3.0
    evidence[ENGLISH] = -3.0
    starts_word = torch.ones(vocab_size, dtype=torch.bool)
    starts_word[PIECE] = False
    name_like = torch.arange(vocab_size) == NAME
    invisible = torch.arange(vocab_size) >= PAD
    shouts = torch.arange(vocab_size) == SHOUT
    detector.fill(
        evidence,
        starts_word=starts_word,
        name_like=name_like | shouts,
        shouts=shouts,
        invisible=invisible,
        limits=LIMITS,
    )
    return detector


def small_detector(languages: list[str] | None = None, anchor: str = "en", **calibration: float) -> LanguageDetector:
    """The detector alone, for the profiled languages en, de, zh, hi."""
    profiled = languages or ["en", "de", "zh", "hi"]
    return fill(LanguageDetector(260, DETECTOR_LANGUAGES, profiled, anchor, DetectorCalibration(**calibration)))


def with_detector(family: Any, **overrides: Any) -> Any:
    """`tiny_steered` with the detector in it, and `language="auto"`."""
    model = tiny_steered(family, **{"detector_languages": DETECTOR_LANGUAGES, "language": "auto", **overrides})
    fill(model.base_model.language_detector)
    return model


def rows(*contents: list[int], width: int = 9, left: bool = False) -> tuple[Tensor, Tensor]:
    """Padded ids and mask, int64 `[batch, width]`."""
    padding = [[PAD] * (width - len(row)) for row in contents]
    ids = [pad + row if left else row + pad for row, pad in zip(contents, padding, strict=True)]
    masks = [
        [0] * len(pad) + [1] * len(row) if left else [1] * len(row) + [0] * len(pad)
        for row, pad in zip(contents, padding, strict=True)
    ]
    return torch.tensor(ids), torch.tensor(masks)
