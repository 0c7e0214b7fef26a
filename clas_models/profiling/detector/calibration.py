"""How sure a detector may be: the temperature that makes its confidences true on sentences that it has not seen.

Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ...modeling.language_detector import LanguageDetector

# Whole sentences of the detector's own corpus are too easy to show how often it is wrong; their beginnings are not.
_PARTS = (0.25, 0.5, 1.0)
_TEMPERATURES = torch.logspace(-0.5, 1.5, 81, dtype=torch.float64)


def fit_temperature(
    detector: LanguageDetector, tokenizer: Any, rows: Sequence[Mapping[str, str]], anchor: str
) -> float:
    """The temperature, 0.3 to 32, under which the right languages of the texts and their beginnings are likeliest."""
    names = (anchor, *detector.detector_languages)
    texts = [
        (names.index(code), _beginning(text, part)) for row in rows for code, text in row.items() for part in _PARTS
    ]
    nats = []
    for _, text in texts:
        ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]], dtype=torch.long)
        decided = detector(ids)
        nats.append(torch.cat([decided.threshold[:, None], decided.evidence], dim=1))
    logits, right = torch.cat(nats).double(), torch.tensor([name for name, _ in texts])
    losses = torch.stack([torch.nn.functional.cross_entropy(logits / value, right) for value in _TEMPERATURES])
    return round(float(_TEMPERATURES[losses.argmin()]), 3)


def _beginning(text: str, part: float) -> str:
    """About that part of a text, whole words where it has words."""
    cut = text[: max(1, round(part * len(text)))]
    return cut if cut == text or " " not in cut else cut.rpartition(" ")[0]
