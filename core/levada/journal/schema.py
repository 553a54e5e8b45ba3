"""The journal's tables, its pragmas, and how it is opened."""

import logging
import sqlite3
import uuid
from collections.abc import Mapping
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from levada.errors import StateError
from levada.journal import rest, values
from levada.journal.files import has_log, log_of, synced
from levada.journal.migrations import migrate
from levada.journal.trouble import DamagedError, is_of_place, told

log: logging.Logger = logging.getLogger("levada.journal")

APPLICATION_ID = 0x4C565644  # "LVVD"
VERSION = 4

ALWAYS_CHECKED_BYTES = 64 * 1024 * 1024
CHECKED_BYTES = 256 * 1024 * 1024

Column: TypeAlias = tuple[Any, ...]
"""A column's type, whether it is NOT NULL, its default, its place in the primary key, and what it refers to."""

# FULL, not NORMAL: what follows a commit (an unlink, an answer to an upstream, a pruned row) cannot
# be undone, so the commit has to survive a power loss.
PRAGMAS = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA busy_timeout = 5000;
PRAGMA foreign_keys = ON;
PRAGMA trusted_schema = OFF;
PRAGMA wal_autocheckpoint = 1000;
PRAGMA journal_size_limit = 16777216;
PRAGMA temp_store = MEMORY;
PRAGMA mmap_size = 0;
"""

# AUTOINCREMENT: without it numbers would start again at 1 once the table is pruned empty, and
# sinks would take new events for old ones. A forgotten partition's id would come back as well.
# A column that came later is the last of its table, where a migration puts it too.
TABLES = """
-- 'journal' is its UUID, 'bytes' about what its events take, 'closed' whether no process has it.
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE source (
    name TEXT PRIMARY KEY,
    connector TEXT NOT NULL,
    account TEXT NOT NULL,
    position TEXT
) WITHOUT ROWID;

-- `state` is open, lingering, closed, gone, or settled: closed, and never asked for again.
-- `version` is NULL while the last read was not complete; `memo` is the source's own.
-- `last` is the number of its newest event; the row has to stay as long as that one does.
CREATE TABLE partition (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    connector TEXT NOT NULL,
    account TEXT NOT NULL,
    key TEXT NOT NULL,
    source TEXT NOT NULL,
    uri TEXT NOT NULL,
    position TEXT,
    version TEXT,
    sorting TEXT,
    final INTEGER NOT NULL DEFAULT 0,
    changed TEXT,
    state TEXT NOT NULL DEFAULT 'open',
    events INTEGER NOT NULL DEFAULT 0,
    last INTEGER NOT NULL DEFAULT 0,
    memo TEXT,
    UNIQUE (connector, account, key)
);
CREATE INDEX partition_open ON partition (source, state) WHERE state IN ('open', 'lingering');
CREATE INDEX partition_closed ON partition (source, sorting) WHERE state IN ('closed', 'gone');
CREATE INDEX partition_settled ON partition (last) WHERE state = 'settled';

-- All ids of a partition that is open, the newest of one that is closed.
CREATE TABLE seen (
    partition INTEGER NOT NULL REFERENCES partition (id),
    id TEXT NOT NULL,
    seq INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (partition, id)
) WITHOUT ROWID;

CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    partition INTEGER NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    time TEXT NOT NULL,
    subject TEXT,
    kind TEXT,
    raw BLOB NOT NULL,
    crc INTEGER NOT NULL,
    kept_at INTEGER NOT NULL
);

-- `due` is when the whole sink may be tried again, for what its destination asked, in Unix seconds.
-- `moves` is how often it has lost its receipt, because it went on elsewhere or by damage.
CREATE TABLE sink (
    name TEXT PRIMARY KEY,
    connector TEXT NOT NULL,
    identity TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'active',
    reason TEXT,
    seq INTEGER NOT NULL,
    receipt TEXT,
    since INTEGER NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0,
    filtered INTEGER NOT NULL DEFAULT 0,
    due REAL,
    moves INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE delivery (
    id INTEGER PRIMARY KEY,
    sink TEXT NOT NULL REFERENCES sink (name),
    first INTEGER NOT NULL,
    members TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL,
    reason TEXT
);
CREATE INDEX delivery_sink ON delivery (sink, first);

-- `sink` is '' for what a source could not make an event of; `event` is then a hash of `raw`.
-- The last five are what an event has besides, so that it can be delivered when its row has gone.
CREATE TABLE dead (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sink TEXT NOT NULL,
    connector TEXT NOT NULL,
    account TEXT NOT NULL,
    partition TEXT NOT NULL,
    event TEXT NOT NULL,
    seq INTEGER,
    raw BLOB NOT NULL,
    reason TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    time TEXT NOT NULL,
    uri TEXT,
    event_type TEXT,
    event_time TEXT,
    subject TEXT,
    kind TEXT,
    UNIQUE (sink, connector, account, partition, event)
);

-- What connectors reported besides events; `connector` is its name in the pipeline.
CREATE TABLE diagnostic (
    connector TEXT NOT NULL,
    what TEXT NOT NULL,
    fields TEXT NOT NULL,
    count INTEGER NOT NULL,
    first TEXT NOT NULL,
    last TEXT NOT NULL,
    PRIMARY KEY (connector, what, fields)
) WITHOUT ROWID;
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open an existing journal to write to it, and bring it up to date.

    What `look` finds wrong with it is for those who mend it, or have looked before.

    Raises:
        DamagedError: SQLite cannot read it, or its tables are not a journal's.
        StateError: not a journal, empty, or written by a newer version of Levada.
    """
    check_is_file(path)
    with told(path, "opened"), ExitStack() as stack:
        connection = stack.enter_context(closing(_open(path)))
        version = _check(connection, path)
        rest.forget(path)
        connection.executescript(PRAGMAS)
        if version < VERSION:
            migrate(connection, path, version=version, target=VERSION)
        _check_tables(connection, path)
        stack.pop_all()
    return connection


def look(path: Path) -> sqlite3.Connection:
    """Check a journal that is to be written to; return a connection that only reads.

    As long as it is open the log stays, whoever else closes theirs. Until then nothing else of
    this process may open the file: closing that would undo the locks of this one.

    Raises:
        DamagedError: SQLite cannot read it, bits have changed since it was closed, what another
            program has made of it cannot be right, or its log is missing.
        StateError: not a journal, empty, or written by another version of Levada.
    """
    check_is_file(path)
    with told(path, "opened"), ExitStack() as stack:
        change = _change(path)
        has_its_log = has_log(path)
        connection = stack.enter_context(closing(_open(path, "mode=ro")))
        version = _check(connection, path)
        if not (has_its_log or rest.is_closed(connection)):
            raise DamagedError(path, f"its log, {log_of(path).name}, is missing")
        if change:
            _check_all(connection, path, values_too=version == VERSION)
        stack.pop_all()
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a journal to read it, also while another process writes to it.

    Raises:
        DamagedError: SQLite cannot read it, its tables are not a journal's, or bits have changed
            since it was closed.
        StateError: not a journal, empty, or written by another version of Levada.
    """
    check_is_file(path)
    with told(path, "opened"), ExitStack() as stack:
        _change(path)
        connection = stack.enter_context(closing(_open_to_read(path)))
        if _check(connection, path) < VERSION:
            raise StateError(
                f"{path} was written by an older Levada; `levada run` brings it up to date"
            )
        _check_tables(connection, path)
        stack.pop_all()
    return connection


def _change(path: Path) -> rest.Change:
    """Return what has changed since the journal was closed; refuse what is nothing but damage."""
    change = rest.change(path)
    if change.bits and not change.more:
        what = f"bits of it have changed since it was closed: {len(change.bits)}"
        raise DamagedError(path, what)
    return change


def check_is_file(path: Path) -> None:
    """Refuse what is no file: to read it might take for ever.

    Raises:
        StateError: it is a folder, a pipe or a device, or not there.
    """
    if not path.is_file():
        what = "is not a file" if path.exists() else "is not there"
        raise StateError(f"{path} {what}; move it away, or restore a copy")


def check_whole(connection: sqlite3.Connection, path: Path, *, unclean: bool) -> None:
    """Check the structure of a journal before anything is done with it.

    A large one is only checked if the last process did not end by itself: it takes about a second
    for a gigabyte. Rows of events carry a checksum besides.

    Raises:
        DamagedError: it is.
    """
    size = path.stat().st_size
    if size > (CHECKED_BYTES if unclean else ALWAYS_CHECKED_BYTES):
        return
    try:
        ((found,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise DamagedError(path, str(found))


def _check_all(connection: sqlite3.Connection, path: Path, *, values_too: bool) -> None:
    """Check all that can be checked of a journal that another program has changed, or damage."""
    ((found,),) = connection.execute("PRAGMA integrity_check(1)").fetchall()
    if found != "ok":
        raise DamagedError(path, str(found))
    odd = values.broken(connection) if values_too else {}
    if odd or (values_too and any(values.broken_events(connection))):
        raise DamagedError(path, f"{', '.join(odd) or 'events'} changed since it was closed")
    log.warning("%s was changed since Levada closed it; what can be checked of it is right", path)


def create(path: Path) -> None:
    """Create an empty journal at *path*, durable once this returns.

    It is made under another name and renamed, so *path* is either whole or not there.

    Raises:
        StateError: *path* was removed, but not the log that belongs to it.
    """
    left = log_of(path)
    if left.exists():  # SQLite would take it for the new file's and replay it
        raise StateError(f"{path} is missing, but {left.name} is there; restore it, or remove both")
    with told(path, "made"):
        _create(path)


def _create(path: Path) -> None:
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)  # the files that SQLite puts beside it get the same mode
    connection = _open(draft)
    try:
        connection.executescript(
            f"PRAGMA auto_vacuum = INCREMENTAL; PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {VERSION}; BEGIN; {TABLES} COMMIT;"
        )
        connection.execute("INSERT INTO meta VALUES ('journal', ?)", (str(uuid.uuid4()),))
        connection.execute("INSERT INTO meta VALUES ('bytes', '0'), ('closed', '1')")
    finally:
        connection.close()
    synced(draft)
    draft.rename(path)
    synced(path.parent)


def _open_to_read(path: Path) -> sqlite3.Connection:
    """Open a journal that is not to be changed, also where nothing can be written beside it.

    That SQLite does even to read one that is in use. One that is not it can read as it is.
    """
    connection = _open(path, "mode=ro")
    try:
        connection.execute("SELECT * FROM sqlite_schema").fetchone()
    except sqlite3.Error as error:
        connection.close()
        if not is_of_place(error) or has_log(path):
            raise
        return _open(path, "mode=ro&immutable=1")
    return connection


def _open(path: Path, how: str = "mode=rw") -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )


def _check(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of a journal that we can read."""
    if path.stat().st_size == 0:
        raise StateError(f"{path} is empty; remove it to start afresh, or restore a copy")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise StateError(f"{path} is not a journal of Levada; point `state` at another folder")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise StateError(
            f"{path} was written by a newer Levada (schema {version}, this one knows {VERSION}); upgrade"
        )
    return int(version)


def _check_tables(connection: sqlite3.Connection, path: Path) -> None:
    found = columns(connection)
    for table, expected in columns_expected().items():
        if found.get(table) != expected:
            raise DamagedError(path, f"its table '{table}' is not as it should be")


@cache
def columns_expected() -> Mapping[str, Mapping[str, Column]]:
    """Return the columns of each table of a journal."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(TABLES)
        return columns(connection)


def columns(connection: sqlite3.Connection) -> Mapping[str, Mapping[str, Column]]:
    """Return the columns of each table that there is: the type and constraints of each."""
    found: dict[str, dict[str, Column]] = {}
    for table, column, *facts in connection.execute(
        'SELECT found.name, info.name, info.type, info."notnull", info.dflt_value, info.pk'
        " FROM sqlite_schema AS found, pragma_table_info(found.name) AS info"
        " WHERE found.type = 'table'"
    ):
        found.setdefault(table, {})[column] = tuple(facts)
    for table, column, target in connection.execute(
        'SELECT found.name, key."from", key."table"'
        " FROM sqlite_schema AS found, pragma_foreign_key_list(found.name) AS key"
        " WHERE found.type = 'table'"
    ):
        found[table][column] += (target,)
    return found
