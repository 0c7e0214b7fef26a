"""A table that is made from buffers and kept until one of them changes.

A rule's buffers are what is loaded, moved and set; what a step of decoding needs is a table made from them.  To make it
at every step costs more than to use it, and to make it when somebody says that a buffer has changed leaves it stale
when nobody does.  So it is made when it is asked for, and kept with what it was made from: the very tensors, torch's
count of the writes to each, and where their memory is.  A buffer that was replaced, moved, cast or written to, by
whatever means, makes the table anew.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Self

import torch
from torch import Tensor


class DerivedTable:
    """The last table that was made, and what it was made from."""

    def __init__(self) -> None:
        self._kept: tuple[tuple[Tensor, ...], tuple[Hashable, ...], Tensor] | None = None

    def get(self, buffers: Sequence[Tensor], form: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """The table of these buffers.

        Args:
            buffers: everything that `make` reads.
            form: what else the table depends on, such as its dtype and device.
            make: makes it.
        """
        # Inside a graph there is nothing to look at, and the graph makes the table in one piece with its use.
        # Tensors of the inference mode do not count the writes to them.
        if torch.compiler.is_compiling() or any(buffer.is_inference() for buffer in buffers):
            return make()
        state = (form, *[(buffer._version, buffer.data_ptr()) for buffer in buffers])
        if self._kept is not None:
            made_from, made_in, table = self._kept
            if made_in == state and all(a is b for a, b in zip(made_from, buffers, strict=True)):
                return table
        with torch.inference_mode(False), torch.no_grad():  # else no gradient could pass by it later
            table = make()
        self._kept = (tuple(buffers), state, table)
        return table

    def __deepcopy__(self, memo: object) -> Self:
        return type(self)()

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()
