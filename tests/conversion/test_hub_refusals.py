"""Uploads that cannot be: found out before a conversion begins, and before a repository is made."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from .hub_state import TOKEN, Repository
from .hub_world import REPO, World, checkpoint_fixture, hub_fixture, sharded_fixture, world_fixture  # noqa: F401
from .support import names, run_main, save_plain, write_corpus

# ---- what is refused before a conversion begins


@pytest.fixture
def conversion(tmp_path: Path) -> list[object]:
    """A conversion that would work; nothing of it may be begun."""
    plain, corpus = save_plain(tmp_path / "plain"), write_corpus(tmp_path / "rows.jsonl")
    return [plain, "--corpus", corpus, "--out", tmp_path / "out"]


def refused(world: World, conversion: list[object], *options: object) -> str:
    folder = Path(str(conversion[-1])).parent
    before = names(folder)
    line: str = world.convert.refused(*conversion, *options)
    assert names(folder) == before, "work was done in vain"
    return line


def test_no_token(world: World, conversion: list[object]) -> None:
    world.token_file.unlink()
    line = refused(world, conversion, "--push-to-hub", REPO)
    assert line == f"{REPO}: an upload needs a token; log in with `hf auth login`, or set HF_TOKEN"
    assert world.hub.requests == []


def test_token_that_the_hub_does_not_know(world: World, conversion: list[object]) -> None:
    world.token_file.write_text("hf_another")
    line = refused(world, conversion, "--push-to-hub", REPO)
    assert line == f"{REPO}: the Hub does not know the token; log in again with `hf auth login`"


def test_token_that_may_only_read(world: World, conversion: list[object]) -> None:
    world.hub.role = "read"
    line = refused(world, conversion, "--push-to-hub", REPO)
    assert line == f"{REPO}: the token may only read; make one that may write in the Hub's settings"


@pytest.mark.parametrize("exists", [False, True])
def test_no_right_to_write(world: World, conversion: list[object], exists: bool) -> None:
    world.hub.closed.add("others")
    if exists:
        world.hub.repositories["others/model"] = Repository(private=False)
    line = refused(world, conversion, "--push-to-hub", "others/model")
    assert line == (
        "others/model: the token has no right to write there; give a repository of yours, or a token that may write"
    )


@pytest.mark.parametrize("name", ["a/b/c", "some one/model", "someone/-model-", "someone/mod--el", ""])
def test_name_that_is_none(world: World, conversion: list[object], name: str) -> None:
    line = refused(world, conversion, "--push-to-hub", name)
    assert line == f"{name!r} is no name of a repository: write owner/name, with letters, digits, '-', '_' and '.'"


def test_public_repository_where_a_private_one_is_wanted(world: World, conversion: list[object]) -> None:
    world.hub.repositories[REPO] = Repository(private=False)
    line = refused(world, conversion, "--push-to-hub", REPO, "--private")
    assert line.startswith(f"{REPO}: exists and is public, which --private does not change; make it private")


def test_repository_that_holds_another_model(world: World, conversion: list[object]) -> None:
    world.hub.repositories[REPO] = Repository(private=False, files={"model.safetensors": b"precious"})
    line = refused(world, conversion, "--push-to-hub", REPO)
    assert line == f"{REPO}: holds another model already; give another name, or empty the repository"


def test_output_that_exists(world: World, checkpoint: Path) -> None:
    line = world.convert.refused(checkpoint.parent / "gone", "--out", checkpoint, "--push-to-hub", REPO)
    assert f"{checkpoint}: exists already; leave MODEL out to upload it as it is, or give another --out" in line
    assert world.hub.requests == []


def test_mistyped_model_is_found_before_a_repository_is_made(world: World, conversion: list[object]) -> None:
    line = refused(world, ["./plian", *conversion[1:]], "--push-to-hub", REPO)
    assert line == "./plian: no such folder or file, and not a Hub id of the form owner/name"
    assert world.hub.repositories == {}


def test_bad_option_is_found_before_a_repository_is_made(world: World, conversion: list[object]) -> None:
    assert "samples 0: must be at least 1" in refused(world, conversion, "--samples", 0, "--push-to-hub", REPO)
    assert world.hub.repositories == {}


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["MODEL", "--private"], "--private says how --push-to-hub makes a repository; give that, too"),
        (["--demo", "--push-to-hub", "a/b"], "--demo uploads nothing; leave out --push-to-hub"),
        (["--push-to-hub", "a/b"], "--push-to-hub needs a MODEL to convert, or --out, a finished checkpoint"),
        (
            ["--out", "DIR", "--push-to-hub", "a/b", "--alpha", "2"],
            "--alpha is for a conversion, and there is no MODEL",
        ),
        ([], "give a MODEL, or --demo"),
    ],
)
def test_options_that_make_no_sense_together(
    options: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(options) == 2
    assert f"python convert.py: error: {fault}" in capsys.readouterr().err


# ---- folders that cannot be uploaded


def test_folder_that_is_no_checkpoint(world: World, checkpoint: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    plain = save_plain(tmp_path / "plain")
    (checkpoint / "model-00002-of-00006.safetensors").unlink()
    for folder, fault in (
        (tmp_path / "gone", "no such folder; give the folder of a finished checkpoint with --out"),
        (empty, "no config.json: an empty folder"),
        (plain, "not a steered checkpoint (model type 'llama'); convert it first"),
        (checkpoint, "the shard is missing, the index names it"),
    ):
        assert fault in world.convert.refused("--out", folder, "--push-to-hub", REPO)
    assert world.hub.requests == []


# ---- where the Hub is not


@pytest.mark.slow
def test_unreachable_hub(checkpoint: Path, converter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # nobody listens there when it is closed
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    line = converter.refused("--out", checkpoint, "--push-to-hub", REPO)
    assert line.startswith(f"{REPO}: the Hub cannot be reached (ConnectError: ")
    assert line.endswith("; check the connection and run again")


def test_offline_mode(checkpoint: Path, converter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    line = converter.refused("--out", checkpoint, "--push-to-hub", REPO)
    assert line == f"{REPO}: nothing can be uploaded while HF_HUB_OFFLINE is set; unset it"
