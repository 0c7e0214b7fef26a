"""What lies in a checkpoint's folder and is no part of the checkpoint: it stays when the folder is made anew."""

import os
import shutil
from pathlib import Path

from ..atomic import LOCK_NAME, fsync_path
from .mask_file import RECORD_NAME
from .model_card import CARD_NAME
from .source import PROFILE_NAME, QUANTILES_NAME, STRENGTHS_NAME, VECTORS_NAME, Source
from .weights import INDEX_NAME

FORMER_CARD = "README.before.md"
# What a conversion leaves out it means to leave out.
_OURS = (LOCK_NAME, RECORD_NAME, PROFILE_NAME, QUANTILES_NAME, STRENGTHS_NAME, VECTORS_NAME, INDEX_NAME)


def keep_foreign(source: Source, folder: Path) -> None:
    """Give what a user has put into the source's folder a second name in the one that takes its place.

    So notes, adapters and other formats of the model stay.  The card may have words of a user's, too: the first one
    stays as `FORMER_CARD`.

    Raises OSError: the disk is full or not writable.
    """
    ours = {*_OURS, *(shard.path.name for shard in source.shards)}
    for path in source.folder.iterdir():
        if path.name not in ours and not os.path.lexists(folder / path.name):
            _second_name(path, folder / path.name)
    card, former = source.folder / CARD_NAME, folder / FORMER_CARD
    if card.is_file() and not former.exists():
        shutil.copyfile(card, former)
        fsync_path(former)


def _second_name(path: Path, target: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, target, symlinks=True, copy_function=_link)
    else:
        _link(path, target)


def _link(path: str | Path, target: str | Path) -> None:
    """A copy where the file system has no hard links; links stay links."""
    try:
        os.link(path, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(path, target, follow_symlinks=False)
