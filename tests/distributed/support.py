"""What these tests share: a program under torch's launcher, and the converter on several ranks of its own."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
DEADLINE = 120.0  # seconds, for processes that do what they should


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it said on standard output and standard error."""

    status: int
    out: str
    err: str


def torchrun(ranks: int, *command: object) -> Ended:
    """A program and its arguments under `torchrun`, from beginning to end."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks)]
    free_port = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    done = subprocess.run(
        [*launcher, *free_port, *map(str, command)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def on_ranks(size: int, work: Callable[..., int], *arguments: Any, logs: Path) -> list[Ended]:
    """A function in `size` processes that know of each other as a launcher tells it; it gives their exit status.

    Unlike a launcher, which ends the others when one has failed, this shows how each of them ends by itself.
    """
    # A server that has imported everything forks fresh processes: no seconds are spent on imports.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["clas_models.conversion.conversion", "clas_models.conversion.demo", "pytest"])
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    processes = []
    for rank in range(size):
        known = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
        launched = {name: str(value) for name, value in known.items()}
        processes.append(context.Process(target=_be_rank, args=(launched, work, arguments, logs / f"rank-{rank}")))
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(DEADLINE)
        assert all(process.exitcode is not None for process in processes), "a rank does not end"
    finally:
        for process in processes:
            process.kill()
            process.join()
    return [_ended(process.exitcode or 0, logs / f"rank-{rank}") for rank, process in enumerate(processes)]


def _be_rank(launched: dict[str, str], work: Callable[..., int], arguments: Sequence[Any], log: Path) -> None:
    os.environ |= launched
    torch.set_num_threads(1)
    for stream, suffix in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(log.with_suffix(suffix), os.O_CREAT | os.O_WRONLY | os.O_TRUNC), stream)
    sys.exit(work(*arguments))


def _ended(status: int, log: Path) -> Ended:
    # torch 2.8 announces every connection.
    out, err = (log.with_suffix(suffix).read_text().splitlines(keepends=True) for suffix in (".out", ".err"))
    return Ended(status, *("".join(line for line in lines if "[Gloo]" not in line) for lines in (out, err)))
