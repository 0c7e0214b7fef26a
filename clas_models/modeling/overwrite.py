"""A second rule for the same neurons: overwrite `act(gate)` of a language's own neurons with a fixed value.

The value is a statistic of the language, such as the mean over its tokens; which one is the business of whoever makes
the tables.  Zero and percentiles are the same rule with other values.  The rule is chosen by the row's language, like
steering; the anchor's rows and those of languages that were not profiled keep their bits.

Source: Mondal et al., "Language-specific neurons do not facilitate cross-lingual transfer", section 3.2 (Int mu).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Overwrite(nn.Module):
    """The rule in one layer.

    Buffers:
        mask: bool `[languages + 1, neurons]`, by language id: the neurons that are overwritten.
        values: float `[languages + 1, neurons]`, what they are overwritten with.
        enabled: bool `[1]`, whether the rule is in force; not saved.
    """

    mask: Tensor
    values: Tensor
    enabled: Tensor

    def __init__(self, ids: int, neurons: int, enabled: bool) -> None:
        super().__init__()
        self.register_buffer("mask", torch.zeros(ids, neurons, dtype=torch.bool))
        self.register_buffer("values", torch.zeros(ids, neurons))
        self.register_buffer("enabled", torch.tensor([enabled]), persistent=False)

    def forward(self, activated: Tensor, language_ids: Tensor, neurons: slice | None = None) -> Tensor:
        """`act(gate)` `[batch, tokens, neurons]` to the same; `language_ids` is int64 `[batch]`.

        `neurons` says which ones of the tables these are, where they are not all.
        """
        mask, values = self.mask, self.values
        if neurons is not None:
            mask, values = mask[:, neurons], values[:, neurons]
        mask = (mask & self.enabled).index_select(0, language_ids)[:, None]
        values = values.index_select(0, language_ids)[:, None].to(activated.dtype)
        return torch.where(mask, values, activated)


def filled(mask: Tensor, values: Tensor) -> Overwrite:
    """The rule, in force, from tables `[languages, neurons]`; nothing is overwritten for all other languages."""
    rule = Overwrite(len(mask) + 1, mask.shape[1], enabled=True)
    rule.mask[:-1] = mask
    # Values where nothing is overwritten say nothing, and zeros make a file that compresses.
    rule.values[:-1] = torch.where(mask, values, 0.0)
    return rule


def check_tables(masks: Tensor, values: Tensor, shape: tuple[int, int, int]) -> None:
    """Raises ValueError for tables of another shape or dtype, or with values that are not finite."""
    if masks.dtype != torch.bool or not values.is_floating_point():
        raise ValueError(f"overwrite: masks of {masks.dtype} and values of {values.dtype}; allowed are bool and floats")
    for name, table in (("masks", masks), ("values", values)):
        if tuple(table.shape) != shape:
            raise ValueError(
                f"overwrite: {name} of shape {list(table.shape)}; allowed is [languages, layers, neurons], here "
                f"{list(shape)}"
            )
    if not bool(values[masks].isfinite().all()):
        raise ValueError("overwrite: values that are not finite; profile the model again")
