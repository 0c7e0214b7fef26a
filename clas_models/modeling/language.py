"""Languages as users name them, and the ids that travel through the layers.

Ids are the positions in `config.languages`; one more id stands for every language that was not profiled.
"""

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

Language: TypeAlias = str | Sequence[str] | Tensor | None

_CODE = re.compile(r"[a-z]{2,3}(-[a-z0-9]+)*")
ALLOWED = 'a code such as "de", a list of codes (one a row of the batch), or a LongTensor of ids (one a row)'


def language_code(value: object, field: str) -> str:
    """`value` as a lower-case language code, with `_` read as `-`.

    Raises:
        TypeError: it is not a string.
        ValueError: it is not an ISO 639 code with optional subtags, such as "de", "zh-hans" or "sw".
    """
    if not isinstance(value, str):
        raise TypeError(f'{field}: {value!r} is of type {type(value).__name__}; allowed is a code such as "de"')
    code = value.strip().lower().replace("_", "-")
    if not _CODE.fullmatch(code):
        raise ValueError(f'{field}: {value!r} is not a language code; write an ISO 639-1 code such as "de" or "zh"')
    return code


def language_id(code: str, languages: Sequence[str], field: str = "language") -> int:
    """The id of a language: its position in `languages`, or `len(languages)` if it was not profiled.

    A code that was not profiled itself stands for the nearest broader one that was: "en-us" is "en".
    """
    code = language_code(code, field)
    while code not in languages and "-" in code:
        code = code[: code.rindex("-")]
    return languages.index(code) if code in languages else len(languages)


def language_ids(
    language: Language, languages: Sequence[str], batch_size: int, device: torch.device | str, check_values: bool
) -> Tensor:
    """The id of every row: int64 `[batch_size]` on `device`.

    Args:
        language: what the caller gave; None is an unnamed language that is not the anchor.
        check_values: look at the values of a tensor, too.  On an accelerator that waits for the device, and a graph
            that is being compiled cannot do it; `generate` does it once for all its steps.

    Raises:
        TypeError: not one of the allowed kinds.
        ValueError: not one entry for each row, not a code, or an id out of range.
    """
    if language is None:
        return torch.full((batch_size,), len(languages), dtype=torch.long, device=device)
    if isinstance(language, str):
        return torch.full((batch_size,), language_id(language, languages), dtype=torch.long, device=device)
    if isinstance(language, Tensor):
        return _checked_ids(language, len(languages), batch_size, check_values).to(device=device, dtype=torch.long)
    if not isinstance(language, (list, tuple)):
        raise TypeError(f"language: {language!r} is of type {type(language).__name__}; allowed is {ALLOWED}")
    _check_length(len(language), batch_size)
    ids = [language_id(code, languages, f"language[{row}]") for row, code in enumerate(language)]
    return torch.tensor(ids, dtype=torch.long, device=device)


def resolve_language(config: Any, language: Language, rows: Tensor, check_values: bool | None = None) -> Tensor:
    """Ids int64 `[batch]` on the device of `rows` `[batch, ...]`, from what the caller or the configuration names."""
    if check_values is None:
        check_values = rows.device.type == "cpu" and not torch.compiler.is_compiling()
    return language_ids(language, config.languages, rows.shape[0], rows.device, check_values)


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
