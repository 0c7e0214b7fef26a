"""Appending predictions, so that a run that is killed at any moment goes on where it was.

Examples are computed in the order of a plan, batch by batch, and for several methods at once.  A batch counts when it
stands in the files of all of them; what is there beyond that is cut off and computed again, so that the bytes are those
of a run that never stopped.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from clas_models.atomic import fsync_path
from clas_models.errors import InputError

from .engine.batches import whole_batches
from .run_folder import Record, parsed, whole_lines


@dataclass(frozen=True)
class Predictions:
    """The files of methods that are computed together, in one task and language.

    Attributes:
        files: one a method.
        batches: how many batches of the plan are in all of them.
        records: what stands in each of them.
    """

    files: tuple[Path, ...]
    batches: int
    records: tuple[tuple[Record, ...], ...]

    @classmethod
    def resume(cls, files: Sequence[Path], keys: Sequence[str], batches: Sequence[Sequence[int]]) -> Self:
        """What was done before; nothing where there are no files yet.

        Args:
            files: one a method.
            keys: of all examples.
            batches: the plan, indices into `keys`.

        Raises:
            InputError: a file that does not fit the plan; it names the line.
            OSError: a file cannot be read or cut.
        """
        order = [keys[index] for batch in batches for index in batch]
        lines = [whole_lines(file) for file in files]
        records = [_checked(file, found, order) for file, found in zip(files, lines, strict=True)]
        done = whole_batches(batches, min(map(len, records)))
        count = sum(len(batch) for batch in batches[:done])
        for file, found in zip(files, lines, strict=True):
            size = sum(len(line) + 1 for line in found[:count])
            if file.exists() and file.stat().st_size != size:
                os.truncate(file, size)
                fsync_path(file)
        return cls(tuple(files), done, tuple(tuple(found[:count]) for found in records))

    def append(self, records: Sequence[Sequence[Record]]) -> None:
        """Add one batch, a list of records for each file, and wait until it is on the disk.

        Raises OSError: the disk is full or not writable; the files can still be resumed.
        """
        for file, lines in zip(self.files, records, strict=True):
            _append(file, "".join(line.to_json() + "\n" for line in lines).encode())


def alike(files: Sequence[Path], batches: Sequence[Sequence[int]]) -> list[list[int]]:
    """The files, by their indices, that a kill may have left as they are: at most one batch apart from each other.

    Others are not computed together: what one of them has more than another would be cut off.
    """
    done = [whole_batches(batches, len(whole_lines(file))) for file in files]
    found: list[list[int]] = []
    for index in sorted(range(len(files)), key=done.__getitem__):
        if found and done[index] - done[found[-1][0]] <= 1:
            found[-1].append(index)
        else:
            found.append([index])
    return [sorted(indices) for indices in found]


def _checked(file: Path, lines: list[bytes], order: Sequence[str]) -> list[Record]:
    records = list(parsed(file, lines))
    for number, (record, key) in enumerate(zip(records, order, strict=False), start=1):
        if record.key != key:
            raise InputError(
                f"{file}, line {number}: example {record.key}, where {key} belongs; delete the file and run again"
            )
    if len(records) > len(order):
        raise InputError(f"{file}, line {len(order) + 1}: more lines than examples; delete the file and run again")
    return records


def _append(file: Path, content: bytes) -> None:
    is_new = not file.exists()
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        while content:
            content = content[os.write(descriptor, content) :]
        os.fsync(descriptor)
    except OSError as error:
        error.filename = str(file)
        raise
    finally:
        os.close(descriptor)
    if is_new:
        fsync_path(file.parent)
