"""The negative log-likelihood of texts.

Texts of a batch are packed (see `packing.py`), so that nothing is padded and a beginning that several share is
computed once.  The head runs on a few positions at a time: with a large vocabulary the logits of a batch would be
many times its other memory.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from clas_models.errors import InputError
from clas_models.modeling.positions import ALL

from .batches import plan_batches
from .conditions import AS_IT_IS, Condition, DistinctConditions, advanced, in_force
from .decoder import SplitDecoder
from .packing import pack_prompts
from .token_nats import token_nats


def negative_log_likelihood(
    model: Any,
    rows: Sequence[Sequence[int]],
    language: str,
    conditions: Sequence[Condition] = AS_IT_IS,
    *,
    batch_size: int = 16,
    skip_batches: int = 0,
) -> Iterator[tuple[list[int], list[list[float]], list[int]]]:
    """How unlikely the model finds every text, under every condition.

    Every layer runs once for all conditions that nothing has parted yet; the sums are bit for bit those of each
    condition alone.

    Args:
        rows: token ids; all texts, also where a run is continued.
        model, language, conditions, batch_size, skip_batches: as for `choose`.

    Yields:
        Batch by batch as planned: indices of texts; for every condition their sums of -log p over every token but the
        first, in nats; and how many tokens that are (0 for a text of one token, whose sum is 0).

    Raises:
        InputError: vectors that act on some tokens only.
        InputError, TypeError, ValueError: as for `choose`.
    """
    decoder = SplitDecoder(model)
    distinct = DistinctConditions.of(decoder, language, conditions)
    if decoder.vector_positions != ALL and any(effect.vectors for effect in distinct.effects):
        raise InputError(
            f"vector_positions: the vectors act from where a prompt ends ({decoder.vector_positions}), and a text has "
            f"no prompt; let them act on {ALL!r} tokens, or give them strength 0"
        )
    for batch in plan_batches(rows, batch_size)[skip_batches:]:
        texts = [rows[index] for index in batch]
        sums = _sums(decoder, texts, distinct)
        yield batch, [sums[place] for place in distinct.index], [len(text) - 1 for text in texts]


@torch.inference_mode()
def _sums(decoder: SplitDecoder, texts: Sequence[Sequence[int]], distinct: DistinctConditions) -> list[list[float]]:
    sums = [[0.0] * len(texts) for _ in distinct.conditions]
    for pack in pack_prompts(texts):
        state = decoder.lower_pack(pack)
        for place in distinct.by_start():
            condition = distinct.conditions[place]
            state = advanced(decoder, state, distinct, place)
            with in_force(decoder, condition):
                hidden = decoder.upper(state, condition["language"])[0]
            nats = token_nats(decoder, hidden, pack, [1] * len(pack.paths))
            for row, path in zip(pack.rows, pack.paths, strict=True):
                sums[place][row] = float(nats[path[1:]].sum())
    return sums
