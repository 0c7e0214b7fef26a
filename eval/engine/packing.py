"""Many prompts as one sequence, in which every shared beginning stands once.

The prompts of a batch are a tree: all begin with the instruction, some go on with the same paragraph, each ends with
its own question.  A pack holds the tokens of that tree in one row.  A mask lets every token attend to exactly those
that precede it in its own prompt, and its position is the one that it has there, so what comes out is what each
prompt alone would give.  Nothing is padded and nothing is computed twice; with five questions to a paragraph that is
a quarter of the tokens.

Attention over a pack is dense although the mask is not, so a pack is bounded.  A pack of one prompt needs no mask of
its own and is the plain forward pass, bit for bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import torch
from torch import Tensor

from .batches import shared_length

# Where a new pack begins.  Matrix products gain nothing from more tokens, and attention grows with their square.
PACK_TOKENS = 1024

_Token: TypeAlias = tuple[int, bool]  # its id, and whether vectors act on it


@dataclass(frozen=True)
class Pack:
    """Some prompts of a batch, laid out as one sequence.

    Attributes:
        rows: which prompts of the batch these are.
        ids: int64 `[tokens]`, every token of the tree once.
        paths: for each of these prompts int64 `[its length]`, where its tokens stand.
        shared: for each of these prompts, how many of its first tokens the one before it has brought along.
        acting: bool `[tokens]`, the tokens that vectors act on; None are all.
    """

    rows: tuple[int, ...]
    ids: Tensor
    paths: tuple[Tensor, ...]
    shared: tuple[int, ...]
    acting: Tensor | None = None

    @property
    def last(self) -> Tensor:
        """int64 `[prompts]`: where the last tokens stand."""
        return torch.stack([path[-1] for path in self.paths])

    @cached_property
    def position_ids(self) -> Tensor:
        """int64 `[tokens]`: the position of each token in its own prompt."""
        positions = torch.empty_like(self.ids)
        for path in self.paths:
            positions[path] = torch.arange(len(path))
        return positions

    @property
    def is_one_text(self) -> bool:
        """Whether the prompts are one text, or beginnings of it: then nothing but causality is to be masked."""
        return max(len(path) for path in self.paths) == len(self.ids)

    def visible(self, window: int | None = None) -> Tensor:
        """bool `[tokens, tokens]`: whether the token of a row attends to that of a column.

        `window` is that of sliding attention: a token attends to itself and to the `window - 1` before it.
        """
        visible = torch.zeros(len(self.ids), len(self.ids), dtype=torch.bool)
        for path, shared in zip(self.paths, self.shared, strict=True):
            causal = torch.ones(len(path), len(path), dtype=torch.bool).tril()
            visible[path[shared:, None], path] = causal[shared:]
        if window is not None:
            visible &= self.position_ids[:, None] - self.position_ids < window
        return visible


def pack_prompts(
    prompts: Sequence[Sequence[int]], limit: int = PACK_TOKENS, *, acting: Sequence[Sequence[bool]] | None = None
) -> list[Pack]:
    """Packs that together hold every prompt of a batch once.

    Args:
        prompts: token ids, at least one each.
        limit: tokens after which a new pack begins; a prompt that shares more than it adds still joins, up to twice
            the limit, and a prompt longer than the limit is a pack alone or with what it shares.
        acting: of each prompt, on which of its tokens vectors act; a token on which they act is another one than the
            same on which they do not, so prompts share it only where they agree.
    """
    flags = acting or [[False] * len(prompt) for prompt in prompts]
    texts = [tuple(zip(prompt, acts, strict=True)) for prompt, acts in zip(prompts, flags, strict=True)]
    packs: list[Pack] = []
    draft = _Draft()
    for row in sorted(range(len(texts)), key=texts.__getitem__):
        if draft.rows and not draft.takes(texts[row], limit):
            packs.append(draft.finished())
            draft = _Draft()
        draft.add(row, texts[row])
    packs += [draft.finished()] if draft.rows else []
    return packs if acting is not None else [replace(pack, acting=None) for pack in packs]


class _Draft:
    """A pack that still grows.  Prompts come in lexicographic order: each shares most with the one before it."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.tokens: list[_Token] = []
        self.paths: list[list[int]] = []
        self.shared: list[int] = []
        self.text: tuple[_Token, ...] = ()

    def takes(self, text: tuple[_Token, ...], limit: int) -> bool:
        shared = shared_length(self.text, text)
        tokens = len(self.tokens) + len(text) - shared
        return tokens <= limit or (tokens <= 2 * limit and 2 * shared > len(text))

    def add(self, row: int, text: tuple[_Token, ...]) -> None:
        shared = shared_length(self.text, text)
        end = len(self.tokens) + len(text) - shared
        self.paths.append([*(self.paths[-1][:shared] if self.paths else []), *range(len(self.tokens), end)])
        self.tokens.extend(text[shared:])
        self.rows.append(row)
        self.shared.append(shared)
        self.text = text

    def finished(self) -> Pack:
        ids, acting = (torch.tensor(each) for each in zip(*self.tokens, strict=True))
        paths = tuple(torch.tensor(path) for path in self.paths)
        return Pack(tuple(self.rows), ids, paths, tuple(self.shared), acting)
