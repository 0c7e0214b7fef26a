"""Greedy generation for many prompts.

The prompts of a batch are packed (see `packing.py`): an instruction or a paragraph that several share is computed
once, and its keys and values go to the row of every prompt.  Then all rows of the batch, padded on the left, take
one token after the other; a row that has ended leaves the batch.  Under many conditions the prompt's layers
that nothing has parted yet, their keys and values included, are computed once and never copied.

Greedy means the largest logit: no penalty or processor of a generation configuration applies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache

from clas_models.errors import InputError

from .batches import plan_batches
from .conditions import AS_IT_IS, Condition, DistinctConditions, advanced, in_force
from .decoder import LowerState, SplitDecoder
from .packing import Pack

KeysValues: TypeAlias = tuple[Tensor, Tensor]


def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    language: str,
    max_new_tokens: int,
    eos_token_ids: Collection[int],
    conditions: Sequence[Condition] = AS_IT_IS,
    *,
    batch_size: int = 16,
    skip_batches: int = 0,
) -> Iterator[tuple[list[int], list[list[list[int]]]]]:
    """The most likely continuation of every prompt, token by token, under every condition.

    The prompts' lower layers run once for all conditions; the tokens are those of each condition alone.

    Args:
        max_new_tokens: where a continuation is cut.
        eos_token_ids: tokens that end one.
        model, prompts, language, conditions, batch_size, skip_batches: as for `choose`.

    Yields:
        Batch by batch as planned: indices of prompts, and for every condition their new tokens without the one that
        ends them.

    Raises:
        InputError: a number of tokens that is not positive.
        InputError, TypeError, ValueError: as for `choose`.
    """
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens: {max_new_tokens} is not positive; give at least 1")
    decoder = SplitDecoder(model)
    distinct = DistinctConditions.of(decoder, language, conditions)
    limits = _Limits(max_new_tokens, frozenset(eos_token_ids))
    for batch in plan_batches(prompts, batch_size)[skip_batches:]:
        answers = _answers(decoder, [prompts[index] for index in batch], distinct, limits)
        yield batch, [answers[place] for place in distinct.index]


@dataclass(frozen=True)
class _Limits:
    """Where a continuation ends."""

    max_new_tokens: int
    eos_token_ids: frozenset[int]


@torch.inference_mode()
def _answers(
    decoder: SplitDecoder, prompts: Sequence[Sequence[int]], distinct: DistinctConditions, limits: _Limits
) -> list[list[list[int]]]:
    """For every condition, the new tokens of every prompt."""
    packs = decoder.packs(prompts)
    states = [decoder.lower_pack(pack, DynamicCache()) for pack in packs]
    layout = _Layout.of(packs, decoder.device)
    lower = [layout.gather(states, layer) for layer in range(decoder.first_upper)]
    order = [row for pack in packs for row in pack.rows]
    answers: list[list[list[int]]] = [[] for _ in distinct.conditions]
    for place in distinct.by_start():
        language = distinct.conditions[place]["language"]
        states = [advanced(decoder, state, distinct, place) for state in states]
        lower += [layout.gather(states, layer) for layer in range(len(lower), distinct.effects[place].start)]
        with in_force(decoder, distinct.conditions[place]):
            in_packs = _continuations(decoder, packs, states, layout, lower, language, limits)
        answers[place] = [tokens for _, tokens in sorted(zip(order, in_packs, strict=True))]
    return answers


def _continuations(
    decoder: SplitDecoder,
    packs: Sequence[Pack],
    states: Sequence[LowerState],
    layout: _Layout,
    lower: Sequence[KeysValues],
    language: str,
    limits: _Limits,
) -> list[list[int]]:
    """The new tokens of every prompt under the strengths in force, in the order of the packs."""
    branches = [state.branch() for state in states]
    ends = [
        decoder.upper(branch, language, decoder.positions(pack))[0, pack.last.to(decoder.device)]
        for branch, pack in zip(branches, packs, strict=True)
    ]
    upper = [layout.gather(branches, layer) for layer in range(len(lower), len(decoder.layers))]
    rows = _Rows.of(decoder, layout, [*lower, *upper])
    answers: list[list[int]] = [[] for _ in range(len(layout.lengths))]
    going = list(range(len(answers)))
    hidden = torch.cat(ends)
    for step in range(1, limits.max_new_tokens + 1):
        # float32 as in `generate`, so that what is a tie there is one here.
        tokens = decoder.head(hidden).float().argmax(-1)
        found = tokens.tolist()
        kept = [place for place, token in enumerate(found) if token not in limits.eos_token_ids]
        for place in kept:
            answers[going[place]].append(found[place])
        if not kept or step == limits.max_new_tokens:
            break
        if len(kept) < len(going):
            going = [going[place] for place in kept]
            index = torch.tensor(kept, device=tokens.device)
            tokens = tokens[index]
            rows.keep(index)
        hidden = rows.step(decoder, tokens, language)
    return answers


@dataclass(frozen=True)
class _Layout:
    """Where the tokens of each prompt stand in its pack, padded on the left to one width.

    Attributes:
        places: for each pack int64 `[its prompts, width]`; what stands in the padding is any place.
        lengths: int64 `[prompts]`, in the order of the packs.
        width: the longest prompt's length.
    """

    places: tuple[Tensor, ...]
    lengths: Tensor
    width: int

    @classmethod
    def of(cls, packs: Sequence[Pack], device: torch.device) -> _Layout:
        lengths = [len(path) for pack in packs for path in pack.paths]
        width = max(lengths)
        places = []
        for pack in packs:
            padded = torch.zeros(len(pack.paths), width, dtype=torch.long)
            for row, path in enumerate(pack.paths):
                padded[row, width - len(path) :] = path
            places.append(padded.to(device))
        return cls(tuple(places), torch.tensor(lengths, device=device), width)

    @property
    def mask(self) -> Tensor | None:
        """bool `[prompts, width]`, False in the padding; None if there is none."""
        mask = torch.arange(self.width, device=self.lengths.device) >= self.width - self.lengths[:, None]
        return None if bool(mask.all()) else mask

    def gather(self, states: Sequence[LowerState], layer: int) -> KeysValues:
        """A layer's keys and values, `[prompts, heads, width, head]` each, from the caches of the packs."""
        layers: list[Any] = [state.cache.layers[layer] for state in states if state.cache is not None]
        return self._rows([kept.keys for kept in layers]), self._rows([kept.values for kept in layers])

    def _rows(self, packed: Sequence[Tensor]) -> Tensor:
        rows = [tensor[0][:, places].transpose(0, 1) for tensor, places in zip(packed, self.places, strict=True)]
        return torch.cat(rows)


@dataclass
class _Rows:
    """The rows that still go on: their keys and values, what of them is padding, and the positions that come next."""

    cache: Cache
    mask: Tensor | None
    positions: Tensor

    @classmethod
    def of(cls, decoder: SplitDecoder, layout: _Layout, keys_values: Sequence[KeysValues]) -> _Rows:
        cache = decoder.new_cache()
        for layer, (keys, values) in enumerate(keys_values):
            cache.update(keys, values, layer)
        return cls(cache, layout.mask, layout.lengths)

    def keep(self, index: Tensor) -> None:
        self.cache.batch_select_indices(index)
        self.mask = None if self.mask is None else self.mask[index]
        self.positions = self.positions[index]

    def step(self, decoder: SplitDecoder, tokens: Tensor, language: str) -> Tensor:
        """Hidden states `[rows, hidden]` after one more token in each row, `tokens` int64 `[rows]`."""
        if self.mask is not None:
            self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)
        state = decoder.lower(tokens[:, None], self.mask, self.cache, self.positions[:, None])
        self.positions = self.positions + 1
        return decoder.upper(state, language, decoder.step_positions(len(tokens)))[:, -1]
