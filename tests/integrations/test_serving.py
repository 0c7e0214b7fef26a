"""`transformers serve` and `transformers chat`: a process that has no clas_models imported, and real requests."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import transformers
from integration_helpers import one_thread, save_steered  # noqa: F401
from transformers import AutoModelForCausalLM, AutoTokenizer

from clas_models import FAMILIES

openai = pytest.importorskip("openai")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not hasattr(transformers, "AutoModelForDecision"),
        reason="this version of transformers serves no checkpoint with code of its own",
    ),
]
CLI = [sys.executable, "-m", "transformers.cli.transformers"]
NAME = "steered"  # of the model: its folder, in the working directory of server and clients
NEW = 8
QUESTION = [{"role": "user", "content": "Guten Tag!"}]
SECONDS = 120.0


@dataclass(frozen=True)
class Server:
    """A running server; `folder` is its working directory."""

    folder: Path
    url: str

    @property
    def client(self) -> Any:
        return openai.OpenAI(base_url=self.url, api_key="none", max_retries=0, timeout=SECONDS)

    def answer(self, messages: list[Any] = QUESTION, **generation: Any) -> str:
        """To a chat, with these entries in the request's generation configuration."""
        extra = {"generation_config": json.dumps({"max_new_tokens": NEW, **generation})}
        completion = self.client.chat.completions.create(model=NAME, messages=messages, extra_body=extra)
        return str(completion.choices[0].message.content)


def environment(folder: Path) -> dict[str, str]:
    """Of a process that fetches nothing and leaves nothing behind elsewhere."""
    return {
        **{key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"},  # chat would obey it at home
        "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("serving")
    save_steered(folder / NAME, FAMILIES["llama"], language="zh")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*CLI, "serve", "--trust-remote-code", *where],
            cwd=folder,
            env=environment(folder),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield Server(folder, f"http://127.0.0.1:{port}/v1")
    finally:
        process.terminate()
        process.wait(SECONDS)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + SECONDS
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            time.sleep(0.1)


def expected(server: Server, messages: list[Any], language: str) -> str:
    """What the model says in this process, with the installed package."""
    model = AutoModelForCausalLM.from_pretrained(server.folder / NAME)
    tokenizer = AutoTokenizer.from_pretrained(server.folder / NAME)
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    ids = model.generate(**inputs, language=language, max_new_tokens=NEW)
    return str(tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :]))


def test_a_request_is_answered_in_the_language_of_the_checkpoint(server: Server) -> None:
    completion = server.client.chat.completions.create(model=NAME, messages=QUESTION, max_tokens=NEW)
    assert completion.choices[0].message.content == expected(server, QUESTION, "zh") == server.answer()


def test_a_request_may_name_its_language(server: Server) -> None:
    said = {code: server.answer(language=code) for code in ("de", "en", "zh")}
    assert said == {code: expected(server, QUESTION, code) for code in said}
    assert len(set(said.values())) == 3


def test_an_answer_is_streamed(server: Server) -> None:
    extra = {"generation_config": json.dumps({"max_new_tokens": NEW, "language": "de"})}
    stream = server.client.chat.completions.create(model=NAME, messages=QUESTION, stream=True, extra_body=extra)
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(pieces) == expected(server, QUESTION, "de")
    assert len([piece for piece in pieces if piece]) > 1


def test_a_wrong_language_fails_its_request_alone(server: Server) -> None:
    with pytest.raises(openai.InternalServerError):
        server.answer(language="Hoch Deutsch")
    assert server.answer(language="de") == expected(server, QUESTION, "de")
    assert "ValueError: language: 'Hoch Deutsch' is not a language code" in (server.folder / "log").read_text()


def test_a_chat_has_a_language_and_changes_it(server: Server, tmp_path: Path) -> None:
    (tmp_path / "german.json").write_text(json.dumps({"language": "de", "max_new_tokens": NEW, "do_sample": False}))
    # After each answer of the greatest length the chat asks whether to go on.
    typed = [QUESTION[0]["content"], "n", "!set language=en", "Noch einmal!", "n", "!save", "!exit"]
    options = [f"max_new_tokens={NEW}", "do_sample=False", "--generation-config", tmp_path / "german.json"]
    ended = subprocess.run(
        [*CLI, "chat", NAME, server.url, *options, "--user", "me", "--save-folder", tmp_path],
        cwd=server.folder,
        env=environment(server.folder),
        input="\n".join(typed) + "\n",
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    (saved,) = (tmp_path / NAME).glob("chat_*.json")
    history = json.loads(saved.read_text())["chat_history"]
    assert [message["role"] for message in history] == ["user", "assistant"] * 2
    assert history[1]["content"] == expected(server, history[:1], "de") != expected(server, history[:1], "en")
    assert history[3]["content"] == expected(server, history[:3], "en") != expected(server, history[:3], "de")


def test_with_the_package_it_is_the_packages_class_that_serves(server: Server) -> None:
    model = transformers.AutoModelForDecision.from_pretrained(server.folder / NAME, trust_remote_code=True)
    assert type(model) is FAMILIES["llama"].causal_lm
