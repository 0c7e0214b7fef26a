"""Languages as users name them, and the ids that travel through the layers.

A language is named by any code of ISO 639, with script or region where that matters, or by its English name; all of
them mean one canonical tag, such as "de", "zh-Hant" or "pt-BR".  Which languages there are is said in
`language_names.py`.  Ids are the positions in `config.languages`; one more id stands for every language that was not
profiled.
"""

import difflib
import re
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from transformers.utils import logging

from .language_names import CODES, NAMES, TAGS, USUAL_SCRIPTS, name_key

logger = logging.get_logger(__name__)

Language: TypeAlias = str | Sequence[str | None] | Tensor | None

_FORM = re.compile(r"[a-z]{2,3}(-[a-z0-9]+)*")
ALLOWED = 'a code such as "de", a list of codes (one a row of the batch), or a LongTensor of ids (one a row)'


def language_tag(text: str) -> str | None:
    """The canonical tag of what a user writes, None if that is no language that is known.

    A script that the language is usually written in is left out: `deu_Latn` is "de", and `zho_Hans` is "zh".
    """
    first, *others = text.strip().lower().replace("_", "-").split("-")
    if first in CODES and (not others or _FORM.fullmatch("-".join([first, *others]))):
        return _tag(CODES[first], others)
    return TAGS.get(name_key(text))


def own_code(text: str, shortest: int = 3) -> str | None:
    """As `language_tag`, but a code of three letters that the table lacks is kept.

    For what says itself which languages there are: the keys of a corpus; and files that are there already, which may
    hold any code of two letters, too (`shortest` 2).
    """
    if (tag := language_tag(text)) is not None:
        return tag
    code = text.strip().lower().replace("_", "-")
    first, *others = code.split("-")
    return _tag(first, others) if len(first) >= shortest and _FORM.fullmatch(code) else None


def _tag(language: str, others: Sequence[str]) -> str:
    cased = [_cased(part) for part in others]
    if cased and cased[0] in USUAL_SCRIPTS.get(language, ("Latn",)):
        cased = cased[1:]
    return "-".join([language, *cased])


def _cased(part: str) -> str:
    """A script is written `Hant`, a region `TW`."""
    if not part.isalpha() or len(part) not in (2, 4):
        return part
    return part.upper() if len(part) == 2 else part.title()


def language_code(value: object, field: str, own: Sequence[str] = ()) -> str:
    """`value` as a canonical tag.

    Args:
        value: what a user writes.
        field: where, for messages.
        own: the languages of a checkpoint, which count also where the table lacks them.

    Raises:
        TypeError: it is not a string.
        ValueError: it is no language; the message names the nearest ones.
    """
    if not isinstance(value, str):
        raise TypeError(f'{field}: {value!r} is of type {type(value).__name__}; allowed is a code such as "de"')
    if (tag := language_tag(value)) is not None:
        return tag
    if (tag := own_code(value, shortest=2)) is None or matching(tag, own) is None:
        raise ValueError(
            f"{field}: {value!r} is not a language code{did_you_mean(value)}; write a code of ISO 639 such as "
            '"de" or "zh-Hant", or an English name'
        )
    return tag


def did_you_mean(text: str) -> str:
    """The nearest languages, for a message on what is no language; "" for what is one, or if nothing is near."""
    if language_tag(text) is not None:
        return ""
    spelt = {**{code: code for code in NAMES}, **TAGS, **CODES}
    near = difflib.get_close_matches(name_key(text), spelt, n=8)
    # Many codes of three letters are as near as the one of a large language, which is likelier meant.
    tags = sorted(dict.fromkeys(spelt[key] for key in near), key=lambda tag: len(tag.partition("-")[0]))[:3]
    listed = ", ".join(f"{tag!r} ({NAMES[tag.partition('-')[0]]})" for tag in tags)
    return f" (did you mean {listed}?)" if listed else ""


def matching(tag: str, languages: Sequence[str]) -> str | None:
    """Which of `languages` a canonical tag stands for: itself, or else the nearest broader one; None for neither."""
    while tag not in languages and "-" in tag:
        tag = tag[: tag.rindex("-")]
    return tag if tag in languages else None


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
