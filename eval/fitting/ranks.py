"""Several processes, one fit: `torchrun -m eval fit …`, or `accelerate launch -m eval fit …`.

All of them search, in step, each with its share of every step's examples; the one of rank 0 speaks, keeps the search,
and goes on alone when it has ended.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from clas_models.conversion.ranks import connected_ranks, is_launched
from clas_models.errors import InputError

from ..run_options import RunOptions


@contextmanager
def fitting_ranks() -> Iterator[int]:
    """The rank of this process, 0 where it is alone; for the length of the block the others can be reached.

    A user's mistake, which is one on every rank, is said by rank 0.
    """
    if not is_launched(os.environ):
        yield 0
        return
    with connected_ranks() as ranks:
        try:
            yield ranks.rank
        except InputError as error:
            if ranks.rank:
                raise SystemExit(2) from error
            raise


def own_device(options: RunOptions) -> RunOptions:
    """With an accelerator for each process of a machine, where there are several."""
    if not is_launched(os.environ) or options.device not in ("auto", "cuda") or not torch.cuda.is_available():
        return options
    return replace(options, device=f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}")
