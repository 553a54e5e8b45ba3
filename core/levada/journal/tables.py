"""The journal's tables, and which columns a database has."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from typing import Any, TypeAlias

VERSION = 5
"""Of the tables; `levada.journal.migrations` leads to it."""

Column: TypeAlias = tuple[Any, ...]
"""A column's type, whether it is NOT NULL, its default, its place in the primary key, and what it refers to."""

# AUTOINCREMENT: without it numbers would start again at 1 once the table is pruned empty, and
# sinks would take new events for old ones. A forgotten partition's id would come back as well.
# A column that came later is the last of its table, where a migration puts it too.
TABLES = """
-- 'journal' is its UUID, 'closed' whether no process has it; 'bytes' about what its events take,
-- 'dead' what its dead letters do, which is not there before the first.
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

-- `due` is when the whole sink may be tried again, for what its destination asked, in Unix seconds;
-- `wait` is how many seconds that was from when it asked: more cannot be left.
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
    moves INTEGER NOT NULL DEFAULT 0,
    wait REAL
) WITHOUT ROWID;

-- `due` and `wait` as in `sink`.
CREATE TABLE delivery (
    id INTEGER PRIMARY KEY,
    sink TEXT NOT NULL REFERENCES sink (name),
    first INTEGER NOT NULL,
    members TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL,
    reason TEXT,
    wait REAL
);
CREATE INDEX delivery_sink ON delivery (sink, first);

-- `sink` is '' for what a source could not make an event of; `event` is then a hash of `raw`.
-- `raw` is empty where the row of the event is still there, or another letter has it.
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
CREATE INDEX dead_seq ON dead (seq);

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
