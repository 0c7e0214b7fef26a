"""The languages of a batch as ids, which are what travels through the layers.

Ids are the positions in `config.languages`; one more id stands for every language that was not profiled.  What a user's
word for a language means is said in `language_tags.py`.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from transformers.utils import logging

from .language_tags import language_code, matching

logger = logging.get_logger(__name__)

Language: TypeAlias = str | Sequence[str | None] | Tensor | None

ALLOWED = 'a code such as "de", a list of codes (one a row of the batch), or a LongTensor of ids (one a row)'


def language_id(code: str, languages: Sequence[str], field: str = "language") -> int:
    """The id of a language: its position in `languages`, or `len(languages)` if it was not profiled.

    A tag that was not profiled itself stands for the nearest broader one that was: "en-US" is "en".
    """
    if code in languages:
        return languages.index(code)
    found = matching(language_code(code, field, languages), languages)
    return len(languages) if found is None else languages.index(found)


def language_ids(
    language: Language, languages: Sequence[str], batch_size: int, device: torch.device | str, check_values: bool
) -> Tensor:
    """The id of every row: int64 `[batch_size]` on `device`.

    Args:
        language: what the caller gave; None, also in a list, is an unnamed language that is not the anchor.
        check_values: look at the values of a tensor, too.  On an accelerator that waits for the device, and a graph
            that is being compiled cannot do it; `generate` does it once for all its steps.

    Raises:
        TypeError: not one of the allowed kinds.
        ValueError: not one entry for each row, not a code, or an id out of range.
    """
    if language is None:
        return torch.full((batch_size,), len(languages), dtype=torch.long, device=device)
    if isinstance(language, str):
        return torch.full((batch_size,), told_language_id(language, languages), dtype=torch.long, device=device)
    if isinstance(language, Tensor):
        return _checked_ids(language, len(languages), batch_size, check_values).to(device=device, dtype=torch.long)
    if not isinstance(language, (list, tuple)):
        raise TypeError(f"language: {language!r} is of type {type(language).__name__}; allowed is {ALLOWED}")
    _check_length(len(language), batch_size)
    ids = [
        len(languages) if code is None else told_language_id(code, languages, f"language[{row}]")
        for row, code in enumerate(language)
    ]
    return torch.tensor(ids, dtype=torch.long, device=device)


def resolve_language(config: Any, language: Language, rows: Tensor, check_values: bool | None = None) -> Tensor:
    """Ids int64 `[batch]` on the device of `rows` `[batch, ...]`, from what the caller or the configuration names."""
    if check_values is None:
        check_values = rows.device.type == "cpu" and not torch.compiler.is_compiling()
    return language_ids(language, config.languages, rows.shape[0], rows.device, check_values)


def not_profiled(language: str, languages: Sequence[str]) -> str:
    """What to warn of where rows are in a language that was not profiled."""
    return (
        f"language {language!r} was not profiled (profiled are {', '.join(languages)}); rows in it are steered with "
        "the default alpha"
    )


def told_language_id(code: str, languages: Sequence[str], field: str = "language") -> int:
    """As `language_id`; that a language was not profiled is said once."""
    id_ = language_id(code, languages, field)
    if id_ == len(languages) and not torch.compiler.is_compiling():
        logger.warning_once(not_profiled(language_code(code, field, languages), languages))
    return id_


def _check_length(length: int, batch_size: int) -> None:
    if length != batch_size:
        raise ValueError(f"language: {length} entries for a batch of {batch_size} rows; allowed is {ALLOWED}")


def _checked_ids(ids: Tensor, others: int, batch_size: int, check_values: bool) -> Tensor:
    if ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"language: a tensor of {ids.dtype}; ids are torch.int64")
    if ids.dim() != 1:
        raise ValueError(f"language: a tensor of shape {list(ids.shape)}; ids have the shape [batch]")
    _check_length(ids.shape[0], batch_size)
    if check_values and ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) <= others:
        raise ValueError(f"language: ids from {int(ids.min())} to {int(ids.max())}; allowed are 0 to {others}")
    return ids
