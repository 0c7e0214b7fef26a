"""What share of a layer's neurons falls into each category, one row for each layer: as data and as text.

The numbers behind Figure 1 of "CLAS" (section 2.3).  Drawing them is left to `figures`, reading them to
`bridge_layers`.
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch

from .categories import Category, NeuronCategories


@dataclass(frozen=True)
class LayerRow:
    """The percentages of one layer's neurons; they add up to 100."""

    layer: int  # the model's layer index
    dead: float
    language_specific: float
    partial_shared: float
    all_shared: float

    def percentages(self) -> tuple[float, float, float, float]:
        """The four shares in the order of `Category`."""
        return self.dead, self.language_specific, self.partial_shared, self.all_shared


@dataclass(frozen=True)
class LayerTable:
    """One row for every profiled layer, in the profile's order."""

    rows: tuple[LayerRow, ...]

    def to_text(self, bridge_layers: Collection[int] = ()) -> str:
        """Aligned columns for a terminal; a bridge layer's row ends in `bridge`."""
        header, *body = self._cells(bridge_layers)
        widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
        # The mark is the one column set flush left, after the aligned numbers.
        lines = ["  ".join([*map(str.rjust, cells[:5], widths), *cells[5:]]).rstrip() for cells in (header, *body)]
        return "\n".join(lines)

    def to_markdown(self, bridge_layers: Collection[int] = ()) -> str:
        """A GitHub table; with bridge layers it has a last column that marks them."""
        header, *body = self._cells(bridge_layers)
        rule = ["---:"] * 5 + [":---"] * (len(header) - 5)
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *body))

    def _cells(self, bridge_layers: Collection[int]) -> list[list[str]]:
        """The header, then one row for each layer; a sixth column only where there are bridge layers to mark."""
        cells = [["layer", *(f"{category.label} %" for category in Category)]]
        cells += [[str(row.layer), *(f"{share:.1f}" for share in row.percentages())] for row in self.rows]
        if bridge_layers:
            marks = ["", *("bridge" if row.layer in bridge_layers else "" for row in self.rows)]
            cells = [[*row, mark] for row, mark in zip(cells, marks, strict=True)]
        return cells


def layer_table(categories: NeuronCategories) -> LayerTable:
    """Count each layer's neurons by category, in percent."""
    rows = []
    for layer, values in zip(categories.active.layers, categories.categories, strict=True):
        counts = torch.bincount(values, minlength=len(Category)).tolist()
        rows.append(LayerRow(layer, *(100 * count / values.numel() for count in counts)))
    return LayerTable(tuple(rows))
