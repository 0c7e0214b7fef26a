"""What the tests of the converter share: tiny checkpoints on disk, a corpus, and the converter in its own process."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from command import Ended
from conftest import byte_tokenizer, tiny_plain
from safetensors.torch import load_file, save_file

from clas_models import FAMILIES
from clas_models.conversion.cli import main
from clas_models.modeling.tensor_names import is_added, is_mask

LLAMA, QWEN2 = FAMILIES["llama"], FAMILIES["qwen2"]
ROWS = [
    {"en": "The cat sleeps.", "de": "Die Katze schläft.", "zh": "猫在睡觉。"},
    {"en": "It rains in spring.", "de": "Im Frühling regnet es.", "zh": "春天下雨。"},
    {"en": "Bread is on the table.", "de": "Brot liegt auf dem Tisch.", "zh": "桌上有面包。"},
    {"en": "We walk home.", "de": "Wir gehen nach Hause.", "zh": "我们走回家。"},
]
_FILES = {
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "neuron_categories.png",
    "neuron_categories.svg",
    "neuron_profile.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}
_CODE = {
    "add.py",
    "auto_language.py",
    "configuration_clas.py",
    "derived.py",
    "family.py",
    "fitted.py",
    "generation_clas.py",
    "heads_clas.py",
    "language.py",
    "language_tags.py",
    "language_detector.py",
    "language_names.py",
    "layers_clas.py",
    "masks.py",
    "modeling_clas.py",
    "name_tables.py",
    "offloading.py",
    "positions.py",
    "pretrained_clas.py",
    "rule.py",
    "scale.py",
    "steering.py",
    "tensor_names.py",
    "vectors.py",
    "version.py",
    "write.py",
}
DEADLINE = 120.0  # seconds, for another process that does what it should


def checkpoint_files(family: Any = LLAMA) -> set[str]:
    """The names of a steered checkpoint's files, but for the shards."""
    return {*_FILES, *_CODE, f"clas_{family.base}.py"}


def write_corpus(path: Path, rows: Sequence[dict[str, Any]] = ROWS) -> Path:
    """A JSON Lines file with these rows."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def save_plain(
    folder: Path,
    family: Any = LLAMA,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    max_shard_size: str = "1GB",
    **overrides: Any,
) -> Path:
    """A tiny plain checkpoint with the byte tokenizer."""
    tiny_plain(family, seed, **overrides).to(dtype).save_pretrained(folder, max_shard_size=max_shard_size)
    byte_tokenizer().save_pretrained(folder)
    return folder


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors in a safetensors file, in memory: the file may be written anew."""
    return {name: tensor.clone() for name, tensor in load_file(path).items()}


def change_tensors(path: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Change a safetensors file in place."""
    tensors = read_tensors(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor in the folder's weights."""
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        tensors |= read_tensors(path)
    return tensors


def base_only(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not is_added(name)}


def masks_only(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if is_mask(name)}


def assert_same_bits(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """The same tensors by name, shape, dtype and bytes."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].shape == tensor.shape, name
        assert torch.equal(found[name].view(torch.uint8), tensor.view(torch.uint8)), name


def file_bytes(folder: Path) -> dict[str, bytes]:
    """The content of every file, hidden ones included."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(folder: Path) -> set[str]:
    """What a folder holds, hidden files included."""
    return {path.name for path in folder.iterdir()}


def rewrite_json(path: Path, change: Callable[[Any], Any]) -> None:
    """Change the object in a JSON file in place."""
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def rewrite_header(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the header of a safetensors file in place; its data stays."""
    raw = path.read_bytes()
    stop = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:stop])
    change(header)
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + raw[stop:])


def run_main(arguments: Sequence[object]) -> int:
    """The converter in this process."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:  # argparse
        return int(str(stop.code))


class _Watched:
    """A text stream that does something when certain words are written to it."""

    def __init__(self, stream: Any, words: str, action: Callable[[], Any]) -> None:
        self._stream, self._words, self._action = stream, words, action

    def write(self, text: str) -> int:
        if self._words in text:
            self._action()
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _interrupt() -> None:
    # Where the tests run in the background of a shell, the process has inherited an ignored signal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.kill(os.getpid(), signal.SIGINT)


def _pause(folder: Path) -> None:
    (folder / "paused").touch()
    wait_for((folder / "go").exists)


def wait_for(condition: Callable[[], bool]) -> None:
    """Return once the condition holds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@dataclass(frozen=True)
class Fate:
    """What befalls a converter in its own process.

    It is killed, interrupted or paused (`then`) when it writes `words` to standard error; or no file that it writes may
    grow beyond `largest_file` bytes.  What it says goes to files in `folder`.
    """

    folder: Path
    words: str | None = None
    then: str = "die"
    largest_file: int | None = None


def _meet(fate: Fate, arguments: Sequence[str], log: Path) -> None:
    torch.set_num_threads(1)
    for stream, suffix in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(log.with_suffix(suffix), os.O_CREAT | os.O_WRONLY | os.O_TRUNC), stream)
    if fate.largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (fate.largest_file, fate.largest_file))
    if fate.words is not None:
        actions: dict[str, Callable[[], Any]] = {
            "die": _die,
            "interrupt": _interrupt,
            "pause": lambda: _pause(fate.folder),
        }
        sys.stderr = _Watched(sys.stderr, fate.words, actions[fate.then])
    sys.exit(run_main(arguments))


@contextmanager
def converter_running(arguments: Sequence[object], fate: Fate) -> Any:
    """The converter in its own process; gives a function that waits for its end."""
    # A server that has imported everything forks a fresh process each time: no seconds are spent on imports.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["clas_models.conversion.conversion", "clas_models.conversion.demo", "pytest"])
    log = fate.folder / f"log-{time.monotonic_ns()}"
    process = context.Process(target=_meet, args=(fate, [str(argument) for argument in arguments], log))
    process.start()

    def end() -> Ended:
        process.join(DEADLINE)
        assert process.exitcode is not None, "the converter does not end"
        said = (log.with_suffix(suffix).read_text() for suffix in (".out", ".err"))
        return Ended(process.exitcode, *said)

    try:
        yield end
    finally:
        process.kill()
        process.join()


def run_elsewhere(arguments: Sequence[object], fate: Fate) -> Ended:
    """The converter in its own process, from beginning to end."""
    with converter_running(arguments, fate) as end:
        return end()
