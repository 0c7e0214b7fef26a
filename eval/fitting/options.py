"""What a user can choose of a fit beside the data and the model."""

from dataclasses import dataclass, field

import numpy as np

from clas_models.errors import InputError

from .objectives import read_objectives
from .search import SearchOptions
from .tables import SHRUNK

PROFILED, RANDOM = "profile", "random"
GROUPS = (PROFILED, RANDOM)
"""Which neurons have a strength in common: those of a category, or as many that are drawn at random."""


@dataclass(frozen=True)
class FitOptions:
    """The defaults are the command line's.

    Attributes:
        objective: as `read_objectives` takes it.
        end: the weight of the token that ends a generated answer, see `Gold`.
        layers: that are fitted, as `12-23`; None is the upper half.
        sharing: one of `fitting.tables.SHARINGS`.
        split: of the texts, how many of a turn are fitted on, decided on, and only reported.
        search: how to go down.
        groups: one of GROUPS.
        memory: gigabytes that the states below the first fitted layer may take; more are computed again.
        checkpointing: less memory for more time.
        write: put the strengths into the checkpoint.
    """

    objective: str = "gold"
    end: float = 0.0
    layers: str | None = None
    sharing: str = SHRUNK
    split: tuple[int, int, int] = (2, 1, 1)
    search: SearchOptions = field(default_factory=SearchOptions)
    groups: str = PROFILED
    memory: float = 4.0
    checkpointing: bool = False
    write: bool = False

    @property
    def turn(self) -> tuple[int, ...]:
        """The part of each of as many texts as `split` counts, those of a part spread over the turn."""
        places = [((at + 0.5) / count, part) for part, count in enumerate(self.split) for at in range(count)]
        return tuple(part for _, part in sorted(places))

    def check(self) -> None:
        """Raises InputError for a value that nothing could make right."""
        read_objectives(self.objective)
        if min(self.split) < 1:
            raise InputError(f"split {','.join(map(str, self.split))}: give each part one text of a turn or more")
        if self.groups not in GROUPS:
            raise InputError(f"groups {self.groups!r}: choose one of {', '.join(GROUPS)}")
        options = self.search
        if not 0 <= self.end < float("inf"):
            raise InputError(f"end {self.end}: give a weight that is 0 or more")
        if not options.penalties or min(options.penalties) < 0 or not np.isfinite(options.penalties).all():
            raise InputError(f"penalties {options.penalties}: give numbers that are 0 or more")
        if min(options.epochs, options.patience) < 1 or not 0 < options.rate < float("inf") or self.memory < 0:
            raise InputError("epochs and patience must be 1 or more, the rate above 0 and the memory 0 or more")
