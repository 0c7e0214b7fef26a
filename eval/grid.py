"""A grid of strengths: every combination of alpha, beta and gamma, beside the unsteered base.

All settings are computed in one pass over each batch, with the layers below the first steered one run once
(`engine/choices.py`, `engine/generation.py`).
"""

import math
from dataclasses import dataclass
from itertools import product

from clas_models.errors import InputError

from .loading import Checkpoint
from .methods import BASE, Method, clas_method, methods_of
from .progress import Progress
from .run_options import RunOptions
from .runner import Outcome, Plan, execute

DEFAULT_ALPHAS = (-8.0, -6.0, -4.0, -2.0, 0.0, 2.0, 4.0)  # the paper's Figure 5


@dataclass(frozen=True)
class Grid:
    """The values of each strength; None is the checkpoint's own."""

    alpha: tuple[float, ...] = DEFAULT_ALPHAS
    beta: tuple[float, ...] | None = None
    gamma: tuple[float, ...] | None = None

    def check(self) -> None:
        """Raises InputError: a list without a value, one that is not finite, or one that stands there twice."""
        for name, values in (("alpha", self.alpha), ("beta", self.beta), ("gamma", self.gamma)):
            if values is None:
                continue
            if not values:
                raise InputError(f"{name}: no value; give one or several, such as 0.2,0.4")
            for value in values:
                if not math.isfinite(value):
                    raise InputError(f"{name} {value}: must be a finite number")
                if values.count(value) > 1:
                    raise InputError(f"{name} {value:g} is given more than once: name every value once")


def grid_methods(grid: Grid, checkpoint: Checkpoint) -> list[Method]:
    """The base, and steering with every combination.

    Raises InputError: the checkpoint is a plain one, or a value cannot be used.
    """
    grid.check()
    base = methods_of([BASE], checkpoint, {})
    beta, gamma = (
        (getattr(checkpoint.config, name, 0.0),) if values is None else values
        for name, values in (("beta", grid.beta), ("gamma", grid.gamma))
    )
    return base + [
        clas_method(checkpoint, dict(zip(("alpha", "beta", "gamma"), strengths, strict=True)))
        for strengths in product(grid.alpha, beta, gamma)
    ]


def run_grid(options: RunOptions, grid: Grid, progress: Progress) -> tuple[Plan, Outcome]:
    """The command `grid`; raises as `run_methods`."""
    checkpoint = options.open()
    plan = Plan.of("grid", options, checkpoint, grid_methods(grid, checkpoint))
    return plan, execute(plan, progress)
