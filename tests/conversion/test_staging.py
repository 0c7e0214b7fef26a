"""A folder appears under its final name whole or not at all, whatever befalls the process that makes it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from command import Command
from transformers import AutoModelForCausalLM

from clas_models.conversion.source import PROFILE_NAME
from clas_models.conversion.staging import check_target, staged, staging_folder
from clas_models.errors import InputError
from clas_models.profiling.neuron_profile import NeuronProfile

from .support import (
    Fate,
    assert_same_bits,
    base_only,
    checkpoint_files,
    converter_running,
    file_bytes,
    masks_only,
    names,
    read_weights,
    run_elsewhere,
    save_plain,
    wait_for,
)


def steered_config(folder: Path, **more: object) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "clas_llama", **more}))


def hidden(folder: Path) -> set[str]:
    """What is left beside a checkpoint."""
    return {name for name in names(folder) if name.startswith(".")}


def attempt(out: Path, files: Sequence[str], error: Exception) -> None:
    """Write these files and fail; what is called finished may be kept."""
    with staged(out, overwrite=False, keep=("finished",)) as folder:
        for name in files:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(name)
        raise error


# --- the folder alone -------------------------------------------------------------------------------------------------


def test_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with staged(out, overwrite=False) as folder:
        (folder / "a").write_text("whole")
        assert not out.exists()
    assert file_bytes(out) == {"a": b"whole"}
    assert names(out.parent) == {"out"}


def test_finished_work_and_nothing_else_is_there_for_the_next_attempt(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(OSError, match="full"):
        attempt(out, ["finished", "unfinished", "other/unfinished"], OSError("full"))
    assert not out.exists()
    with staged(out, overwrite=False, keep=("finished",)) as folder:
        assert (folder / "finished").read_text() == "finished"
    assert file_bytes(out) == {"finished": b"finished"}


@pytest.mark.parametrize(("name", "left"), [("worthless", set()), ("finished", {".out.incomplete"})])
def test_mistake_leaves_only_finished_work(tmp_path: Path, name: str, left: set[str]) -> None:
    with pytest.raises(InputError, match="a mistake"):
        attempt(tmp_path / "out", [name], InputError("a mistake"))
    assert names(tmp_path) == left


def test_second_one_at_once_is_refused_and_does_no_harm(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with staged(out, overwrite=False) as folder:
        (folder / "a").touch()
        with pytest.raises(InputError, match="another conversion is writing it"), staged(out, overwrite=False):
            pass
    assert names(out) == {"a"}


def test_folder_that_somebody_else_made_in_the_meantime_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def make_both() -> None:
        with staged(out, overwrite=False) as folder:
            (folder / "ours").touch()
            out.mkdir()
            (out / "theirs").touch()

    with pytest.raises(InputError, match="exists already"):
        make_both()
    assert names(out) == {"theirs"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_existing_folder_is_replaced_only_if_told_to_and_steered(tmp_path: Path, overwrite: bool) -> None:
    out = tmp_path / "out"
    steered_config(out)
    (out / "old").touch()
    if overwrite:
        with staged(out, overwrite=True) as folder:
            (folder / "new").touch()
            assert (out / "old").exists()
        assert names(out) == {"new"}
        assert hidden(tmp_path) == set()
    else:
        with pytest.raises(InputError, match="exists already; give another --out, or --overwrite"):
            check_target(out, overwrite=False)


def test_the_old_folder_has_its_name_again_where_the_new_one_cannot_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steered_config(out := tmp_path / "out")
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path == staging_folder(out):
            raise PermissionError(13, "Permission denied", str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError), staged(out, overwrite=True) as folder:
        (folder / "new").touch()
    assert names(out) == {"config.json"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_without_its_name_after_a_kill_has_it_again(tmp_path: Path, overwrite: bool) -> None:
    steered_config(tmp_path / ".out.replaced")
    error, said = (OSError, "full") if overwrite else (InputError, "exists already")
    with pytest.raises(error, match=said), staged(tmp_path / "out", overwrite=overwrite):
        raise OSError("full")
    assert names(tmp_path / "out") == {"config.json"}


def test_overwrite_leaves_alone_what_is_not_a_steered_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    steered_config(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    save_plain(tmp_path / "plain")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    for name in ("file", "link", "dangling", "plain", "photos"):
        with pytest.raises(InputError, match=f"{name}: not a steered checkpoint, so --overwrite leaves it alone"):
            check_target(tmp_path / name, overwrite=True)


def test_overwrite_takes_an_empty_folder(tmp_path: Path) -> None:
    with staged(tmp_path / "out", overwrite=False):
        pass
    with staged(tmp_path / "out", overwrite=True) as folder:
        (folder / "a").touch()
    assert names(tmp_path / "out") == {"a"}


def test_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "out", tmp_path / "file" / "deep" / "out"):
        with pytest.raises(InputError, match=f"{tmp_path / 'file'} is not a folder that can be written"):
            check_target(out, overwrite=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_parent_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="is not a folder that can be written"):
        check_target(tmp_path / "out", overwrite=False)


# --- the converter in its own process ---------------------------------------------------------------------------------


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return save_plain(tmp_path / "plain", max_shard_size="60KB")


def arguments(sharded: Path, corpus_file: Path, name: str = "out") -> list[object]:
    return [sharded, "--corpus", corpus_file, "--out", sharded.parent / name]


def assert_absent_or_whole(out: Path, plain: Path) -> None:
    if out.exists():
        model = AutoModelForCausalLM.from_pretrained(out)
        assert model.steering.bridge_layers == (3,)
        assert_same_bits(base_only(read_weights(out)), read_weights(plain))


@pytest.mark.slow
@pytest.mark.parametrize("words", ["profiling:  ", "profiling: 100%"])
def test_killed_before_the_profile_is_finished(
    sharded: Path, corpus_file: Path, tmp_path: Path, words: str, converter: Command
) -> None:
    ended = run_elsewhere(arguments(sharded, corpus_file), Fate(tmp_path, words=words))
    assert ended.status == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    again = converter.made(*arguments(sharded, corpus_file))
    assert "profiling: 100%" in again.err


@pytest.mark.slow
@pytest.mark.parametrize("words", ["weights:", "checking what was written"])
def test_finished_profile_is_not_computed_twice(
    sharded: Path, corpus_file: Path, tmp_path: Path, words: str, converter: Command
) -> None:
    ended = run_elsewhere(arguments(sharded, corpus_file), Fate(tmp_path, words=words))
    assert ended.status == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    again = converter.made(*arguments(sharded, corpus_file))
    assert "profile: finished by an earlier attempt" in again.err
    assert "profiling" not in again.err
    assert_absent_or_whole(tmp_path / "out", sharded)
    assert hidden(tmp_path) == set()


@pytest.mark.slow
def test_profile_of_an_earlier_attempt_is_used_if_and_only_if_it_is_the_one_asked_for(
    sharded: Path, corpus_file: Path, tmp_path: Path, converter: Command
) -> None:
    run_elsewhere(arguments(sharded, corpus_file), Fate(tmp_path, words="weights:"))
    left = Path(staging_folder(tmp_path / "out").rename(tmp_path / "left"))
    same = ["--bridge-layers", "1-2", "--statistic", "frequency", "--threshold", "0.4", "--alpha", "2", "--beta", "1"]
    others = [["--languages", "en,de"], ["--samples", "2"], ["--max-length", "7", "--dtype", "bfloat16"]]
    for number, options in enumerate([same, *others]):
        out = f"out{number}"
        shutil.copytree(left, staging_folder(tmp_path / out))
        again = converter.made(*arguments(sharded, corpus_file, out), *options)
        assert ("profile: finished by an earlier attempt" in again.err) == (options is same)
        assert ("profiling: 100%" in again.err) == (options is not same)


def test_nothing_of_an_attempt_at_another_model_is_published(
    sharded: Path, corpus_file: Path, tmp_path: Path, converter: Command
) -> None:
    (sharded / "chat_template.jinja").write_text("{{ messages }}")
    run_elsewhere(arguments(sharded, corpus_file), Fate(tmp_path, words="checking what was written"))
    staging = staging_folder(tmp_path / "out")
    assert (staging / "chat_template.jinja").exists()
    assert (staging / "model-00003-of-00006.safetensors").exists()
    other = save_plain(tmp_path / "other", seed=1)
    converter.made(other, "--corpus", corpus_file, "--out", tmp_path / "out")
    shards = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    assert names(tmp_path / "out") == checkpoint_files() | shards
    assert_same_bits(base_only(read_weights(tmp_path / "out")), read_weights(other))


def test_two_conversions_at_once_to_the_same_folder(
    sharded: Path, corpus_file: Path, tmp_path: Path, converter: Command
) -> None:
    fate = Fate(tmp_path, words="weights:", then="pause")
    with converter_running(arguments(sharded, corpus_file), fate) as end:
        wait_for((tmp_path / "paused").exists)
        message = converter.refused(*arguments(sharded, corpus_file))
        assert message.endswith("out: another conversion is writing it; wait for it, or give another --out")
        (tmp_path / "go").touch()
        assert end().status == 0
    assert_absent_or_whole(tmp_path / "out", sharded)
    assert len(masks_only(read_weights(tmp_path / "out"))) == 2


def test_interrupted_by_the_user(sharded: Path, corpus_file: Path, tmp_path: Path) -> None:
    ended = run_elsewhere(arguments(sharded, corpus_file), Fate(tmp_path, words="checking", then="interrupt"))
    assert ended.status == 130
    assert ended.err.splitlines()[-1] == "python convert.py: error: stopped; run the same command again to go on"
    assert "Traceback" not in ended.err
    assert not (tmp_path / "out").exists()


# --- the disk ---------------------------------------------------------------------------------------------------------


def size_of(folder: Path, name: str) -> int:
    return (folder / name).stat().st_size


@pytest.mark.parametrize("name", [PROFILE_NAME, "model-00001-of-00002.safetensors"])
def test_full_disk(
    plain_folder: Path, corpus_file: Path, tmp_path: Path, steered_folder: Path, converter: Command, name: str
) -> None:
    """No file may grow as large as this one must."""
    given = [*arguments(plain_folder, corpus_file), "--quiet"]
    ended = run_elsewhere(given, Fate(tmp_path, largest_file=size_of(steered_folder, name) - 1))
    assert ended.status == 2
    (line,) = ended.err.splitlines()
    assert line.startswith("python convert.py: error: ")
    assert "File too large; free or choose another disk and run again" in line
    assert not (tmp_path / "out").exists()
    assert converter.made(*given).out == f"{tmp_path / 'out'}\n"
    assert masks_only(read_weights(tmp_path / "out")).keys() == masks_only(read_weights(steered_folder)).keys()


def test_profile_that_did_not_fit_on_the_disk_is_not_mistaken_for_the_one_before(
    plain_folder: Path, corpus_file: Path, tmp_path: Path, converter: Command, steered_folder: Path
) -> None:
    limit = Fate(tmp_path, largest_file=size_of(steered_folder, PROFILE_NAME) - 1)
    run_elsewhere([*arguments(plain_folder, corpus_file), "--languages", "en,de"], limit)
    assert NeuronProfile.load(staging_folder(tmp_path / "out") / PROFILE_NAME).languages == ("en", "de")
    run_elsewhere(arguments(plain_folder, corpus_file), limit)
    assert NeuronProfile.load(staging_folder(tmp_path / "out") / PROFILE_NAME).languages == ("en", "de")
    again = converter.made(*arguments(plain_folder, corpus_file))
    assert "profiling: 100%" in again.err
    assert json.loads((tmp_path / "out" / "config.json").read_text())["languages"] == ["en", "de", "zh"]


@pytest.fixture
def small_disk(tmp_path: Path) -> object:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a file system")
    if os.system(f"mount -t tmpfs -o size=200k tmpfs {disk} 2>/dev/null") != 0:
        pytest.skip("no file system can be mounted here")
    yield disk
    os.system(f"umount {disk}")


def test_disk_that_is_really_full(plain_folder: Path, corpus_file: Path, small_disk: Path, tmp_path: Path) -> None:
    given = [plain_folder, "--corpus", corpus_file, "--out", small_disk / "out", "--quiet"]
    ended = run_elsewhere(given, Fate(tmp_path))
    assert ended.status == 2
    (line,) = ended.err.splitlines()
    assert "No space left on device; free or choose another disk and run again" in line
    assert not (small_disk / "out").exists()


def test_disk_that_is_read_only(plain_folder: Path, corpus_file: Path, small_disk: Path, converter: Command) -> None:
    assert os.system(f"mount -o remount,ro {small_disk}") == 0
    message = converter.refused(plain_folder, "--corpus", corpus_file, "--out", small_disk / "out")
    assert f"{small_disk} is not a folder that can be written; give another --out" in message
