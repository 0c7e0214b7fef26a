"""What the tests of uploads share: a Hub, a converter that knows it, and a checkpoint of several shards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from command import Ended
from huggingface_hub import close_session, constants

from .hub_server import upload_hub
from .hub_state import OWNER, TOKEN, HubState
from .support import DEADLINE, run_main, save_plain, write_corpus

ROOT = Path(__file__).parents[2]
REPO = f"{OWNER}/tiny-clas"


@dataclass(frozen=True)
class World:
    """A Hub and a converter that knows it; the token lies where `hf auth login` puts it."""

    address: str
    hub: HubState
    token_file: Path
    convert: Any

    def pushed(self, *arguments: object) -> Ended:
        """A command that must succeed."""
        ended: Ended = self.convert.made(*arguments)
        return ended


@pytest.fixture(scope="module", name="hub_address_and_state")
def hub_fixture() -> Iterator[tuple[str, HubState]]:
    with upload_hub() as (address, hub):
        yield address, hub


@pytest.fixture(name="world")
def world_fixture(
    hub_address_and_state: Any,
    converter: Any,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    """The Hub as new, and somebody logged in.

    The library's settings are what its environment variables would make them, had they been there when it was imported.
    """
    address, hub = hub_address_and_state
    hub.clear()
    token_file = tmp_path_factory.mktemp("home") / "token"
    token_file.write_text(TOKEN)
    for name, value in {"ENDPOINT": address, "HF_TOKEN_PATH": str(token_file), "HF_HUB_DISABLE_XET": True}.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    close_session()  # it would remember proxies
    return World(address, hub, token_file, converter)


@pytest.fixture(scope="module", name="sharded")
def sharded_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    plain = save_plain(folder / "plain", max_shard_size="60KB")
    (plain / "LICENSE").write_text("MIT")
    corpus = write_corpus(folder / "rows.jsonl")
    assert run_main([plain, "--corpus", corpus, "--out", folder / "out", "--quiet", "--alpha", "1"]) == 0
    return folder / "out"


@pytest.fixture(name="checkpoint")
def checkpoint_fixture(sharded: Path, tmp_path: Path) -> Path:
    """A steered checkpoint of several shards."""
    return Path(shutil.copytree(sharded, tmp_path / "out"))


def environment(address: str, home: Path, **settings: str) -> dict[str, str]:
    """Of a process for which the Hub is at `address`, and somebody logged in."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    own = {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_TOKEN": TOKEN, "NO_PROXY": "127.0.0.1"}
    return {**inherited, **own, "OMP_NUM_THREADS": "1", **settings}


def python(code: str, *arguments: object, address: str, home: Path, **settings: str) -> str:
    """What a script prints in a process of its own, for which the Hub is at `address`."""
    ended = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment(address, home, **settings),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
