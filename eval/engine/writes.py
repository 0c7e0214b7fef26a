"""The negative log-likelihood of texts while the neurons of one language after the other are written over.

Languages whose neurons are written over alike up to a layer are one pass up to there, and part where they differ; the
model without any write goes with them until its first one.  So the layers below the first written neuron run once for
all languages, those below a language's own first neuron are the unwritten model's, and languages that share their
first neurons share what follows them.  Which neurons, and with what, is said by the `Write`.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Self

import torch
from torch import Tensor

from clas_models.modeling.configuration_clas import UNSTEERED
from clas_models.modeling.write import Write

from .batches import plan_batches
from .decoder import LowerState, SplitDecoder
from .packing import pack_prompts
from .token_nats import token_nats


@dataclass(frozen=True)
class WriteTree:
    """What each condition writes, layer by layer.

    Attributes:
        codes: of the conditions: None, which writes nothing, then every language of the write.
        written: for each of them and each layer of the model a number; equal numbers in a layer write the same there.
    """

    codes: tuple[str | None, ...]
    written: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, write: Write, languages: Sequence[str]) -> Self:
        """`languages` are the model's, in its order."""
        codes = write.languages or tuple(languages)
        by_layer = []
        for layer in range(write.masks.shape[1]):
            seen: dict[Hashable, int] = {b"": 0}
            pairs = zip(write.masks[:, layer].cpu(), write.values[:, layer].cpu(), strict=True)
            by_layer.append((0, *(seen.setdefault(_content(*pair), len(seen)) for pair in pairs)))
        return cls((None, *codes), tuple(zip(*by_layer, strict=True)))

    def parting(self, places: Sequence[int], layer: int) -> int:
        """The first layer from `layer` on in which these conditions do not all write the same; the number of layers
        if there is none.
        """
        count = len(self.written[0])
        differ = (each for each in range(layer, count) if len({self.written[place][each] for place in places}) > 1)
        return next(differ, count)

    def parts(self, places: Sequence[int], layer: int) -> list[list[int]]:
        """The conditions in groups that write the same in a layer."""

        def key(place: int) -> int:
            return self.written[place][layer]

        return [list(alike) for _, alike in groupby(sorted(places, key=key), key)]

    def passes(self, layer: int) -> int:
        """How many different states there are after a layer: how often it runs."""
        return len({written[: layer + 1] for written in self.written})


def _content(mask: Tensor, values: Tensor) -> Hashable:
    """What is written over the neurons of a layer, by its bytes; nothing is b""."""
    if not bool(mask.any()):
        return b""
    return mask.nonzero().numpy().tobytes(), values[mask].double().numpy().tobytes()


def nats_under_writes(
    model: Any, write: Write, rows: Sequence[Sequence[int]], *, batch_size: int = 16
) -> Iterator[tuple[list[int], list[list[float]]]]:
    """How unlikely the unsteered model finds every text, without and with the write of each language.

    At no time more hidden states of a pack are held than there are layers in which conditions part; of logits a few
    positions (see `token_nats.py`).  The sums are bit for bit those of each condition alone.

    Args:
        model: a steered causal language model in eval mode; its own steering is off meanwhile.
        write: of some of its languages.
        rows: token ids of the texts, at least one each.
        batch_size: the most texts that are planned together; it decides the last bits of a sum.

    Yields:
        Batch by batch as planned: indices of texts; and for every condition, the unwritten one first and then the
        languages of the write, their sums of -log p over every token but the first, in nats.

    Raises:
        InputError: the model or the batch size cannot be used.
        ValueError: the write does not fit the model.
    """
    tree = WriteTree.of(write, model.config.languages)
    for batch in plan_batches(rows, batch_size):
        with model.temporary_steering(**UNSTEERED), model.intervening(write):
            sums = _sums(SplitDecoder(model), tree, [rows[index] for index in batch])
        yield batch, sums


@torch.inference_mode()
def _sums(decoder: SplitDecoder, tree: WriteTree, texts: Sequence[Sequence[int]]) -> list[list[float]]:
    sums = [[0.0] * len(texts) for _ in tree.codes]
    for pack in pack_prompts(texts):
        for places, hidden in _last_states(decoder, tree, decoder.lower_pack(pack), list(range(len(tree.codes)))):
            nats = token_nats(decoder, hidden[0], pack, [1] * len(pack.paths))
            for row, path in zip(pack.rows, pack.paths, strict=True):
                found = float(nats[path[1:]].sum())
                for place in places:
                    sums[place][row] = found
    return sums


def _last_states(
    decoder: SplitDecoder, tree: WriteTree, state: LowerState, places: Sequence[int]
) -> Iterator[tuple[Sequence[int], Tensor]]:
    """Conditions that write alike throughout, and what they give after the final norm, `[1, tokens, hidden]`.

    All `places` write the same in the layers that have run.
    """
    parting = tree.parting(places, state.layer)
    state = decoder.advance(state, parting, tree.codes[places[0]])
    if parting == len(decoder.layers):
        yield places, decoder.decoder.norm(state.hidden)
        return
    for part in tree.parts(places, parting):
        yield from _last_states(decoder, tree, decoder.advance(state, parting + 1, tree.codes[part[0]]), part)
