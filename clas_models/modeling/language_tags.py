"""Languages as users name them, as one canonical tag, such as "de", "zh-Hant" or "pt-BR".

A language is named by any code of ISO 639, with script or region where that matters, or by its English name.  Which
languages there are is said in `language_names.py`; the ids that travel through the layers are `language.py`'s.
"""

import difflib
import re
from collections.abc import Sequence

from .language_names import CODES, NAMES, TAGS, USUAL_SCRIPTS, name_key

_FORM = re.compile(r"[a-z]{2,3}(-[a-z0-9]+)*")


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
