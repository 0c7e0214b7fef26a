"""The likelihood of a few continuations of each prompt, such as the texts of the choices of a question.

A prompt and its continuations are packed (see `packing.py`), so that the prompt is computed once for all of them, and
what several prompts share once for all prompts.

Source: Lim, Aji and Cohn, the paper on the latent process of multilingual models, equation 7: the normalisation.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from clas_models.errors import InputError

from .batches import plan_batches
from .conditions import AS_IT_IS, Condition, DistinctConditions, advanced, in_force
from .decoder import SplitDecoder
from .token_nats import token_nats


def score_continuations(
    model: Any,
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[Sequence[int]]],
    language: str,
    conditions: Sequence[Condition] = AS_IT_IS,
    *,
    batch_size: int = 16,
    skip_batches: int = 0,
) -> Iterator[tuple[list[int], Tensor]]:
    """The mean log p a token of every continuation after its prompt, under every condition.

    Every layer runs once for all conditions that nothing has parted yet; the scores are bit for bit those of each
    condition alone.  Vectors act on a prompt's last token as where the model generates, and on those of a continuation
    as on generated ones.

    Args:
        continuations: for each prompt the token ids of its continuations, as many for all prompts.
        model, prompts, language, conditions, batch_size, skip_batches: as for `choose`.

    Yields:
        Batch by batch as `plan_batches(prompts, batch_size)` has it: indices of prompts, and scores, float64
        `[conditions, prompts, continuations]` on the CPU.

    Raises:
        InputError: prompts with other numbers of continuations than the first, or a continuation without tokens.
        InputError, TypeError, ValueError: as for `choose`.
    """
    decoder = SplitDecoder(model)
    for index, given in enumerate(continuations):
        if len(given) != len(continuations[0]) or not all(map(len, given)):
            raise InputError(
                f"prompt {index}: its continuations have {', '.join(str(len(each)) for each in given) or 'no'} tokens; "
                f"give each prompt {len(continuations[0])}, of one token or more"
            )
    distinct = DistinctConditions.of(decoder, language, conditions)
    for batch in plan_batches(prompts, batch_size)[skip_batches:]:
        scores = _scores(decoder, [prompts[index] for index in batch], [continuations[at] for at in batch], distinct)
        yield batch, scores[list(distinct.index)]


@torch.inference_mode()
def _scores(
    decoder: SplitDecoder,
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[Sequence[int]]],
    distinct: DistinctConditions,
) -> Tensor:
    asked = [(prompt, after) for prompt, given in zip(prompts, continuations, strict=True) for after in given]
    lengths = [len(prompt) for prompt, _ in asked]
    scores = torch.empty(len(distinct.conditions), len(asked), dtype=torch.float64)
    for pack in decoder.packs([[*prompt, *after] for prompt, after in asked], lengths):
        state = decoder.lower_pack(pack)
        starts = [lengths[row] for row in pack.rows]
        for place in distinct.by_start():
            condition = distinct.conditions[place]
            state = advanced(decoder, state, distinct, place)
            with in_force(decoder, condition):
                hidden = decoder.upper(state, condition["language"], decoder.positions(pack))[0]
            nats = token_nats(decoder, hidden, pack, starts)
            for row, path, start in zip(pack.rows, pack.paths, starts, strict=True):
                scores[place, row] = -nats[path[start:]].mean()
    return scores.view(len(distinct.conditions), len(prompts), -1)
