"""Constrained classification: the logits of a few tokens after each prompt.

Prompts of a batch are packed (see `packing.py`), so that the instruction, and a premise or passage that several
share, is computed once for all of them.  Only the last position of a prompt goes through the head, and only the rows
of the choices.  A batch of one prompt is the plain forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from clas_models.errors import InputError

from .batches import plan_batches
from .decoder import SplitDecoder
from .packing import pack_prompts
from .settings import DistinctSettings, Setting, in_force


def choose(
    model: Any,
    prompts: Sequence[Sequence[int]],
    choice_ids: Sequence[int],
    language: str,
    batch_size: int = 16,
    skip_batches: int = 0,
) -> Iterator[tuple[list[int], Tensor]]:
    """Logits of the choices at the last position of every prompt, with the strengths in force on the model.

    Args:
        model: a causal language model, see `SplitDecoder`.
        prompts: token ids; all of them, also where a run is continued.
        choice_ids: the tokens that are choices.
        language: the code of the prompts' language.
        batch_size: the most prompts that are computed together.
        skip_batches: how many batches of `plan_batches(prompts, batch_size)` are not computed again.

    Yields:
        Batch by batch as planned: indices of prompts, and their logits, float32 `[prompts, choices]` on the CPU.

    Raises:
        InputError: an empty prompt, a batch size that is not positive, choices that are none or not in the
            vocabulary, or a model that is not supported.
    """
    for batch, logits in choose_grid(model, prompts, choice_ids, language, [{}], batch_size, skip_batches):
        yield batch, logits[0]


def choose_grid(
    model: Any,
    prompts: Sequence[Sequence[int]],
    choice_ids: Sequence[int],
    language: str,
    settings: Sequence[Setting],
    batch_size: int = 16,
    skip_batches: int = 0,
) -> Iterator[tuple[list[int], Tensor]]:
    """`choose` for every setting, with the layers below the first steered one run once.

    The logits are bit for bit those of `choose` under each setting.

    Args:
        settings: strengths, see `Setting`; the other arguments are those of `choose`.

    Yields:
        Indices of prompts, and logits, float32 `[settings, prompts, choices]` on the CPU.

    Raises:
        InputError: as `choose`, or there are no settings, or the model is not steered.
        TypeError, ValueError: a strength is not allowed, or `language` is not a language code.
    """
    decoder = SplitDecoder(model)
    _check_choices(choice_ids, decoder.config.vocab_size)
    grid = DistinctSettings.of(decoder, language, settings)
    tokens = torch.tensor(list(choice_ids), device=decoder.device)
    for batch in plan_batches(prompts, batch_size)[skip_batches:]:
        logits = _logits(decoder, [prompts[index] for index in batch], tokens, language, grid.settings)
        yield batch, logits[list(grid.index)]


@torch.inference_mode()
def _logits(
    decoder: SplitDecoder,
    prompts: Sequence[Sequence[int]],
    tokens: Tensor,
    language: str,
    settings: Sequence[Setting],
) -> Tensor:
    logits = torch.empty(len(settings), len(prompts), len(tokens))
    for pack in pack_prompts(prompts):
        state = decoder.lower_pack(pack)
        for place, setting in enumerate(settings):
            with in_force(decoder, setting):
                hidden = decoder.upper(state, language)
            last = hidden[0, pack.last.to(hidden.device)]
            logits[place, list(pack.rows)] = decoder.head(last, tokens).float().cpu()
    return logits


def _check_choices(choice_ids: Sequence[int], vocabulary: int) -> None:
    if not choice_ids:
        raise InputError("choices: there are none; give the tokens to choose from")
    for token in choice_ids:
        if not 0 <= token < vocabulary:
            raise InputError(f"choices: token {token} is not in the vocabulary; ids are 0 to {vocabulary - 1}")
