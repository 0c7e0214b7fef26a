"""Classification: the logits of a few tokens after each prompt, or those of a classifier's labels.

Prompts of a batch are packed (see `packing.py`), so that the instruction, and a premise or passage that several
share, is computed once for all of them.  Only the last position of a prompt goes through the head of a language model,
and only the rows of the choices.  A batch of one prompt is the plain forward pass.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from clas_models.errors import InputError
from clas_models.modeling.positions import ALL

from .batches import plan_batches
from .conditions import AS_IT_IS, Condition, DistinctConditions, advanced, in_force
from .decoder import SplitDecoder
from .packing import Pack
from .sweep import at_ends


def choose(
    model: Any,
    prompts: Sequence[Sequence[int]],
    choice_ids: Sequence[int],
    language: str,
    conditions: Sequence[Condition] = AS_IT_IS,
    *,
    batch_size: int = 16,
    skip_batches: int = 0,
) -> Iterator[tuple[list[int], Tensor]]:
    """Logits of the choices at the last position of every prompt, under every condition.

    Every layer runs once for all conditions that nothing has parted yet; the logits are bit for bit those of each
    condition alone.  Where vectors act on the last token of a prompt, all tokens before it are computed once
    (`sweep.py`), and the logits are those of each condition alone up to the rounding of sums.

    Args:
        model: a causal language model or a classifier, see `SplitDecoder`.
        prompts: token ids; all of them, also where a run is continued.
        choice_ids: the tokens that are choices; of a classifier the places of their labels.
        language: the code of the prompts' language.
        conditions: see `Condition`; by default one, what is in force on the model.
        batch_size: the most prompts that are computed together.
        skip_batches: how many batches of `plan_batches(prompts, batch_size)` are not computed again.

    Yields:
        Batch by batch as planned: indices of prompts, and logits, float32 `[conditions, prompts, choices]` on the CPU.

    Raises:
        InputError: an empty prompt, a batch size that is not positive, choices that are none or not in the
            vocabulary or among the labels, no conditions, strengths for a model that is not steered, or a model that is
            not supported.
        TypeError, ValueError: a strength is not allowed, or a language is not a language code.
    """
    decoder = SplitDecoder(model, or_classifier=True)
    kind, place = ("label", "head") if decoder.is_classifier else ("token", "vocabulary")
    if not choice_ids:
        raise InputError(f"choices: there are none; give the {kind}s to choose from")
    for id_ in choice_ids:
        if not 0 <= id_ < decoder.outputs:
            raise InputError(f"choices: {kind} {id_} is not in the {place}; ids are 0 to {decoder.outputs - 1}")
    distinct = DistinctConditions.of(decoder, language, conditions)
    ids = torch.tensor(list(choice_ids), device=decoder.device)
    for batch in plan_batches(prompts, batch_size)[skip_batches:]:
        logits = _logits(decoder, [prompts[index] for index in batch], ids, distinct)
        yield batch, logits[list(distinct.index)]


@torch.inference_mode()
def _logits(
    decoder: SplitDecoder, prompts: Sequence[Sequence[int]], ids: Tensor, distinct: DistinctConditions
) -> Tensor:
    logits = torch.empty(len(distinct.conditions), len(prompts), len(ids))
    for pack in decoder.packs(prompts):
        found: Iterator[tuple[int, Tensor]]
        if decoder.vector_positions != ALL:
            found = ((place, decoder.head(last, ids)) for place, last in at_ends(decoder, pack, distinct))
        else:
            found = _one_by_one(decoder, pack, ids, distinct)
        for place, values in found:
            logits[place, list(pack.rows)] = values.float().cpu()
    return logits


def _one_by_one(
    decoder: SplitDecoder, pack: Pack, ids: Tensor, distinct: DistinctConditions
) -> Iterator[tuple[int, Tensor]]:
    """For every condition its place, and the logits `[prompts, ids]` after the prompts of a pack."""
    state = decoder.lower_pack(pack)
    for place in distinct.by_start():
        condition = distinct.conditions[place]
        state = advanced(decoder, state, distinct, place)
        with in_force(decoder, condition):
            hidden = decoder.upper(state, condition["language"])
        yield place, decoder.head_at(hidden, pack.last, ids)
