"""The examples of a fit, packed, with what the layers below the first fitted one make of them.

Those layers depend on nothing that is fitted, so they run once; what they give is kept, up to a limit beyond which it
is computed again whenever it is needed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..engine.batches import plan_batches
from ..engine.decoder import LowerState, SplitDecoder
from ..engine.packing import Pack
from .objectives import Objective
from .tables import FittingScale, Tables


@dataclass(frozen=True, eq=False)
class Batch:
    """Some examples of one language under one objective: packs, and which examples each holds."""

    objective: str
    language: str
    packs: tuple[Pack, ...]
    rows: tuple[tuple[int, ...], ...]

    @property
    def examples(self) -> int:
        return sum(map(len, self.rows))


@dataclass(eq=False)
class Problem:
    """What is lowered, and by what.

    Attributes:
        scales: of the fitted layers, in force on the decoder's model.
        first: the first layer that a gradient passes.
        weights: of the objectives, by name.
        memory: bytes that kept states may take; they are kept for as long as the batches that `batches` gave.
        checkpointing: whether layers are computed again for the gradient, which needs less memory and more time.
    """

    decoder: SplitDecoder
    scales: Mapping[int, FittingScale]
    objectives: Mapping[str, Objective]
    weights: Mapping[str, float]
    first: int
    memory: int
    checkpointing: bool = False
    _kept: dict[int, LowerState] = field(default_factory=dict)
    _bytes: int = 0

    def batches(self, language: str, rows: Sequence[int], batch_size: int) -> list[Batch]:
        """Of some examples; those that share a text are together, so that it is computed once."""
        found = []
        for name, objective in self.objectives.items():
            texts = objective.texts(language)
            for batch in plan_batches([texts[row].ids for row in rows], batch_size):
                chosen = [rows[place] for place in batch]
                packs = self.decoder.packs([texts[row].ids for row in chosen], [texts[row].prompt for row in chosen])
                by_pack = tuple(tuple(chosen[place] for place in pack.rows) for pack in packs)
                found.append(Batch(name, language, tuple(packs), by_pack))
        return found

    def losses(self, batch: Batch, tables: Tables | None) -> Iterator[Tensor]:
        """Pack by pack the losses of a batch's examples, float32 `[texts]`, times their objective's weight.

        Args:
            tables: the strengths; None is the base.
        """
        objective, weight = self.objectives[batch.objective], self.weights[batch.objective]
        for pack, rows in zip(batch.packs, batch.rows, strict=True):
            strengths = None if tables is None else tables.of(batch.language)
            for row, scale in enumerate(self.scales.values()):
                scale.strengths = None if strengths is None else strengths[row]
            hidden = self._upper(self._lower(pack, batch.language), batch.language)
            yield weight * objective.losses(self.decoder, hidden[0], pack, batch.language, rows)

    def _lower(self, pack: Pack, language: str) -> LowerState:
        if id(pack) in self._kept:
            return self._kept[id(pack)]
        with torch.no_grad():
            state = self.decoder.advance(self.decoder.lower_pack(pack), self.first, language)
        size = _bytes_of(state)
        if self._bytes + size <= self.memory:
            self._kept[id(pack)] = state
            self._bytes += size
        return state

    def _upper(self, state: LowerState, language: str) -> Tensor:
        """`[1, tokens, hidden]` after the final norm, with the gradient of the strengths."""
        decoder = self.decoder
        hidden = state.hidden
        for layer in range(state.layer, len(decoder.layers)):
            if self.checkpointing and torch.is_grad_enabled():
                hidden = checkpoint(self._layer, state, hidden, layer, language, use_reentrant=False)
            else:
                hidden = self._layer(state, hidden, layer, language)
        return decoder.decoder.norm(hidden)

    def _layer(self, state: LowerState, hidden: Tensor, layer: int, language: str) -> Tensor:
        reached = replace(state, hidden=hidden, layer=layer)
        return self.decoder.advance(reached, layer + 1, language).hidden


def _bytes_of(state: LowerState) -> int:
    tensors: list[Any] = [state.hidden, state.position_ids, *state.position_embeddings]
    tensors += [mask for mask in (state.masks or {}).values() if mask is not None]
    return sum(tensor.nbytes for tensor in tensors)
