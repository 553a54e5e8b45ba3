"""How a journal is made."""

import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

from levada.errors import StateError
from levada.journal import checksums
from levada.journal.files import PAGE_BYTES, log_of, removed, synced
from levada.journal.header import APPLICATION_ID
from levada.journal.tables import TABLES, VERSION
from levada.journal.trouble import told


def create(path: Path) -> None:
    """Create an empty journal at *path*, durable once this returns.

    It is made under another name and renamed, so *path* is either whole or not there.

    Raises:
        StateError: *path* was removed, but not what belongs to it.
    """
    # SQLite would replay a log into the new file.
    for left in log_of(path), checksums.path_of(path):
        if left.exists():
            raise StateError(
                f"{path} is missing, but {left.name} is there; restore it, or remove both"
            )
    with told(path, "made"):
        _create(path)


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
