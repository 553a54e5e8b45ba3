"""The state folder: made for its owner alone, and refused where others could change what is in it."""

import os
import stat
from pathlib import Path

from levada.errors import StateError


def prepare(folder: Path) -> None:
    """Create *folder* where it is missing, and refuse one that is not only ours.

    Raises:
        StateError: it cannot be made, or `check` says so.
    """
    try:
        _create(folder)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = getattr(error, "strerror", error)
        raise StateError(f"the state folder {folder} cannot be made: {why}") from error
    check(folder)


def check(folder: Path) -> None:
    """Refuse a folder in which others could change what we write.

    Raises:
        StateError: it belongs to another user, or everybody may write to it.
    """
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise StateError(
            f"the state folder {folder} belongs to user {found.st_uid}, who could change what we"
            " write; run as that user, or give this pipeline a `state` of its own"
        )
    if found.st_mode & stat.S_IWOTH:
        raise StateError(
            f"everybody may write to the state folder {folder}; run: chmod 700 {folder}"
        )


def _create(folder: Path) -> None:
    """Create *folder* and its missing parents, all for their owner only.

    Whoever may write to a parent could put another folder in the place of ours.
    """
    if folder.is_dir():
        return
    _create(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
