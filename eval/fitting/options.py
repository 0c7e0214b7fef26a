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
_LONGEST_TURN = 1000  # it is laid out text by text


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
        if sum(self.split) > _LONGEST_TURN:
            raise InputError(f"split {','.join(map(str, self.split))}: give at most {_LONGEST_TURN} texts of a turn")
        options = self.search
        if not options.penalties or min(options.penalties) < 0 or not np.isfinite(options.penalties).all():
            raise InputError(f"penalties {options.penalties}: give numbers that are 0 or more")
        for name, value, is_right, allowed in (
            ("end", self.end, 0 <= self.end < np.inf, "a weight that is 0 or more"),
            ("epochs", options.epochs, options.epochs >= 1, "a number of passes, 1 or more"),
            ("patience", options.patience, options.patience >= 1, "a number of passes, 1 or more"),
            ("rate", options.rate, 0 < options.rate < np.inf, "a step above 0"),
            ("seed", options.seed, 0 <= options.seed < 2**63, "a whole number of 0 or more, below 2**63"),
            ("memory", self.memory, 0 <= self.memory < np.inf, "gigabytes, 0 or more"),
        ):
            if not is_right:
                raise InputError(f"{name} {value}: give {allowed}")
