"""Several processes, one fit: `torchrun -m eval fit …`, or `accelerate launch -m eval fit …`.

All of them search, in step, each with its share of every step's examples; the one of rank 0 speaks, keeps the search,
and goes on alone when it has ended.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from clas_models.conversion.ranks import Ranks, connected_ranks, is_launched

from ..run_options import RunOptions

_FAILED = "fit failed"  # how many ranks have


@contextmanager
def fitting_ranks() -> Iterator[int]:
    """The rank of this process, 0 where it is alone; for the length of the block the others can be reached.

    What goes wrong on one rank ends all of them, and a user's mistake is one on every rank: the first to meet it says
    what it was, the others end without a word, with the status of a mistake.
    """
    if not is_launched(os.environ):
        yield 0
        return
    with connected_ranks() as ranks:
        try:
            yield ranks.rank
        except (Exception, KeyboardInterrupt) as error:
            if not _is_first(ranks):
                raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 2) from error
            raise


def _is_first(ranks: Ranks) -> bool:
    """Whether nothing has gone wrong on another rank yet."""
    try:
        return int(ranks.store.add(_FAILED, 1)) == 1
    except RuntimeError:  # whoever kept count has ended already
        return False


def own_device(options: RunOptions) -> RunOptions:
    """With an accelerator for each process of a machine, where there are several."""
    if not is_launched(os.environ) or options.device not in ("auto", "cuda") or not torch.cuda.is_available():
        return options
    return replace(options, device=f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}")
