"""Language codes: how they are written, and which of them a corpus can serve.

Codes are ISO 639-1 in lower case, with an optional region (`pt-br`).  What a code means to a model is not decided here.
"""

import re
from collections.abc import Iterable, Sequence

from ...errors import InputError

_CODE = re.compile(r"[a-z]{2,3}(-[a-z0-9]+)*")


def is_code(text: str) -> bool:
    """Whether `text` is a language code as this package writes them: lower case, `de` or `pt-br`."""
    return _CODE.fullmatch(text) is not None


def normalise_codes(codes: Sequence[str], place: str = "languages") -> tuple[str, ...]:
    """The codes in lower case and in the given order.

    Raises InputError: no code, something that is not a code, or the same code twice; `place` says where.
    """
    # A string is a sequence of strings too, and "de" would silently become the languages "d" and "e".
    if isinstance(codes, str):
        raise InputError(f"{place}: {codes!r} is one text, give a list of codes")
    if not codes:
        raise InputError(f"{place}: the list is empty, give at least one code such as en")
    lowered = tuple(code.strip().lower() for code in codes)
    for code in lowered:
        if not is_code(code):
            raise InputError(f"{place}: {code!r} is not a language code, write it like de or pt-br")
        if lowered.count(code) > 1:
            raise InputError(f"{place}: {code!r} is given more than once, name every language once")
    return lowered


def pick_languages(wanted: Sequence[str] | None, available: Iterable[str], corpus: str) -> tuple[str, ...]:
    """The wanted languages in their order, or every available one if none was asked for.

    Raises InputError: languages that the corpus does not have; the message lists those that it has.
    """
    available = tuple(available)
    if wanted is None:
        return available
    missing = [code for code in wanted if code not in available]
    if missing:
        raise InputError(f"corpus {corpus} has no {', '.join(missing)}: choose among {', '.join(available)}")
    return tuple(wanted)
