"""What a forward pass has gathered, kept in the unfinished folder for the next attempt.

Beside the file lies a request: all that it depends on.  It is taken again if nothing of that has changed.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ..atomic import atomic_file
from ..json_data import parse_json
from ..profiling.corpora import ParallelCorpus


class Saved(Protocol):
    """What can be kept."""

    def save(self, path: Path) -> None: ...


Kept = TypeVar("Kept", bound=Saved)


@dataclass(frozen=True)
class FinishedWork:
    """One kind of it: the name of its file, which is the checkpoint's own, and that of its request."""

    name: str
    request_name: str

    @property
    def files(self) -> tuple[str, str]:
        """What an attempt leaves for the next one."""
        return self.name, self.request_name

    def save(self, folder: Path, work: Saved, request: dict[str, Any] | None) -> None:
        """At no moment does a request stand beside work that is not its own, whenever this is killed.

        `request` None: the work is nothing that another attempt would have to do again.
        """
        self.forget(folder)
        work.save(folder / self.name)
        if request is not None:
            with atomic_file(folder / self.request_name) as path:
                path.write_text(json.dumps(request))

    def find(self, folder: Path, request: dict[str, Any], load: Callable[[Path], Kept]) -> Kept | None:
        """What an earlier attempt finished for the same request; None if there is no such thing."""
        try:
            if parse_json((folder / self.request_name).read_text()) != request:
                return None
            return load(folder / self.name)
        except (OSError, ValueError):
            return None

    def forget(self, folder: Path) -> None:
        """Remove the request: the work is part of a finished checkpoint now, or another's."""
        (folder / self.request_name).unlink(missing_ok=True)


def texts_digest(corpus: ParallelCorpus) -> str:
    """SHA-256 of the rows of a corpus."""
    texts = hashlib.sha256()
    for row in corpus.rows:
        texts.update(json.dumps(row).encode())
    return texts.hexdigest()
