"""A table that is made from buffers and kept until one of them changes.

A rule's buffers are what is loaded, moved and set; what a step of decoding needs is a table made from them.  To make it
at every step costs more than to use it, and to make it when somebody says that a buffer has changed leaves it stale
when nobody does.  So it is made when it is asked for, and kept with what it was made from: the very tensors, torch's
count of the writes to each, and where their memory is.  A buffer that was replaced, moved, cast, loaded or written to
makes the table anew.  What torch itself does not count is not seen: a write through `buffer.data` or through a NumPy
array that shares its memory.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Self

import torch
from torch import Tensor


class DerivedTable:
    """The last table that was made, and what it was made from."""

    def __init__(self) -> None:
        self._kept: tuple[Hashable, list[tuple[Tensor, int, int]], Tensor] | None = None

    def get(self, buffers: Sequence[Tensor], form: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """The table of these buffers.

        Args:
            buffers: everything that `make` reads.
            form: what else the table depends on, such as its dtype.
            make: makes it.
        """
        # Inside a graph there is nothing to look at, and the graph makes the table in one piece with its use.
        if torch.compiler.is_compiling():
            return make()
        if self._kept is not None and self._kept[0] == form:
            for buffer, (known, version, place) in zip(buffers, self._kept[1], strict=True):
                if buffer is not known or buffer._version != version or buffer.data_ptr() != place:
                    break
            else:
                return self._kept[2]
        if any(buffer.is_inference() for buffer in buffers):  # these do not count the writes to them
            return make()
        with torch.inference_mode(False), torch.no_grad():  # else no gradient could pass by it later
            table = make()
        self._kept = (form, [(buffer, buffer._version, buffer.data_ptr()) for buffer in buffers], table)
        return table

    def __deepcopy__(self, memo: object) -> Self:
        return type(self)()

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()
