"""When the detector decides a row's language, for how long that holds, and what a person can see of it.

A decision belongs to a sequence: `generate` makes it once, from the prompt, for all steps, beams and returned
sequences, and leaves it with the cache of keys and values that were computed under it, so that a continued chat keeps
it.  A plain `forward` decides from the whole sequence that it is given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .language import Language, language_ids
from .language_detector import LanguageDetector

AUTO = "auto"
OTHER = "other"
_ATTRIBUTE = "clas_language_ids"


@dataclass(frozen=True)
class DetectedLanguage:
    """What the detector says of one row.

    Attributes:
        code: the language, "other" for one that the detector has no name for.
        language_id: what steers the row: the position among the profiled languages, or their number for any other.
        confidence: of `code`, 0 to 1.
        confidences: of every language that the detector knows, the anchor and "other" included; they sum to 1.  The
            converter calibrates them on sentences that it kept from the detector.
    """

    code: str
    language_id: int
    confidence: float
    confidences: dict[str, float]

    def __repr__(self) -> str:
        rest = {code: value for code, value in self.confidences.items() if code != self.code}
        code = max(rest, key=rest.__getitem__, default="")
        second = f", then {code!r} {rest[code]:.2f}" if rest else ""
        return f"DetectedLanguage({self.code!r} {self.confidence:.2f}{second})"


def is_auto(language: object) -> bool:
    """Whether a row's language is left to the detector."""
    return isinstance(language, str) and language.strip().lower() == AUTO


def with_default(language: Language, default: Any) -> Any:
    """What a caller names, with `default` where nothing is named: for the batch, or for a row of a list."""
    if isinstance(language, (list, tuple)):
        return [default if entry is None else entry for entry in language]
    return default if language is None else language


def asks_detector(language: object) -> bool:
    """Whether the language of any row is left to the detector."""
    return any(map(is_auto, language)) if isinstance(language, (list, tuple)) else is_auto(language)


def fill_in(language: Any, decided: Tensor, languages: Sequence[str]) -> Tensor:
    """The ids int64 `[batch]` of rows that are named and of rows that are left to the detector.

    Args:
        language: "auto", or a list with "auto" for some rows.
        decided: ids `[batch]`, what holds for those.
        languages: the profiled ones.

    Raises TypeError, ValueError: an entry is no language, or there is not one for each row.
    """
    if isinstance(language, str):
        return decided
    named = [None if is_auto(entry) else entry for entry in language]
    ids = language_ids(named, languages, len(decided), decided.device, check_values=False)
    return torch.where(torch.tensor([is_auto(entry) for entry in language], device=decided.device), decided, ids)


def decide(
    detector: LanguageDetector | None, input_ids: Tensor | None, attention_mask: Any = None, past_key_values: Any = None
) -> Tensor:
    """Language ids int64 `[batch]` from the tokens of whole sequences.

    Args:
        input_ids: `[batch, tokens]`.
        attention_mask: `[batch, tokens]`; a mask of another form does not say which tokens are padding and is not
            looked at.
        past_key_values: the cache that comes with the tokens; it must be empty.

    Raises:
        ValueError: there is no detector, or there are not the tokens to decide from.
        IndexError: an id outside the vocabulary.
    """
    if detector is None:
        raise ValueError(
            'language: "auto", but the checkpoint has no language detector; pass language= with a code such as "de", '
            "or add a detector with clas-convert"
        )
    if input_ids is None:
        raise ValueError('language: "auto" cannot be decided from inputs_embeds alone; pass language=')
    if past_key_values is not None and past_key_values.get_seq_length() > 0:
        raise ValueError('language: "auto" cannot be decided from a cached step without its prompt; pass language=')
    fits = isinstance(attention_mask, Tensor) and attention_mask.shape == input_ids.shape
    return detector(input_ids, attention_mask if fits else None).language_ids


def is_packed(attention_mask: Any, position_ids: Tensor | None, options: Mapping[str, Any]) -> bool:
    """Whether rows hold several sequences, in the two forms that transformers knows: their lengths are among the
    options of `forward`, or there is no mask and the positions begin anew.
    """
    if options.get("cu_seq_lens_q") is not None:
        return True
    if attention_mask is not None or position_ids is None or torch.compiler.is_compiling():
        return False
    return bool((position_ids[..., 1:] <= position_ids[..., :-1]).any())


def remember(cache: Any, language_ids: Tensor, rows: int) -> None:
    """Leave a decision, one entry for each prompt, with the cache that `rows` sequences were computed in."""
    if cache is not None:
        setattr(cache, _ATTRIBUTE, language_ids.repeat_interleave(rows // len(language_ids)))


def remembered(cache: Any, rows: int) -> Tensor | None:
    """The decision that a cache was filled under; None for an empty cache, or one of other rows."""
    language_ids = getattr(cache, _ATTRIBUTE, None)
    if language_ids is None or len(language_ids) != rows or cache.get_seq_length() == 0:
        return None
    return language_ids


def detect(
    detector: LanguageDetector, anchor_language: str, input_ids: Tensor, attention_mask: Tensor | None
) -> list[DetectedLanguage]:
    """What the detector says of every row of `[batch, tokens]`, for a person to read."""
    decision = detector(input_ids, attention_mask)
    names = (anchor_language, *detector.detector_languages, OTHER)
    return [
        DetectedLanguage(names[place], language_id, row[place], dict(zip(names, row, strict=True)))
        for place, language_id, row in zip(
            decision.names.tolist(), decision.language_ids.tolist(), decision.confidences.tolist(), strict=True
        )
    ]
