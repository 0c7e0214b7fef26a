"""How the two commands start: help and mistakes cost no torch, and what follows runs with the whole package."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from clas_models.command_line import CONVERT, EVAL

ROOT = Path(__file__).parents[1]
COMMANDS = {CONVERT: ["convert.py"], EVAL: ["-m", "eval"]}
NOT_YET = ("torch", "transformers", "datasets", "matplotlib", "scipy")


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_help_takes_less_than_a_second_of_the_processor(name: str) -> None:
    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = spent()
    ended = start(*COMMANDS[name], "--help")
    assert spent() - before < 1.0
    assert ended.returncode == 0
    assert ended.stdout.startswith(f"usage: {name} ")


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("argument", ["--help", "--nonsense"])
def test_nothing_heavy_is_loaded_to_answer(name: str, argument: str) -> None:
    loaded = re.findall(r"\| +(\w+)$", start("-X", "importtime", *COMMANDS[name], argument).stderr, re.MULTILINE)
    assert "argparse" in loaded
    assert not set(NOT_YET) & set(loaded)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_mistake_is_one_line_that_names_the_command(name: str) -> None:
    ended = start(*COMMANDS[name], "--nonsense")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"{name}: error: ")


@pytest.mark.slow
def test_what_follows_runs_with_the_whole_package(tmp_path: Path) -> None:
    ended = start("convert.py", str(tmp_path))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"{CONVERT}: error: {tmp_path}: ")
    ended = start("-m", "eval", "card", str(tmp_path), str(tmp_path))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
