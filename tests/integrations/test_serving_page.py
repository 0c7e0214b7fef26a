"""The servers of docs/serving.md: that of FastAPI as a process, asked over the network; vLLM's is in tests/serving."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from integration_helpers import save_steered
from transformers import AutoModelForCausalLM, AutoTokenizer

from clas_models import FAMILIES

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.slow
CHECKOUT = Path(__file__).parents[2]
SECONDS = 120.0
PROMPTS = ["Guten Tag!", "Good day to you", "Noch einer"]


def block(number: int) -> str:
    """A Python block of the page."""
    page = (CHECKOUT / "docs" / "serving.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)[number]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_steered(tmp_path_factory.mktemp("served") / "steered", FAMILIES["llama"], language="de")


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = folder.parent / "server.py"
    script.write_text(block(0), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    with (folder.parent / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, script, folder, str(port)], env=environment, stdout=log, stderr=log, cwd=folder.parent
        )
        try:
            deadline = time.monotonic() + SECONDS
            while True:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail((folder.parent / "log").read_text())
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/docs", timeout=5).close()
                    break
                except (urllib.error.URLError, ConnectionError, TimeoutError):
                    time.sleep(0.3)
            yield f"http://127.0.0.1:{port}/answers"
        finally:
            server.terminate()
            server.wait(60)


def ask(url: str, **request: Any) -> Any:
    body = json.dumps({"max_new_tokens": 6, **request}).encode()
    call = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(call, timeout=SECONDS) as answer:
        return json.load(answer)


def expected(folder: Path, prompts: list[str], languages: list[str]) -> list[str]:
    """What `generate` gives for each prompt alone."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    answers = []
    for prompt, language in zip(prompts, languages, strict=True):
        batch = tokenizer([prompt], return_tensors="pt")
        with torch.no_grad():
            output = model.generate(**batch, language=language, max_new_tokens=6)
        answers.append(tokenizer.decode(output[0, batch["input_ids"].shape[1] :], skip_special_tokens=True))
    return answers


def test_each_prompt_is_steered_in_its_language(url: str, folder: Path) -> None:
    found = ask(url, prompts=PROMPTS, languages=["de", "en", None])
    assert found == expected(folder, PROMPTS, ["de", "en", "de"])
    assert found != ask(url, prompts=PROMPTS, languages=["en", "en", "en"])


def test_requests_at_a_time(url: str, folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        calls = [("de", pool.submit(ask, url, prompts=PROMPTS[:1], languages=["de"])) for _ in range(4)]
        calls += [("en", pool.submit(ask, url, prompts=PROMPTS[:1], languages=["en"])) for _ in range(4)]
        for language, call in calls:
            assert call.result() == expected(folder, PROMPTS[:1], [language])


@pytest.mark.parametrize("languages", [["de"], ["gibberish", "en", "en"]])
def test_a_wrong_request_is_answered_with_the_reason(url: str, languages: list[str]) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(url, prompts=PROMPTS, languages=languages)
    assert refused.value.code == 400
    assert "language" in json.load(refused.value)["detail"]
