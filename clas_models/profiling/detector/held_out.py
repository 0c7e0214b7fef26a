"""How often a detector is right on rows that it was not made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...modeling.language_detector import LanguageDetector
from .detector_building import build_detector

HELD_OUT = 5  # every fifth row is kept from the detector that is judged


@dataclass(frozen=True)
class DetectorAccuracy:
    """Shares, 0 to 1, of `rows` texts: told from the anchor or taken for it rightly, and the language itself right.

    A language that the detector knows but that was not profiled is right as "other".  `anchor` is the share of the
    anchor's own texts that were left to it.
    """

    rows: int
    anchor_or_not: float
    language: float
    anchor: float

    def __str__(self) -> str:
        return (
            f"anchor or not right in {self.anchor_or_not:.1%}, the language in {self.language:.1%}, the anchor kept in "
            f"{self.anchor:.1%} of {self.rows} held-out texts"
        )


def held_out_accuracy(
    tokenizer: Any,
    rows: Sequence[Mapping[str, str]],
    languages: Sequence[str],
    anchor: str,
    vocab_size: int | None = None,
) -> DetectorAccuracy:
    """Make a detector without every fifth row and ask it about those; the arguments are those of `build_detector`.

    Raises InputError: as `build_detector`.
    """
    kept = [row for number, row in enumerate(rows) if number % HELD_OUT]
    detector = build_detector(tokenizer, kept, languages, anchor, vocab_size)
    held_out = [(code, text) for row in rows[::HELD_OUT] for code, text in row.items()]
    answers = [(code, _language_id(detector, tokenizer, text)) for code, text in held_out]
    wanted = {code: languages.index(code) if code in languages else len(languages) for code in rows[0]}
    anchors = [found == detector.anchor_id for code, found in answers if code == anchor]
    return DetectorAccuracy(
        rows=len(answers),
        anchor_or_not=_share([(found == detector.anchor_id) == (code == anchor) for code, found in answers]),
        language=_share([found == wanted[code] for code, found in answers]),
        anchor=_share(anchors),
    )


def _language_id(detector: LanguageDetector, tokenizer: Any, text: str) -> int:
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    return int(detector(ids).language_ids)


def _share(right: Sequence[bool]) -> float:
    return sum(right) / len(right)
