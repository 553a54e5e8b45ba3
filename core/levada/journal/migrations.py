"""Brings a journal that an older Levada wrote up to the present tables."""

import logging
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from levada.journal.files import synced
from levada.journal.rows import checksum

log: logging.Logger = logging.getLogger("levada.journal")

STEPS: Final[Mapping[int, str]] = {
    1: """
        ALTER TABLE partition ADD COLUMN memo TEXT;
        ALTER TABLE dead ADD COLUMN uri TEXT;
        ALTER TABLE dead ADD COLUMN event_type TEXT;
        ALTER TABLE dead ADD COLUMN event_time TEXT;
        ALTER TABLE dead ADD COLUMN subject TEXT;
        ALTER TABLE dead ADD COLUMN kind TEXT;
        ALTER TABLE seen ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX partition_closed ON partition (source, sorting)
            WHERE state IN ('closed', 'gone');
        CREATE INDEX partition_settled ON partition (last) WHERE state = 'settled';
        CREATE TABLE diagnostic (
            connector TEXT NOT NULL,
            what TEXT NOT NULL,
            fields TEXT NOT NULL,
            count INTEGER NOT NULL,
            first TEXT NOT NULL,
            last TEXT NOT NULL,
            PRIMARY KEY (connector, what, fields)
        ) WITHOUT ROWID;
        UPDATE event SET crc = checksum(id, type, time, subject, kind, raw);
    """,
    2: "ALTER TABLE sink ADD COLUMN due REAL;",
    3: "ALTER TABLE sink ADD COLUMN moves INTEGER NOT NULL DEFAULT 0;",
    4: """
        ALTER TABLE sink ADD COLUMN wait REAL;
        ALTER TABLE delivery ADD COLUMN wait REAL;
        CREATE INDEX dead_seq ON dead (seq);
    """,
}
"""What leads from each version to the next one."""


def migrate(connection: sqlite3.Connection, path: Path, *, version: int, target: int) -> None:
    """Take the journal at *path* from *version* to *target*, in one transaction, after a copy.

    The copy lies beside it as ``state.db.bak-v1`` and so on; nobody removes it but you.
    """
    copy = path.with_name(f"{path.name}.bak-v{version}")
    _copy(connection, copy)
    connection.create_function("checksum", 6, checksum, deterministic=True)
    steps = "".join(STEPS[number] for number in range(version, target))
    connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {target}; COMMIT;")
    log.warning("%s was brought up to schema %d; %s is as it was", path, target, copy.name)


def _copy(connection: sqlite3.Connection, copy: Path) -> None:
    draft = copy.with_name(f"{copy.name}.new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    with closing(sqlite3.connect(draft)) as target:
        connection.backup(target)
    draft.rename(copy)
    synced(copy.parent)  # SQLite has synced the copy itself, but nobody its name
