"""Several things timed in turn, so that a machine whose speed drifts is equally fast for all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timings:
    """Seconds of every round, by name."""

    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, to: str) -> float:
        """The median over the rounds of the ratio within a round."""
        return statistics.median(a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True))


def interleaved(
    tasks: Mapping[str, Callable[[], object]],
    rounds: int,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> Timings:
    """Run every task once a round, each round beginning with another one; the first round warms up and is dropped.

    With one thread, `time.process_time` leaves out what the machine does for others.
    """
    names = list(tasks)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for step in range(len(names)):
            name = names[(turn + step) % len(names)]
            _synchronize(device)
            start = clock()
            tasks[name]()
            _synchronize(device)
            if turn:
                seconds[name].append(clock() - start)
    return Timings(seconds)


def _synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
