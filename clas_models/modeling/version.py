"""The version of this code, and which checkpoints it can read.

A checkpoint says which version wrote it and carries that version's files, so code and checkpoint can only differ where
the installed package reads a checkpoint of another version, or where files were exchanged.
"""

import re

VERSION = "0.2.0"

_FORM = re.compile(r"\d+\.\d+\.\d+")


def check_version(written_by: object) -> None:
    """That this code can read what `written_by` wrote: its own version and every older one; a patch changes nothing.

    Raises TypeError, ValueError: not a version, or that of newer code.
    """
    if not isinstance(written_by, str):
        raise TypeError(f'clas_version: {written_by!r} is of type {type(written_by).__name__}; allowed is "{VERSION}"')
    if not _FORM.fullmatch(written_by):
        raise ValueError(f'clas_version: {written_by!r} is not a version; allowed is one such as "{VERSION}"')
    if _release(written_by) > _release(VERSION):
        raise ValueError(
            f"clas_version: the checkpoint was written by clas-models {written_by}, and this code ({__name__}) is of "
            f"version {VERSION}; upgrade it (pip install -U clas-models), or load the checkpoint with its own files: "
            "trust_remote_code=True where the package is not imported"
        )


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
