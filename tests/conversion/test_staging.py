"""A folder appears under its final name whole or not at all, whatever befalls the process that makes it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from itertools import count
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from clas_models.conversion.staging import check_target, staged, staging_folder
from clas_models.errors import InputError

from .conftest import Converter
from .support import (
    CHECKPOINT_FILES,
    Fate,
    assert_same_bits,
    converter_running,
    file_bytes,
    masks_only,
    read_weights,
    run_elsewhere,
    save_plain,
    wait_for,
    without_masks,
)


def steered_config(folder: Path, **more: object) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "clas_llama", **more}))


def hidden(folder: Path) -> list[str]:
    """What is left beside a checkpoint."""
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


# --- the folder alone -------------------------------------------------------------------------------------------------


def test_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with staged(out, overwrite=False) as folder:
        (folder / "a").write_text("whole")
        assert not out.exists()
    assert file_bytes(out) == {"a": b"whole"}
    assert os.listdir(out.parent) == ["out"]


def test_finished_work_and_nothing_else_is_there_for_the_next_attempt(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(OSError, match="full"), staged(out, overwrite=False) as folder:
        for name in ("finished", "unfinished"):
            (folder / name).write_text(name)
        (folder / "other").mkdir()
        raise OSError("full")
    assert not out.exists()
    with staged(out, overwrite=False, keep=("finished",)) as folder:
        assert (folder / "finished").read_text() == "finished"
    assert file_bytes(out) == {"finished": b"finished"}


@pytest.mark.parametrize(("name", "left"), [("worthless", []), ("finished", [".out.incomplete"])])
def test_mistake_leaves_only_finished_work(tmp_path: Path, name: str, left: list[str]) -> None:
    with pytest.raises(InputError), staged(tmp_path / "out", overwrite=False, keep=("finished",)) as folder:
        (folder / name).write_text("a")
        raise InputError("a mistake")
    assert os.listdir(tmp_path) == left


def test_second_one_at_once_is_refused_and_does_no_harm(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with staged(out, overwrite=False) as folder:
        (folder / "a").touch()
        with pytest.raises(InputError, match="another conversion is writing it"), staged(out, overwrite=False):
            pass
    assert os.listdir(out) == ["a"]


def test_folder_that_somebody_else_made_in_the_meantime_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match="exists already"), staged(out, overwrite=False) as folder:
        (folder / "a").touch()
        out.mkdir()
        (out / "theirs").touch()
    assert os.listdir(out) == ["theirs"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_existing_folder_is_replaced_only_if_told_to_and_steered(tmp_path: Path, overwrite: bool) -> None:
    out = tmp_path / "out"
    steered_config(out)
    (out / "old").touch()
    if overwrite:
        with staged(out, overwrite=True) as folder:
            (folder / "new").touch()
            assert (out / "old").exists()
        assert os.listdir(out) == ["new"]
        assert hidden(tmp_path) == []
    else:
        with pytest.raises(InputError, match="exists already; give another --out, or --overwrite"):
            check_target(out, overwrite=False)


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
    assert os.listdir(tmp_path / "out") == ["a"]


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
        assert_same_bits(without_masks(read_weights(out)), read_weights(plain))


def test_killed_at_one_change_on_disk_after_the_other(sharded: Path, corpus_file: Path, tmp_path: Path) -> None:
    """Each run meets what the killed ones before it have left; the last is not killed and makes what one alone makes."""
    out = tmp_path / "out"
    killed = 0
    for change in count(1, 9):
        ended = run_elsewhere(arguments(sharded, corpus_file), Fate(tmp_path, change=change))
        if ended.status == 0:
            break
        assert ended.status == -signal.SIGKILL, ended.err
        killed += 1
        assert_absent_or_whole(out, sharded)
    assert killed > 8
    assert hidden(tmp_path) == []
    assert run_elsewhere(arguments(sharded, corpus_file, "alone"), Fate(tmp_path)).status == 0
    assert file_bytes(out) == file_bytes(tmp_path / "alone")


def test_killed_while_it_replaces_a_checkpoint(
    steered_folder: Path, converter: Converter, tmp_path: Path, sharded: Path
) -> None:
    """Near the end of a run, the old checkpoint gives way to the new one."""
    given = [steered_folder, "--overwrite", "--bridge-layers", "3", "--out", tmp_path / "out"]
    converter.made(*given)
    changes = count_of_changes([*given], tmp_path)
    for change in range(changes - 12, changes + 1):
        ended = run_elsewhere(given, Fate(tmp_path, change=change))
        assert ended.status == -signal.SIGKILL
        assert_absent_or_whole(tmp_path / "out", sharded)
    assert run_elsewhere(given, Fate(tmp_path)).status == 0
    assert_absent_or_whole(tmp_path / "out", sharded)
    assert hidden(tmp_path) == []


def count_of_changes(given: list[object], folder: Path) -> int:
    """How many changes on disk a run makes: the first number that it survives, less one."""
    low, high = 1, 400
    while low < high:
        middle = (low + high) // 2
        ended = run_elsewhere(given, Fate(folder, change=middle))
        low, high = (middle + 1, high) if ended.status else (low, middle)
    return low - 1


@pytest.mark.parametrize("words", ["profiling:  ", "profiling: 100%"])
def test_killed_before_the_profile_is_finished(
    sharded: Path, corpus_file: Path, tmp_path: Path, words: str, converter: Converter
) -> None:
    ended = run_elsewhere(arguments(sharded, corpus_file), Fate(tmp_path, words=words))
    assert ended.status == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    again = converter.made(*arguments(sharded, corpus_file))
    assert "profiling: 100%" in again.err


@pytest.mark.parametrize("words", ["weights:", "checking what was written"])
def test_finished_profile_is_not_computed_twice(
    sharded: Path, corpus_file: Path, tmp_path: Path, words: str, converter: Converter
) -> None:
    ended = run_elsewhere(arguments(sharded, corpus_file), Fate(tmp_path, words=words))
    assert ended.status == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    again = converter.made(*arguments(sharded, corpus_file))
    assert "profile: finished by an earlier attempt" in again.err
    assert "profiling" not in again.err
    converter.made(*arguments(sharded, corpus_file, "alone"))
    assert file_bytes(tmp_path / "out") == file_bytes(tmp_path / "alone")


@pytest.mark.parametrize(
    "change",
    [["--languages", "en,de"], ["--samples", "2"], ["--max-length", "7"], ["--dtype", "bfloat16"]],
    ids=lambda change: change[0],
)
def test_profile_of_another_attempt_is_not_mistaken_for_this_one(
    sharded: Path, corpus_file: Path, tmp_path: Path, change: list[str], converter: Converter
) -> None:
    run_elsewhere(arguments(sharded, corpus_file), Fate(tmp_path, words="weights:"))
    again = converter.made(*arguments(sharded, corpus_file), *change)
    assert "profiling: 100%" in again.err


def test_profile_is_finished_whatever_it_is_used_for(
    sharded: Path, corpus_file: Path, tmp_path: Path, converter: Converter
) -> None:
    run_elsewhere(arguments(sharded, corpus_file), Fate(tmp_path, words="weights:"))
    options = ["--bridge-layers", "1-2", "--statistic", "frequency", "--threshold", "0.4", "--alpha", "2", "--beta", "1"]
    again = converter.made(*arguments(sharded, corpus_file), *options)
    assert "profile: finished by an earlier attempt" in again.err


def test_nothing_of_an_attempt_at_another_model_is_published(
    sharded: Path, corpus_file: Path, tmp_path: Path, converter: Converter
) -> None:
    (sharded / "chat_template.jinja").write_text("{{ messages }}")
    run_elsewhere(arguments(sharded, corpus_file), Fate(tmp_path, words="checking what was written"))
    staging = staging_folder(tmp_path / "out")
    assert (staging / "chat_template.jinja").exists()
    assert (staging / "model-00003-of-00006.safetensors").exists()
    other = save_plain(tmp_path / "other", seed=1)
    converter.made(other, "--corpus", corpus_file, "--out", tmp_path / "out")
    shards = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    assert set(os.listdir(tmp_path / "out")) == CHECKPOINT_FILES | shards
    assert_same_bits(without_masks(read_weights(tmp_path / "out")), read_weights(other))


def test_two_conversions_at_once_to_the_same_folder(
    sharded: Path, corpus_file: Path, tmp_path: Path, converter: Converter
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
    assert ended.err.splitlines()[-1] == "convert.py: error: stopped; run the same command again to go on"
    assert "Traceback" not in ended.err
    assert not (tmp_path / "out").exists()


# --- the disk ---------------------------------------------------------------------------------------------------------


def size_of(folder: Path, name: str) -> int:
    return (folder / name).stat().st_size


@pytest.mark.parametrize(
    "name", ["neuron_profile.safetensors", "neuron_categories.svg", "model-00001-of-00002.safetensors"]
)
def test_full_disk(
    plain_folder: Path, corpus_file: Path, tmp_path: Path, steered_folder: Path, converter: Converter, name: str
) -> None:
    """No file may grow as large as this one must."""
    given = [*arguments(plain_folder, corpus_file), "--quiet"]
    ended = run_elsewhere(given, Fate(tmp_path, largest_file=size_of(steered_folder, name) - 1))
    assert ended.status == 2
    (line,) = ended.err.splitlines()
    assert line.startswith("convert.py: error: ")
    assert "File too large; free or choose another disk and run again" in line
    assert not (tmp_path / "out").exists()
    assert converter.made(*given).out == f"{tmp_path / 'out'}\n"
    assert masks_only(read_weights(tmp_path / "out")).keys() == masks_only(read_weights(steered_folder)).keys()


def test_profile_that_did_not_fit_on_the_disk_is_not_mistaken_for_the_one_before(
    plain_folder: Path, corpus_file: Path, tmp_path: Path, converter: Converter, steered_folder: Path
) -> None:
    limit = Fate(tmp_path, largest_file=size_of(steered_folder, "neuron_profile.safetensors") - 1)
    smaller = run_elsewhere([*arguments(plain_folder, corpus_file), "--languages", "en,de"], limit)
    assert "weights" in smaller.err
    larger = run_elsewhere(arguments(plain_folder, corpus_file), limit)
    assert "weights" not in larger.err
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


def test_disk_that_is_read_only(plain_folder: Path, corpus_file: Path, small_disk: Path, converter: Converter) -> None:
    assert os.system(f"mount -o remount,ro {small_disk}") == 0
    message = converter.refused(plain_folder, "--corpus", corpus_file, "--out", small_disk / "out")
    assert f"{small_disk} is not a folder that can be written; give another --out" in message
