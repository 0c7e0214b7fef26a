"""Lines of a UTF-8 file with their place, for messages that say where something is wrong.

What a line means is left to the corpora.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from ...errors import InputError


def text_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The place and the text of every line that is not blank, without its end and without a byte order mark.

    Raises:
        InputError: a file that is missing, cannot be read or is not UTF-8.
    """
    try:
        # Bytes, because only they tell on which line the encoding breaks, and end lines at nothing but a line feed.
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                content = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if content.strip():
                    place = f"{path}, line {number}"
                    yield place, _decode(content, place).rstrip("\r\n")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: give the path of a file that does") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a file that can") from None


def _decode(content: bytes, place: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{place}: not UTF-8 ({error.reason} at byte {error.start}); save the file as UTF-8") from None
