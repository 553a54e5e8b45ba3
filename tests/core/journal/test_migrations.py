import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from crash.test_kill_in_migration import BACK_TO_1
from levada import StateError
from levada.journal import making, opening, tables
from levada.journal.rows import checksum

ROWS = """
INSERT INTO partition (connector, account, key, source, uri) VALUES ('c', 'a', 'k', 's', 'u');
INSERT INTO event VALUES (1, 1, 'evt-1', 'a', 't', NULL, NULL, x'7b7d', 0, 0);
INSERT INTO seen VALUES (1, 'evt-1', 1);
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    making.create(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(ROWS + BACK_TO_1)
    return path


def columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def test_an_older_journal_is_brought_up_to_date(path: Path) -> None:
    with closing(opening.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (tables.VERSION,)
        assert "memo" in columns(connection, "partition")
        assert connection.execute("SELECT * FROM seen").fetchall() == [(1, "evt-1", 0)]
        assert connection.execute("SELECT count(*) FROM diagnostic").fetchone() == (0,)
        expected = checksum("evt-1", "a", "t", None, None, b"{}")
        assert connection.execute("SELECT crc FROM event").fetchone() == (expected,)


def test_a_copy_of_it_stays(path: Path) -> None:
    opening.connect(path).close()

    copy = path.with_name("state.db.bak-v1")
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert "memo" not in columns(connection, "partition")


def test_a_reader_leaves_it_as_it_is(path: Path) -> None:
    before = path.read_bytes()

    with pytest.raises(StateError, match="older Levada; `levada run` brings it up to date"):
        opening.connect_to_read(path)

    assert path.read_bytes() == before


def test_a_step_that_fails_changes_nothing(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE diagnostic (theirs)")

    with pytest.raises(StateError, match="already exists"):
        opening.connect(path)

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert "memo" not in columns(connection, "partition")


def test_both_ways_lead_to_the_same_tables(path: Path, tmp_path: Path) -> None:
    opening.connect(path).close()
    making.create(tmp_path / "new.db")

    with (
        closing(sqlite3.connect(path)) as old,
        closing(sqlite3.connect(tmp_path / "new.db")) as new,
    ):
        assert tables.columns(old) == tables.columns(new)
        indexes = "SELECT name FROM sqlite_schema WHERE name LIKE 'partition%' AND type = 'index'"
        ours = {"partition_closed", "partition_settled"}
        assert ours <= {name for (name,) in old.execute(indexes)}
        assert ours <= {name for (name,) in new.execute(indexes)}
