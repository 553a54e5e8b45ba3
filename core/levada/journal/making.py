"""How a journal is made, and whether one was."""

import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from levada.errors import StateError
from levada.journal import checksums
from levada.journal.files import FILE, PAGE_BYTES, log_of, removed, synced
from levada.journal.header import APPLICATION_ID
from levada.journal.tables import TABLES, VERSION
from levada.journal.trouble import told


def made_in(folder: Path) -> Path | None:
    """Return where the journal of a state folder is; None: none was made yet.

    It may be asked at any time, also while one is being made.

    Raises:
        StateError: it is gone, but not what belongs to it; or the folder cannot be looked into.
    """
    path = folder / FILE
    with told(path, "read"):
        left = _left(path)
        if _is_there(path):
            return path
    if left:
        raise _is_gone(path, left)
    return None


def create(path: Path) -> None:
    """Create an empty journal at *path*, durable once this returns.

    It is made under another name and renamed, so *path* is either whole or not there.

    Raises:
        StateError: *path* was removed, but not what belongs to it.
    """
    if left := _left(path):  # SQLite would replay a log into the new file
        raise _is_gone(path, left)
    with told(path, "made"):
        _create(path)


def _left(path: Path) -> list[Path]:
    """Return what is there of all that is beside a journal and not made before it."""
    return [each for each in (log_of(path), checksums.path_of(path)) if _is_there(each)]


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _is_gone(path: Path, left: Sequence[Path]) -> StateError:
    names = " and ".join(each.name for each in left)
    return StateError(
        f"{path} is missing, but not {names}; restore it, or remove {names} as well to start afresh"
    )


def _create(path: Path) -> None:
    draft = path.with_suffix(".new")
    removed(draft)
    draft.touch(mode=0o600)  # the files that SQLite puts beside it get the same mode
    with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
        connection.executescript(
            f"PRAGMA page_size = {PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL;"
            "PRAGMA journal_mode = WAL;"  # from the first, so that there is only one kind of log
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
            f"BEGIN; {TABLES} COMMIT;"
        )
        connection.execute("INSERT INTO meta VALUES ('journal', ?)", (str(uuid.uuid4()),))
        connection.execute("INSERT INTO meta VALUES ('bytes', '0'), ('closed', '1')")
    synced(draft)
    draft.rename(path)
    synced(path.parent)
