"""The training split of a data set of the Hub, or of a folder that is laid out like one, and rows of it as a file.

What the rows hold is the business of the modules beside it.
"""

import json
import random
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from clas_models.atomic import atomic_file, check_place
from clas_models.command_line import Messages, Parser, path_or_name, user_path
from clas_models.errors import InputError
from clas_models.keeping import refuse_loss
from clas_models.profiling.corpora.hub_table import HubTable, check_reachable

_REMEDY = "give a folder that is laid out like the data set as --dataset"


def training_split(dataset: str, config: str) -> HubTable:
    """The rows of `train`, streamed. Raises InputError: no such data set, configuration or split, or no Hub."""
    if not Path(dataset).is_dir():
        check_reachable(dataset, _REMEDY)
    return HubTable.open(dataset, config, _REMEDY, order=("train",))


def drawn(rows: Iterable[dict[str, Any]], wanted: int | None, seed: int, dataset: str) -> list[dict[str, Any]]:
    """`wanted` of the rows in random order, or all in their own for None; the same ones for the same seed.

    Raises InputError: there are fewer.
    """
    found = list(rows)
    if wanted is None:
        return found
    if not 0 < wanted <= len(found):
        raise InputError(f"rows {wanted}: {dataset} has {len(found):,} that can be used; ask for 1 to {len(found):,}")
    return random.Random(seed).sample(found, wanted)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """A JSON Lines file, which appears whole or not at all. Raises OSError: it cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def parser_of(prog: str, what: str, dataset: str, config: str, rows: int | None) -> Parser:
    """The options that the makers of training files share."""
    parser = Parser(prog=prog, description=what, allow_abbrev=False)
    parser.add_argument("--out", type=user_path, required=True, metavar="FILE", help="a JSON Lines file")
    parser.add_argument("--dataset", type=path_or_name, default=dataset, metavar="NAME", help="a Hub id, or a folder "
                        "laid out like it (default: %(default)s)")  # fmt: skip
    parser.add_argument("--config", default=config, metavar="NAME", help="its configuration (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=rows, metavar="N", help="how many, drawn at random (default: "
                        f"{'all' if rows is None else f'{rows:,}'})")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    parser.add_argument("--quiet", action="store_true", help="say nothing")
    return parser


def write_drawn(given: Namespace, rows: Iterable[dict[str, Any]]) -> int:
    """What a command does with its rows. Raises InputError: too few of them, or a file is there already."""
    check_place(given.out.parent)
    refuse_loss(given.out, "exists already" if given.out.exists() else "", overwrite=given.overwrite)
    chosen = drawn(rows, given.rows, given.seed, given.dataset)
    write_rows(given.out, chosen)
    Messages(given.quiet).say(f"{given.out}: {len(chosen):,} rows of {given.dataset}")
    return 0
