"""What a rule is: how a tensor at a site of a layer changes for a row's language.

There are three: `Scale` (scale.py), `Write` (write.py) and `Add` (add.py).  A rule says at which site and in which
layers it acts, and makes the module that does the work in one of them, with its tables as buffers.  A layer has one
slot for each rule and calls what stands there; an empty slot is None and costs nothing.
"""

from collections.abc import Sequence
from typing import ClassVar, Protocol

from torch import nn

ACTIVATED = "activated"  # the output of `act_fn`, before the product with `up`
NEURONS = "neurons"  # the input of `down_proj`
RESIDUAL = "residual"  # the output of a decoder layer


class Rule(Protocol):
    """One rule for a whole model.

    Attributes:
        name: of the slot in a layer: "scale", "write" or "add".
        site: ACTIVATED, NEURONS or RESIDUAL.
    """

    name: ClassVar[str]
    site: ClassVar[str]

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers in which the rule acts, ascending."""

    def in_layer(self, layer: int, languages: Sequence[str]) -> nn.Module:
        """The rule in one of its layers, for rows whose ids are positions in `languages`, or their number."""
