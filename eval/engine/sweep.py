"""Many vectors on the last tokens of prompts, for little more than one pass.

A vector that acts on the last token of a prompt changes nothing of the tokens before it: their keys and values, in
every layer, are those without any vector.  So a pack runs once, and keeps them.  Then every setting of every prompt is
one more token, which sees its own prompt and itself, and begins after the layer of its first vector.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from .conditions import DistinctConditions, Effect, in_force, without_vectors
from .decoder import LowerState, SplitDecoder
from .packing import Pack

ROWS = 256  # tokens that run together: what they would pay to each other is masked, and grows with their square


def at_ends(decoder: SplitDecoder, pack: Pack, distinct: DistinctConditions) -> Iterator[tuple[int, Tensor]]:
    """For every condition its place, and the last hidden states `[prompts, hidden]` of the prompts of a pack.

    In the pack, a prompt's last token is no other prompt's token that vectors do not act on (`SplitDecoder.packs`).
    """
    state = decoder.lower_pack(pack, DynamicCache())
    ends: dict[int, Tensor] = {}
    for places in _alike(distinct):
        condition = without_vectors(decoder, distinct.conditions[places[0]])
        with in_force(decoder, condition):
            pass_ = _Pass(decoder, pack, condition["language"])
            state = pass_.advance(state, distinct.effects[places[0]].others_start, ends)
            own = dict(ends)
            whole = pass_.advance(state.branch(), len(decoder.layers), own)
            last = decoder.decoder.norm(pass_.last(whole))
            with_vectors = [place for place in places if distinct.effects[place].vectors]
            yield from ((place, last) for place in places if place not in with_vectors)
            each = max(ROWS // len(pack.rows), 1)
            for start in range(0, len(with_vectors), each):
                some = with_vectors[start : start + each]
                hidden = pass_.settings(whole, own, [distinct.effects[place] for place in some])
                yield from zip(some, hidden, strict=True)


def _alike(distinct: DistinctConditions) -> list[list[int]]:
    """Places of conditions that differ in vectors alone, those first whose other rules begin in the lowest layer."""

    def key(place: int) -> tuple[int, str, str]:
        effect = distinct.effects[place]
        return effect.others_start, repr(effect.others), distinct.conditions[place]["language"]

    return [list(places) for _, places in groupby(sorted(range(len(distinct.conditions)), key=key), key)]


class _Pass:
    """A pack without any vector, and what the last tokens of its prompts become with some."""

    def __init__(self, decoder: SplitDecoder, pack: Pack, language: str) -> None:
        self.decoder, self.language = decoder, language
        self.ends = pack.last
        self.sees = {kind: visible[self.ends] for kind, visible in decoder.visible(pack).items()}
        for visible in self.sees.values():  # not the token that a setting takes the place of
            visible[torch.arange(len(self.ends)), self.ends] = False
        self.positions = pack.position_ids[self.ends]

    def last(self, state: LowerState) -> Tensor:
        """The last tokens of the prompts, `[prompts, hidden]`."""
        return state.hidden[0, self.ends.to(state.hidden.device)]

    def advance(self, state: LowerState, layer: int, ends: dict[int, Tensor]) -> LowerState:
        """Run the layers up to `layer`; `ends` gets the last tokens after each."""
        for index in range(state.layer, layer):
            state = self.decoder.advance(state, index + 1, self.language)
            ends[index] = self.last(state)
        return state

    def settings(self, whole: LowerState, ends: dict[int, Tensor], effects: Sequence[Effect]) -> Tensor:
        """The last hidden states `[settings, prompts, hidden]`.

        Args:
            whole: the pack after its last layer, with the keys and values of all layers.
            ends: the last tokens after each layer, from that of the first vector on.
            effects: the settings; each has vectors.
        """
        added = [dict(effect.vectors) for effect in effects]
        first = [min(vectors) for vectors in added]
        hidden = torch.stack([ends[layer] for layer in first])
        for layer in range(min(first), len(self.decoder.layers)):
            running = [place for place, begins in enumerate(first) if begins < layer]
            if running:
                hidden[running] = self._run(whole, layer, hidden[running])
            for place, effect in enumerate(effects):
                if layer in added[place]:
                    add = self.decoder.adds[layer]
                    hidden[place] += add.vector(effect.row, added[place][layer], hidden.dtype)
        return self.decoder.decoder.norm(hidden)

    def _run(self, whole: LowerState, layer: int, hidden: Tensor) -> Tensor:
        """One layer for `[settings, prompts, hidden]`, each a token that sees its prompt and itself."""
        settings, prompts, _ = hidden.shape
        tokens = hidden.flatten(0, 1)[None]
        itself = torch.eye(settings * prompts, dtype=torch.bool)
        kind = self.decoder.layer_types[layer]
        mask = self.decoder.attention_mask(torch.cat([self.sees[kind].repeat(settings, 1), itself], dim=1))
        position_ids = self.positions.repeat(settings)[None].to(tokens.device)
        embeddings = self.decoder.decoder.rotary_emb(tokens, position_ids=position_ids)
        state = LowerState(tokens, position_ids, embeddings, {kind: mask}, whole.branch().cache, layer)
        return self.decoder.advance(state, layer + 1, self.language).hidden[0].view_as(hidden)
