"""What a command may write over: what it finds is kept, added to, or replaced because the user says so.

Every command that writes a folder or a file that another call has written asks here before it begins, and has the
option `--overwrite`.  What would be lost, and whether anything would, only the command itself can tell.
"""

from pathlib import Path

from .errors import InputError

RUN_NAME = "run.json"  # what the folder of an evaluation is known by


def refuse_loss(place: Path, lost: str, *, overwrite: bool, instead: str = "give another --out") -> None:
    """Raises InputError: something is `lost` ("" is nothing) where `place` is written, and not by the user's will."""
    if lost and not overwrite:
        raise InputError(f"{place}: {lost}; {instead}, or --overwrite to replace it")


def refuse_runs_within(place: Path) -> None:
    """Raises InputError: the folder, which is to be replaced whole, holds an evaluation, which nobody meant."""
    if run := next(place.rglob(RUN_NAME), None):
        raise InputError(
            f"{run.parent}: the folder of an evaluation, within {place}, which --overwrite would remove with it; move "
            "it, or give another --out"
        )
