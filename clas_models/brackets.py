"""Text in which brackets keep together what commas or words would part."""

import re

from .errors import InputError


def split(text: str, pattern: str) -> list[str]:
    """As `re.split`, but only where no bracket is open: `a,(b,c)` at commas is `a` and `(b,c)`.

    Raises InputError: a bracket that does not close, or that nobody opened.
    """
    outside = _outside(text)
    parts, start = [], 0
    for found in re.finditer(pattern, outside):
        parts += [text[start : found.start()], *found.groups()]
        start = found.end()
    return [*parts, text[start:]]


def unwrapped(text: str) -> str | None:
    """What stands between brackets, if one pair is around the whole text: `a or b` of `(a or b)`; else None.

    Raises InputError: as `split`.
    """
    text = text.strip()
    _outside(text)
    whole = text.startswith("(") and _closings(text) == [len(text) - 1]
    return text[1:-1].strip() if whole else None


_INSIDE = "\0"  # in place of brackets, and of all between them


def _outside(text: str) -> str:
    depth, found = 0, []
    for character in text:
        depth += character == "("
        found.append(_INSIDE if depth else character)
        depth -= character == ")"
        if depth < 0:
            break
    if depth:
        raise InputError(f"{text!r}: a bracket {'does not close' if depth > 0 else 'closes that nobody opened'}")
    return "".join(found)


def _closings(text: str) -> list[int]:
    """Where the outermost brackets close."""
    depth, found = 0, []
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == ")" and not depth:
            found.append(place)
    return found
