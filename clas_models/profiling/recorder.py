"""What a pass over text tells, and whom: the sites of a layer, a batch of rows, and the recorder.

A recorder is a subclass of `Recorder` that says which sites of which layers it wants to see, and is shown each of them
for one batch after the other.  Running the model is left to `recording`; `profiler` holds the recorder of the sums that
a neuron profile is made of.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..modeling.rule import ACTIVATED, NEURONS, RESIDUAL

GATE = "gate"
SITES = (GATE, ACTIVATED, NEURONS, RESIDUAL)
"""The sites of a layer, in the order in which it computes them: the output of `gate_proj`; act(gate), as it goes into
the product with `up`; the input of `down_proj`; the output of the layer.  Each is what the model really computes: where
it steers or writes, after that.
"""


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of one language that go through the model together, the longest first, padded on the right.

    Attributes:
        language: code of all rows.
        samples: the rows' numbers in the corpus, from 0; the same number is the same sample in every language.
        ids: the rows' token ids; no row is empty.
    """

    language: str
    samples: tuple[int, ...]
    ids: tuple[list[int], ...]

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [len(row) for row in self.ids]

    @property
    def tokens(self) -> int:
        """Tokens of all rows together."""
        return sum(self.lengths)

    def of_tokens(self, values: Tensor) -> Tensor:
        """What a recorder is shown, `[rows, tokens, width]`, without the padding: `[tokens of all rows, width]`."""
        return torch.cat([row[:length] for row, length in zip(values, self.lengths, strict=True)])

    def of_last_tokens(self, values: Tensor) -> Tensor:
        """What a recorder is shown, `[rows, tokens, width]`, at the last token of each row: `[rows, width]`."""
        return torch.stack([row[length - 1] for row, length in zip(values, self.lengths, strict=True)])


class Recorder(ABC):
    """Sees what a model computes over text; one pass can serve several.

    For every batch the pass calls `begin`, then `observe` once for each site and layer that was asked for, in the order
    in which the model computes them, then `end`.  A recorder keeps what it makes of that as it likes; its memory
    should not grow with the number of batches.

    Attributes:
        batch: the one that is being observed.
    """

    batch: Batch

    @abstractmethod
    def sites(self, num_layers: int) -> Mapping[str, Iterable[int]]:
        """The layers to show at each site: keys of SITES to the model's layer indices, 0 to `num_layers - 1`."""

    def begin(self, batch: Batch) -> None:
        """What follows is of this batch."""
        self.batch = batch

    @abstractmethod
    def observe(self, site: str, layer: int, values: Tensor) -> None:
        """What the model computed at a site of a layer.

        Args:
            values: `[rows, tokens, width]` in the model's dtype, on its device; `width` is `intermediate_size`, at the
                site `residual` `hidden_size`.  Padded positions hold 0: they add nothing to a sum, but for a mean or
                a quantile, take `batch.of_tokens(values)`.  It is the model's own tensor: do not write to it, and
                copy what you keep.  It is an inference tensor; arithmetic is fine, gradients are not.
        """

    def end(self) -> None:  # noqa: B027 (most recorders have nothing to do here)
        """All of this batch was observed."""
