"""What the Hub of the tests holds, how it behaves, and what it was asked; `hub_server.py` speaks for it."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

import yaml

OWNER = "someone"
TOKEN = "hf_a_token_of_someone"
LARGE = (".safetensors", ".png", ".bin", ".pt")  # what the Hub's default .gitattributes sends to the large-file store


def git_digest(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@dataclass
class Repository:
    """What a repository holds: `files` by path, and for each commit the paths that it added and removed."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    commits: list[tuple[list[str], list[str]]] = field(default_factory=list)

    @property
    def head(self) -> str:
        return hashlib.sha1(repr((self.commits, sorted(self.files))).encode(), usedforsecurity=False).hexdigest()

    def large_digest(self, path: str) -> str:
        """The SHA-256 of a large file; of one that went the Xet way, which is all that the Hub knows of it."""
        content = self.files[path]
        return content[4:].decode() if content.startswith(b"xet ") else hashlib.sha256(content).hexdigest()

    @property
    def tags(self) -> list[str]:
        """Those that the card's metadata names."""
        head, _, rest = self.files.get("README.md", b"").decode().partition("---\n")
        metadata = yaml.safe_load(rest.partition("\n---")[0]) if not head and rest else None
        return list((metadata or {}).get("tags", []))


@dataclass
class HubState:
    """What a Hub holds, how it behaves, and what it was asked.

    Attributes:
        repositories: by id.
        role: of the token: "write" or "read".
        closed: namespaces in which the token may read and nothing else.
        store: the large-file store, by SHA-256; `parts` those of uploads in parts.
        part_size: large files go in parts of so many bytes; None is one piece.
        cut: how often the connection breaks in the middle of a large file.
        cut_commits: how often it breaks when a commit is sent.
        held: whether the store reads half of a large file and then waits until `released` is set; `half` tells when.
        storage_status: what the store answers.
        xet: a folder that takes large files the Xet way, in which the Hub never sees them; None is without.
        requests: method and path, in the order in which they came.
        received: the SHA-256 of every large file that arrived whole.
        validated: the cards whose metadata was to be checked.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    role: str = "write"
    closed: set[str] = field(default_factory=set)
    store: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    part_size: int | None = None
    cut: int = 0
    cut_commits: int = 0
    held: bool = False
    released: threading.Event = field(default_factory=threading.Event)
    half: threading.Event = field(default_factory=threading.Event)
    storage_status: int = 200
    xet: Path | None = None
    requests: list[str] = field(default_factory=list)
    received: list[str] = field(default_factory=list)
    validated: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def clear(self) -> None:
        """As it was when it was new."""
        self.__dict__.update(HubState().__dict__)
