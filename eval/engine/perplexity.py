"""The negative log-likelihood of texts.

Texts of a batch are packed (see `packing.py`), so that nothing is padded and a beginning that several share is
computed once.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from clas_models.errors import InputError
from clas_models.modeling.add import Add
from clas_models.modeling.positions import ALL

from .batches import plan_batches
from .conditions import AS_IT_IS, Condition, DistinctConditions, in_force
from .decoder import SplitDecoder
from .packing import Pack, pack_prompts
from .token_probabilities import log_probabilities


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

    The layers below the first steered one run once for all conditions; the sums are bit for bit those of each
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
    for condition in distinct.conditions:
        with in_force(decoder, condition):
            acts = any(rule.acts for rule in decoder.rules if isinstance(rule, Add))
        if acts and decoder.vector_positions != ALL:
            raise InputError(
                "vector_positions: the checkpoint's vectors act from where a prompt ends "
                f"({decoder.vector_positions}), and a text has no prompt; give a checkpoint with vector_positions "
                f"{ALL!r}, or vector_strength 0"
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
        for place, condition in enumerate(distinct.conditions):
            with in_force(decoder, condition):
                hidden = decoder.upper(state, condition["language"])[0]
            nats = _token_nats(decoder, hidden, pack)
            for row, path in zip(pack.rows, pack.paths, strict=True):
                sums[place][row] = float(nats[path[1:]].sum())
    return sums


def _token_nats(decoder: SplitDecoder, hidden: Tensor, pack: Pack) -> Tensor:
    """-log p of every token of a pack after those before it in its text, float64 `[tokens]` on the CPU.

    A text's first token has no such value, and its place holds 0.
    """
    before = torch.full_like(pack.ids, -1)
    for path in pack.paths:
        before[path[1:]] = path[:-1]
    places = (before >= 0).nonzero()[:, 0]
    nats = torch.zeros(len(pack.ids), dtype=torch.float64)
    nats[places] = -log_probabilities(decoder.head, hidden, before[places], pack.ids[places], decoder.config.vocab_size)
    return nats
