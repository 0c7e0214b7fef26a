"""A grid of strengths, beside the unsteered base: every combination of alpha, beta and gamma, or of layers and
strengths of vectors, or of all of them.

All settings are computed in one pass over each batch, with every layer run once for all settings that nothing has
parted yet, and, for vectors on the last token of a prompt, the tokens before it once for all settings (`engine/`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from clas_models.errors import InputError
from clas_models.profiling.bridge_layers import parse_layers

from .loading import Checkpoint
from .methods import Method, method_of, methods_of, own_steering
from .plan import Plan
from .progress import Progress
from .run_folder import BASE, CLAS, CLAS_VECTORS, VECTORS
from .run_options import RunOptions
from .runner import Outcome, execute

DEFAULT_ALPHAS = (-8.0, -6.0, -4.0, -2.0, 0.0, 2.0, 4.0)  # the paper's Figure 5
DEFAULT_VECTOR_STRENGTHS = (-1.0, 1.0, 2.0, 3.0)
_LAYERS_TRIED = 7  # where nobody names them


@dataclass(frozen=True)
class Grid:
    """The values of each strength, as a user named them; None is what was not named.

    Attributes:
        alpha, beta, gamma: of the scaling.
        vector_layers: as `12,14` or `12-18`, each tried alone.
        vector_strength: of the vectors.
        vector_positions: on which tokens the vectors act.
    """

    alpha: tuple[float, ...] | None = None
    beta: tuple[float, ...] | None = None
    gamma: tuple[float, ...] | None = None
    vector_layers: str | None = None
    vector_strength: tuple[float, ...] | None = None
    vector_positions: str | None = None

    def completed(self, checkpoint: Checkpoint, layers: Sequence[int] = ()) -> "Grid":
        """With values for what is tried and was not named.

        Vectors are tried where anything is said of them, scaling where anything is said of it; where nothing is said
        of either, vectors if the checkpoint steers with nothing else, and else scaling.

        Args:
            layers: of the vectors; without any, some that lie evenly between first and last.
        """
        scaling = (self.alpha, self.beta, self.gamma) != (None, None, None)
        vectors = (self.vector_layers, self.vector_strength, self.vector_positions) != (None, None, None)
        if not scaling and not vectors:
            vectors = own_steering(checkpoint) == VECTORS
            scaling = not vectors
        found = self
        if scaling and self.alpha is None:
            found = replace(found, alpha=DEFAULT_ALPHAS)
        if vectors and self.vector_strength is None:
            found = replace(found, vector_strength=DEFAULT_VECTOR_STRENGTHS)
        if vectors and self.vector_layers is None:
            tried = layers or _spread(int(checkpoint.config.num_hidden_layers))
            found = replace(found, vector_layers=",".join(map(str, tried)))
        return found

    def check(self) -> None:
        """Raises InputError: a list without a value, one that is not finite, or one that stands there twice."""
        for name in ("alpha", "beta", "gamma", "vector_strength"):
            values = getattr(self, name)
            if values is None:
                continue
            if not values:
                raise InputError(f"{name}: no value; give one or several, such as 0.2,0.4")
            for value in values:
                if not math.isfinite(value):
                    raise InputError(f"{name} {value}: must be a finite number")
                if values.count(value) > 1:
                    raise InputError(f"{name} {value:g} is given more than once: name every value once")

    @property
    def kind(self) -> str:
        """Of the methods of one that is completed."""
        if self.vector_strength is None:
            return CLAS
        return VECTORS if self.alpha is None else CLAS_VECTORS


def grid_methods(grid: Grid, checkpoint: Checkpoint) -> list[Method]:
    """The base, and steering with every combination.

    Raises InputError: the checkpoint is a plain one, a value cannot be used, or there are no vectors to try.
    """
    grid.check()
    grid = grid.completed(checkpoint)
    base = methods_of([BASE], checkpoint, {})
    axes: dict[str, Sequence[Any]] = {}
    if grid.alpha is not None:
        axes = {"alpha": grid.alpha, "beta": _own(grid.beta, checkpoint, "beta")}
        axes["gamma"] = _own(grid.gamma, checkpoint, "gamma")
    if grid.vector_layers is not None and grid.vector_strength is not None:
        layers = parse_layers(grid.vector_layers, int(checkpoint.config.num_hidden_layers))
        axes |= {"layer": [(layer,) for layer in layers], "strength": grid.vector_strength}
    fixed = {"positions": grid.vector_positions} if grid.vector_positions else {}
    settings: list[Mapping[str, Any]] = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    return base + [method_of(grid.kind, {**setting, **fixed}, checkpoint) for setting in settings]


def _spread(count: int) -> list[int]:
    """Of `count` layers some that lie evenly between first and last."""
    tried = min(_LAYERS_TRIED, count)
    return sorted({round((place + 1) * count / (tried + 1)) for place in range(tried)})


def _own(values: tuple[float, ...] | None, checkpoint: Checkpoint, name: str) -> tuple[float, ...]:
    return (getattr(checkpoint.config, name, 0.0),) if values is None else values


def run_grid(options: RunOptions, grid: Grid, progress: Progress) -> tuple[Plan, Outcome]:
    """The command `grid`; raises as `run_methods`."""
    checkpoint = options.open()
    plan = Plan.of("grid", options, checkpoint, grid_methods(grid, checkpoint))
    return plan, execute(plan, progress)
