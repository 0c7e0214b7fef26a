"""Which examples are computed together, and in which order.

The plan depends on the prompts and the batch size, and on nothing that has already been computed: a run that is
continued makes the same batches as one that never stopped, and so the same bytes.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from clas_models.errors import InputError

# Neighbours stay together from this many shared tokens on, if enough of them are not shared by all prompts anyway,
# as the instruction is.
SHARED_TOKENS = 32
SHARED_BEYOND_ALL = 8


def plan_batches(prompts: Sequence[Sequence[int]], batch_size: int) -> list[list[int]]:
    """Indices of the prompts, batch by batch, the longest first.

    Consecutive prompts that share a long beginning, such as the questions of one paragraph, come into one batch
    (into several if they are more than a batch), so that the beginning is computed once.  All else goes by length.

    Args:
        prompts: token ids.
        batch_size: the most prompts in a batch.

    Returns:
        Every index once.  No batch is empty; one is not full where the next prompts would have to be parted.

    Raises InputError: the batch size is not positive, or a prompt has no tokens.
    """
    if batch_size < 1:
        raise InputError(f"batch size: {batch_size} is not positive; give at least 1")
    for index, prompt in enumerate(prompts):
        if not len(prompt):
            raise InputError(f"prompt {index}: it has no tokens; leave it out or give it a first token")
    groups = [
        group[start : start + batch_size]
        for group in _neighbours(prompts)
        for start in range(0, len(group), batch_size)
    ]
    groups.sort(key=lambda group: (-max(len(prompts[index]) for index in group), group[0]))
    batches: list[list[int]] = []
    for group in groups:
        if batches and len(batches[-1]) + len(group) <= batch_size:
            batches[-1].extend(group)
        else:
            batches.append(list(group))
    return batches


def whole_batches(batches: Sequence[Sequence[int]], done: int) -> int:
    """How many batches of a plan are finished when its first `done` examples are.

    That many can be skipped when a run is continued; of the next batch some examples may be there already.
    """
    return bisect_right(list(accumulate(map(len, batches))), done)


def shared_length(first: Sequence[object], second: Sequence[object]) -> int:
    """How many tokens two prompts have in common at their beginning."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(first), len(second)))


def _neighbours(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Runs of consecutive prompts in which each shares a long beginning with the one before it."""
    if not prompts:
        return []
    in_order = [tuple(prompt) for prompt in prompts]
    shared_by_all = shared_length(min(in_order), max(in_order))
    enough = max(SHARED_TOKENS, shared_by_all + SHARED_BEYOND_ALL)
    groups = [[0]]
    for index in range(1, len(in_order)):
        if shared_length(in_order[index - 1], in_order[index]) >= enough:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
