"""Whether the processor's cores are taken by others, so that torch's threads wait for one another.

A product on several threads ends when the last of them has had its turn.  Where other programs hold the cores that is
many times later, and one thread is faster than all.
"""

import time
from collections.abc import Callable
from statistics import median

import torch

_ROUNDS = 7
_ENOUGH = 0.8  # one thread must take less than this share of the time of all; noise alone stays nearer to 1


def one_thread_is_faster(product: Callable[[], object] | None = None) -> bool:
    """Whether torch is faster here and now on one thread than on all that it has; takes a tenth of a second.

    Args:
        product: what is timed, by default a product of the size of a small model's layer.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        return False
    if product is None:
        rows, weight = torch.ones(64, 1024), torch.ones(1024, 2048)

        def product() -> object:
            return rows @ weight

    taken: dict[int, list[float]] = {1: [], threads: []}
    try:
        for _ in range(_ROUNDS):
            for number, seconds in taken.items():
                torch.set_num_threads(number)
                product()  # threads that are woken first take longer
                start = time.perf_counter()
                product()
                seconds.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return median(taken[1]) < _ENOUGH * median(taken[threads])
