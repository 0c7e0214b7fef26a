"""How far another form is from the steered model: the logits of a few tokens, in float32 on the processor.

In float32 the difference is what the form itself adds, above all the one rounding of its weights, and not the noise of
half-precision arithmetic.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import VerificationError
from ...modeling.configuration_clas import STRENGTHS
from ...modeling.language import language_id
from ..loading import on_disk
from ..source import Source
from .scaling import Scaling

_TOKENS = 32


@dataclass(frozen=True)
class Difference:
    """Between the logits of the steered model and of another form of it, over all languages that the form has.

    `absolute` is the largest difference, `largest` the largest steered logit by its size, `effect` the largest change
    that steering makes.
    """

    absolute: float
    largest: float
    effect: float

    @property
    def relative(self) -> float:
        return self.absolute / self.largest

    def __str__(self) -> str:
        return (
            f"logits differ from the steered model's by at most {self.absolute:.1e} ({self.relative:.1e} of the "
            f"largest, in float32); steering itself changes them by up to {self.effect:.1e}"
        )

    def check(self, tolerance: float, folder: Path) -> None:
        """Raises VerificationError: more than `tolerance` of the largest logit, or not a number."""
        if not self.relative <= tolerance:
            raise VerificationError(f"{folder}: {self}; at most {tolerance:.0e} was expected")


def sample_tokens(vocab_size: int) -> Tensor:
    """Token ids, int64 `[1, 32]`, spread over the vocabulary; the same at every call."""
    return torch.randint(0, vocab_size, (1, _TOKENS), generator=torch.Generator().manual_seed(0))


def steered_logits(source: Source, config: Any, scalings: Sequence[Scaling]) -> tuple[Tensor, float]:
    """What a steered source says in each language, float32 `[languages, tokens, vocabulary]`, and the
    largest change from its base; `config`, the one in force, may have other strengths than the source's.
    """
    tokens = sample_tokens(config.vocab_size)
    codes = [scaling.language for scaling in scalings]
    ids = torch.tensor([language_id(code, config.languages) for code in [config.anchor_language, *codes]])
    with on_disk(source.folder, may_be_left=source.may_be_left, dtype=torch.float32) as model, torch.inference_mode():
        model.set_steering(**{name: getattr(config, name) for name in STRENGTHS})
        tokens = tokens.expand(len(ids), -1)
        everywhere = torch.ones_like(tokens, dtype=torch.bool)  # no form adds vectors to some tokens alone
        logits = model(tokens, language=ids, positions=everywhere, use_cache=False).logits
    return logits[1:], float((logits[1:] - logits[:1]).abs().max())


def difference(steered: tuple[Tensor, float], found: Tensor) -> Difference:
    """Between what `steered_logits` gives and the same logits of another form."""
    logits, effect = steered
    return Difference(float((found - logits).abs().max()), float(logits.abs().max()), effect)
