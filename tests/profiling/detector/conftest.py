"""Fixtures of the detector's tests: tokenizers of both kinds, and detectors that have not seen every fifth row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from trained_tokenizers import builtin_rows, byte_level_tokenizer, sentencepiece_tokenizer

from clas_models.modeling.language_detector import DetectorDecision, LanguageDetector
from clas_models.profiling.detector.detector_building import build_detector

OTHER = "other"
TOKENIZERS = {"byte-level": byte_level_tokenizer, "sentencepiece": sentencepiece_tokenizer}


@dataclass(frozen=True)
class Made:
    """A detector and what it was made for."""

    detector: LanguageDetector
    tokenizer: Any
    languages: tuple[str, ...]

    @classmethod
    def of(cls, tokenizer: Any, languages: Sequence[str], anchor: str, rows: Sequence[dict[str, str]]) -> Made:
        return cls(build_detector(tokenizer, rows, languages, anchor), tokenizer, tuple(languages))

    def decide(self, text: str) -> DetectorDecision:
        return self.detector(torch.tensor([self.tokenizer(text)["input_ids"]], dtype=torch.long))

    def language(self, text: str) -> str:
        """What a text is taken for: a profiled language, or "other"."""
        return [*self.languages, OTHER][int(self.decide(text).language_ids)]


@pytest.fixture(scope="session", params=sorted(TOKENIZERS))
def trained(request: pytest.FixtureRequest) -> Any:
    """A tokenizer of each kind in turn."""
    return TOKENIZERS[request.param]()


@pytest.fixture(scope="session")
def full(trained: Any) -> Made:
    """For all languages of the corpus."""
    return Made.of(trained, tuple(builtin_rows()[0]), "en", _old_rows(tuple(builtin_rows()[0])))


@pytest.fixture(scope="session")
def small(trained: Any) -> Made:
    """For three languages; the detector knows more."""
    return Made.of(trained, ("de", "en", "zh"), "en", _old_rows(("de", "en", "zh", "fr", "ru", "hi")))


@pytest.fixture(scope="session")
def german(trained: Any) -> Made:
    """Against German."""
    return Made.of(trained, ("en", "de", "zh"), "de", _old_rows(("de", "en", "zh", "fr", "ru", "hi")))


def _old_rows(codes: Sequence[str]) -> list[dict[str, str]]:
    return [{code: row[code] for code in codes} for number, row in enumerate(builtin_rows()) if number % 5]
