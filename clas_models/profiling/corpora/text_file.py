"""Lines and JSON objects of a UTF-8 file with their place, for messages that say where something is wrong.

What they mean is left to the corpora.
"""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...json_data import parse_json


def text_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The place and the text of every line that is not blank, without its end and without a byte order mark.

    Raises InputError: a file that is missing, cannot be read or is not UTF-8.
    """
    try:
        # Bytes, because only they tell on which line the encoding breaks, and end lines at nothing but a line feed.
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                content = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if content.strip():
                    place = f"{path}, line {number}"
                    try:
                        text = content.decode()
                    except UnicodeDecodeError as error:
                        fault = f"{error.reason} at byte {error.start}"
                        raise InputError(f"{place}: not UTF-8 ({fault}); save the file as UTF-8") from None
                    yield place, text.rstrip("\r\n")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: give the path of a file that does") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a file that can") from None


def json_objects(path: Path, remedy: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The place and the object of every line of a JSON Lines file that is not blank.

    Raises InputError: as `text_lines`, or a line is not an object, which `remedy` says what to do about.
    """
    for place, line in text_lines(path):
        try:
            record = parse_json(line)
        except ValueError as error:
            raise InputError(f"{place}: malformed JSON ({error}); {remedy}") from None
        if not isinstance(record, dict):
            raise InputError(f"{place}: {type(record).__name__} in place of an object; {remedy}")
        yield place, record
