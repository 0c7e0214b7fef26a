"""Which text a profile has seen: short hashes of its lines, so that an evaluation can tell what of its own is among it.

A row of a corpus may be several fields, a line or more each; a line that two texts share is enough to say so.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

MOST = 100_000  # lines that are kept: the metadata of a file must not grow with a corpus of millions of rows
_SHORTEST = 10  # bytes: shorter lines, such as "Yes", are in many texts
_HASH_BYTES = 6


@dataclass(frozen=True)
class SeenText:
    """What a profile's file says: hashes of `lines`, None where it is too old to have any, and names of corpora."""

    lines: frozenset[str] | None
    corpus: tuple[str, ...]

    def has(self, text: str) -> bool:
        """Whether a line of `text` was profiled."""
        return self.lines is not None and not self.lines.isdisjoint(line_hashes(text))


def line_hashes(text: str) -> Iterator[str]:
    """Of every line that is long enough to tell texts apart, without blanks around it."""
    for line in text.splitlines():
        content = line.strip().encode()
        if len(content) >= _SHORTEST:
            yield blake2b(content, digest_size=_HASH_BYTES).hexdigest()


def checked_hashes(lines: Any) -> frozenset[str]:
    """What a file says of its lines. Raises TypeError: not a list of texts."""
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise TypeError(f"lines {lines!r:.80}: not a list of hashes")
    return frozenset(lines)


def read_seen_text(path: Path, key: str) -> SeenText:
    """What a profile's file says in the field `key` of its metadata; the tensors are not read.

    Nothing is raised for a file that cannot be read: whoever needs more of it will say so.
    """
    try:
        with safe_open(path, "pt") as file:
            described: dict[str, Any] = json.loads((file.metadata() or {}).get(key, "{}"))
        lines = described.get("lines")
        return SeenText(None if lines is None else frozenset(lines), tuple(described["provenance"]["corpus"]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError):
        return SeenText(None, ())
