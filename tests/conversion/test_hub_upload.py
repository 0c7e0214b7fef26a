"""Uploads to the Hub, against a server on this machine that speaks its protocol: what arrives, and interruptions."""

from __future__ import annotations

import hashlib
import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from huggingface_hub import __version__ as hub_version

from clas_models.conversion.source import STRENGTHS_NAME

from .hub_server import upload_hub
from .hub_state import LARGE
from .hub_world import (  # noqa: F401
    REPO,
    ROOT,
    World,
    checkpoint_fixture,
    environment,
    hub_fixture,
    python,
    sharded_fixture,
    world_fixture,
)
from .support import (
    DEADLINE,
    assert_same_bits,
    file_bytes,
    names,
    read_tensors,
    read_weights,
    save_plain,
    write_corpus,
)

pytestmark = pytest.mark.slow

# ---- what arrives


def test_conversion_ends_with_an_upload(world: World, tmp_path: Path) -> None:
    plain, corpus = save_plain(tmp_path / "plain"), write_corpus(tmp_path / "rows.jsonl")
    out = tmp_path / "out"
    given = [plain, "--corpus", corpus, "--out", out, "--quiet"]
    ended = world.pushed(*given, "--push-to-hub", REPO, "--private")
    assert (ended.out, ended.err) == (f"{out}\n{world.address}/{REPO}\n", "")
    repository = world.hub.repositories[REPO]
    assert repository.private
    assert repository.files == file_bytes(out), "every file of the checkpoint, byte for byte"
    assert len(repository.commits) == 1, "all of them appear at once"
    card = ModelCard(repository.files["README.md"].decode())
    assert f'from_pretrained("{REPO}", trust_remote_code=True)' in card.text
    assert f"pretrained={REPO},trust_remote_code=True" in card.text
    assert "PATH_OR_ID" not in card.text
    assert world.hub.validated[0] == card.content, "the Hub was asked whether the metadata is sound"


def test_finished_checkpoint_is_uploaded_without_a_model(world: World, checkpoint: Path) -> None:
    ended = world.pushed("--out", checkpoint, "--push-to-hub", "tiny-clas")
    assert ended.out == f"{world.address}/{REPO}\n", "a name alone is the user's own"
    assert world.hub.repositories[REPO].files == file_bytes(checkpoint)
    assert not world.hub.repositories[REPO].private
    assert "Upload" in ended.err, "a bar"


def test_large_files_go_in_parts_where_the_hub_wants_it(world: World, checkpoint: Path) -> None:
    world.hub.part_size = 20_000
    world.pushed("--out", checkpoint, "--push-to-hub", REPO, "--quiet")
    assert max(map(len, world.hub.parts.values())) > 2
    assert world.hub.repositories[REPO].files == file_bytes(checkpoint)


def test_fitted_strengths_are_uploaded_with_what_says_how_they_were_fitted(world: World, checkpoint: Path) -> None:
    (checkpoint / STRENGTHS_NAME).write_bytes(b"strengths")
    world.pushed("--out", checkpoint, "--push-to-hub", REPO, "--quiet")
    assert world.hub.repositories[REPO].files[STRENGTHS_NAME] == b"strengths"


def test_nothing_else_in_the_folder_is_uploaded(world: World, checkpoint: Path) -> None:
    wanted = names(checkpoint)
    for stray in (".lock", ".env", "optimizer.pt", "notes.txt", "train.py", "model-00009-of-00009.safetensors",
                  "other.safetensors", "README.md.bak", "tokenizer.json.orig", "training_args.bin"):  # fmt: skip
        (checkpoint / stray).write_text("private")
    for folder in ("de", "logs", ".cache", "tokenizer", "model-x.safetensors"):
        (checkpoint / folder).mkdir()
        (checkpoint / folder / "config.json").write_text("private")
    world.pushed("--out", checkpoint, "--push-to-hub", REPO, "--quiet")
    assert set(world.hub.repositories[REPO].files) == wanted
    assert not any(content == b"private" for content in world.hub.store.values())
    assert ".cache" not in {path.name for path in checkpoint.rglob("*") if path.parent != checkpoint}


def test_every_chat_template_is_uploaded(world: World, checkpoint: Path) -> None:
    (checkpoint / "additional_chat_templates").mkdir()
    (checkpoint / "additional_chat_templates" / "tool_use.jinja").write_text("tools")
    (checkpoint / "spiece.model").write_bytes(b"pieces")
    world.pushed("--out", checkpoint, "--push-to-hub", REPO, "--quiet")
    files = world.hub.repositories[REPO].files
    assert files["additional_chat_templates/tool_use.jinja"] == b"tools"
    assert files["spiece.model"] == b"pieces"


def test_second_upload_sends_what_has_changed(world: World, checkpoint: Path) -> None:
    world.pushed("--out", checkpoint, "--push-to-hub", REPO, "--quiet")
    card = checkpoint / "README.md"
    card.write_text(card.read_text() + "\nMore.\n")
    count = len(world.hub.received)
    world.pushed("--out", checkpoint, "--push-to-hub", REPO, "--quiet")
    repository = world.hub.repositories[REPO]
    assert (repository.commits[1:], world.hub.received[count:]) == ([(["README.md"], [])], [])
    world.pushed("--out", checkpoint, "--push-to-hub", REPO, "--quiet")
    assert len(repository.commits) == 2, "nothing new, no commit"
    assert repository.files == file_bytes(checkpoint)


def test_weights_of_an_earlier_upload_do_not_stay(world: World, checkpoint: Path, steered_folder: Path) -> None:
    """Readers that go by names, not by the index, would take them for part of the model."""
    world.pushed("--out", checkpoint, "--push-to-hub", REPO, "--quiet")
    world.hub.repositories[REPO].files["model_notes.txt"] = b"somebody's own"
    world.pushed("--out", steered_folder, "--push-to-hub", REPO, "--quiet")
    found = {path: content for path, content in world.hub.repositories[REPO].files.items() if path != "LICENSE"}
    assert found == {**file_bytes(steered_folder), "model_notes.txt": b"somebody's own"}


@pytest.mark.parametrize(
    ("form", "fault"),
    [
        (["folded", "--language", "de"], "no weights; expected model.safetensors"),
        (["ia3", "--languages", "de,zh"], "adapter_model.safetensors: missing, so the adapters are not whole"),
    ],
    ids=["folded", "ia3"],
)
def test_other_forms_are_uploaded_too(
    world: World, steered_folder: Path, tmp_path: Path, form: list[str], fault: str
) -> None:
    out = tmp_path / "form"
    world.pushed(steered_folder, "--format", *form, "--out", out, "--quiet", "--push-to-hub", REPO)
    (out / "notes.txt").touch()
    expected = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    del expected["notes.txt"]
    assert world.hub.repositories[REPO].files == expected
    max(out.rglob("*model*.safetensors")).unlink()
    assert fault in world.convert.refused("--out", out, "--push-to-hub", REPO)


def test_hub_that_finds_fault_with_the_metadata(world: World, checkpoint: Path) -> None:
    """The library asks before it uploads anything."""
    (checkpoint / "README.md").write_text("---\n- a list\n---\n")
    line = world.convert.refused("--out", checkpoint, "--push-to-hub", REPO, "--quiet")
    assert f"{REPO}: the upload broke off (Invalid metadata in README.md. - metadata is not a mapping)" in line
    assert world.hub.received == []


@pytest.mark.skipif(hub_version < "2", reason="asks the real Hub, wherever the others go")
def test_library_s_validator_takes_the_card_as_it_is(world: World, checkpoint: Path) -> None:
    card = ModelCard.load(checkpoint / "README.md")
    card.validate()
    assert world.hub.validated == [card.content]


# ---- interruptions


def test_upload_goes_on_after_an_interruption(world: World, checkpoint: Path) -> None:
    """Control-C in the middle of the large files; then the command that the message gives."""
    world.hub.held = True
    process = subprocess.Popen(
        [sys.executable, "convert.py", "--out", checkpoint, "--push-to-hub", REPO, "--private", "--quiet"],
        cwd=ROOT,
        env=environment(world.address, world.token_file.parent, HF_HUB_DISABLE_XET="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # In the background of a shell the tests themselves ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert world.hub.half.wait(DEADLINE)
        world.hub.held = False
        process.send_signal(signal.SIGINT)
        time.sleep(3)  # until it has let go of the files that were to follow
        world.hub.released.set()
        out, err = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "")
    (line,) = err.splitlines()
    assert line.startswith(f"python convert.py: error: stopped; the checkpoint in {checkpoint} is whole, go on with: ")
    assert world.hub.repositories[REPO].files == {}, "nothing half is in the repository"
    before = list(world.hub.received)
    large = {name for name in names(checkpoint) if name.endswith(LARGE)}
    assert len(before) < len(large), "not everything had arrived"
    command = shlex.split(line.partition("go on with: ")[2])
    assert command[:2] == ["python", "convert.py"]
    world.pushed(*command[2:], "--quiet")
    assert world.hub.repositories[REPO].files == file_bytes(checkpoint)
    assert world.hub.repositories[REPO].private
    sent = world.hub.received[len(before) :]
    assert len(sent) == len(large) - len(before), "what had arrived is not sent again"
    assert not set(sent) & set(before)


def test_broken_connection_is_mended_on_the_way(world: World, checkpoint: Path) -> None:
    world.hub.cut = 1
    world.pushed("--out", checkpoint, "--push-to-hub", REPO, "--quiet")
    assert world.hub.cut == 0
    assert world.hub.repositories[REPO].files == file_bytes(checkpoint)


def test_connection_that_breaks_at_the_last_step(world: World, checkpoint: Path) -> None:
    world.hub.cut_commits = 1
    line = world.convert.refused("--out", checkpoint, "--push-to-hub", REPO, "--quiet")
    assert f"{REPO}: the upload broke off (RemoteProtocolError: " in line
    resume = f"python convert.py --out {checkpoint} --push-to-hub {REPO}"
    assert line.endswith(f"; the checkpoint in {checkpoint} is whole, go on with: {resume}")
    count = len(world.hub.received)
    world.pushed(*shlex.split(resume)[2:], "--quiet")
    assert len(world.hub.received) == count
    assert world.hub.repositories[REPO].files == file_bytes(checkpoint)


def test_store_that_refuses(world: World, checkpoint: Path) -> None:
    world.hub.storage_status = 403
    line = world.convert.refused("--out", checkpoint, "--push-to-hub", REPO, "--quiet")
    assert f"{REPO}: the upload broke off (403 " in line


# ---- the other ways there


CONVERTER = """
import sys
from clas_models.conversion.cli import main
for _ in range(2):
    status = main(["--out", *sys.argv[1:], "--quiet"])
sys.exit(status)
"""


def test_upload_the_xet_way(checkpoint: Path, tmp_path: Path) -> None:
    """The way to the real Hub where the package hf_xet is installed: large files go to a store of their own."""
    pytest.importorskip("hf_xet")
    with upload_hub() as (address, hub):
        hub.xet = tmp_path / "store"
        python(CONVERTER, checkpoint, "--push-to-hub", REPO, address=address, home=tmp_path / "home")
    repository = hub.repositories[REPO]
    assert set(repository.files) == names(checkpoint)
    for path in checkpoint.iterdir():
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        assert repository.files[path.name] == (f"xet {digest}".encode() if path.name.endswith(LARGE) else content)
    stored = sum(path.stat().st_size for path in hub.xet.rglob("*") if path.is_file())
    assert stored > 0.9 * sum(path.stat().st_size for path in checkpoint.glob("model-*.safetensors"))
    assert hub.received == [], "no large file went the other way"
    assert len(repository.commits) == 1, "the second call found everything there"


MODEL = """
import sys
import torch
import clas_models
from transformers import AutoModelForCausalLM
folder, repo = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(folder)
model.set_steering(alpha=-3)
model.push_to_hub(repo, private=True)
pulled = AutoModelForCausalLM.from_pretrained(repo)
assert type(pulled) is type(model)
assert pulled.steering == model.steering, pulled.steering
found, expected = pulled.state_dict(), model.state_dict()
assert found.keys() == expected.keys()
for name in expected:
    assert torch.equal(found[name], expected[name]), name
print(sum(int(mask.sum()) for name, mask in found.items() if name.endswith("_mask")))
"""


def test_push_to_hub_of_a_model(checkpoint: Path, tmp_path: Path) -> None:
    with upload_hub() as (address, hub):
        home = tmp_path / "home"
        printed = python(MODEL, checkpoint, REPO, address=address, home=home, HF_HUB_DISABLE_XET="1")
    assert int(printed) > 0, "there are masks"
    repository = hub.repositories[REPO]
    assert repository.private
    code = {name for name in names(checkpoint) if name.endswith(".py")}
    assert set(repository.files) == {"config.json", "generation_config.json", "model.safetensors", "README.md", *code}
    for name in code:
        assert repository.files[name] == (checkpoint / name).read_bytes()
    config = json.loads(repository.files["config.json"])
    assert (config["alpha"], config["auto_map"]) == (
        -3,
        json.loads((checkpoint / "config.json").read_text())["auto_map"],
    )
    (tmp_path / "model.safetensors").write_bytes(repository.files["model.safetensors"])
    assert_same_bits(read_tensors(tmp_path / "model.safetensors"), read_weights(checkpoint))
