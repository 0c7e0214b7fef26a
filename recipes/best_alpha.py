"""The alpha of a grid that is best on average over languages, without the anchor: what CLAS's tables are made with.

Section 4.4 of Pokharel, Agrawal, Nagar: alpha is tuned for each model and task by a grid search.  It is chosen on
examples that the tables are then about, too; `eval tune` is the way that keeps them apart.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from clas_models.command_line import Parser, guarded, user_path
from clas_models.errors import InputError
from eval.report.collect import collect
from eval.report.comparison import compare
from eval.report.grid_tables import best_on_average, grid_points

PROG = "python -m recipes.best_alpha"


def best_alpha(grid: Path) -> float:
    """Of a grid with alphas beside the base. Raises InputError: the folder is none, or has one language alone."""
    comparison = compare(collect([grid])[0])
    best = None if comparison is None else best_on_average(comparison)
    if comparison is None or best is None:
        raise InputError(f"{grid}: no alpha beside 0 in a language that is not the anchor; add some to the grid")
    return next(point.dial for point in grid_points(comparison) if point.method == best)


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    parser = Parser(prog=PROG, description="The best alpha of a grid, on average over languages.", allow_abbrev=False)
    parser.add_argument("grid", type=user_path, metavar="GRID", help="the folder that eval grid wrote")
    return guarded(partial(_tell, parser.parse_args(arguments).grid), PROG)


def _tell(grid: Path) -> int:
    print(f"{best_alpha(grid):g}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
