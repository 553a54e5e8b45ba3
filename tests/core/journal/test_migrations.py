import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from levada import StateError
from levada.journal import schema
from levada.journal.rows import checksum

FIRST = """
CREATE TABLE partition (id INTEGER PRIMARY KEY, source TEXT, sorting TEXT, state TEXT, last INTEGER);
CREATE TABLE dead (id INTEGER PRIMARY KEY, sink TEXT);
CREATE TABLE event (seq INTEGER, id, type, time, subject, kind, raw BLOB, crc INTEGER);
INSERT INTO event VALUES (1, 'evt-1', 'a', 't', NULL, NULL, x'7b7d', 0);
CREATE TABLE seen (partition INTEGER, id TEXT, PRIMARY KEY (partition, id)) WITHOUT ROWID;
INSERT INTO seen VALUES (1, 'evt-1');
PRAGMA user_version = 1;
"""
"""Of the first schema, what the second one changes."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"PRAGMA application_id = {schema.APPLICATION_ID}; {FIRST}")
    return path


def columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def test_an_older_journal_is_brought_up_to_date(path: Path) -> None:
    with closing(schema.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert "memo" in columns(connection, "partition")
        assert connection.execute("SELECT * FROM seen").fetchall() == [(1, "evt-1", 0)]
        assert connection.execute("SELECT count(*) FROM diagnostic").fetchone() == (0,)
        expected = checksum("evt-1", "a", "t", None, None, b"{}")
        assert connection.execute("SELECT crc FROM event").fetchone() == (expected,)


def test_a_copy_of_it_stays(path: Path) -> None:
    schema.connect(path).close()

    copy = path.with_name("state.db.bak-v1")
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert "memo" not in columns(connection, "partition")


def test_a_reader_leaves_it_as_it_is(path: Path) -> None:
    before = path.read_bytes()

    with pytest.raises(StateError, match="older Levada; `levada run` brings it up to date"):
        schema.connect(path, readonly=True)

    assert path.read_bytes() == before


def test_a_step_that_fails_changes_nothing(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE diagnostic (theirs)")

    with pytest.raises(StateError, match="already exists"):
        schema.connect(path)

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert "memo" not in columns(connection, "partition")


def test_both_ways_lead_to_the_same_tables(path: Path, tmp_path: Path) -> None:
    schema.connect(path).close()
    schema.create(tmp_path / "new.db")

    with (
        closing(sqlite3.connect(path)) as old,
        closing(sqlite3.connect(tmp_path / "new.db")) as new,
    ):
        for table in ("seen", "diagnostic"):
            assert columns(old, table) == columns(new, table)
        indexes = "SELECT name FROM sqlite_schema WHERE name LIKE 'partition%' AND type = 'index'"
        ours = {"partition_closed", "partition_settled"}
        assert ours <= {name for (name,) in old.execute(indexes)}
        assert ours <= {name for (name,) in new.execute(indexes)}
