import stat
from pathlib import Path

import pytest

from levada import StateError
from levada.journal import making, opening


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def test_a_new_journal_can_be_opened(path: Path) -> None:
    making.create(path)

    connection = opening.connect(path)

    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    connection.close()
    assert {("event",), ("sink",), ("source",), ("delivery",), ("dead",)} < set(tables)


def test_two_journals_never_have_the_same_name(tmp_path: Path) -> None:
    names = set()
    for path in (tmp_path / "a.db", tmp_path / "b.db"):
        making.create(path)
        connection = opening.connect(path)
        names |= set(connection.execute("SELECT value FROM meta WHERE name = 'journal'"))
        connection.close()

    assert len(names) == 2


def test_only_the_owner_may_read_it(path: Path) -> None:
    making.create(path)

    connection = opening.connect(path)

    connection.execute("INSERT INTO meta VALUES ('a', 'b')")
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    connection.close()
    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}


def test_a_draft_left_by_a_crash_is_replaced(path: Path) -> None:
    path.with_suffix(".new").write_bytes(b"half a jour")

    making.create(path)

    opening.connect(path).close()
    assert [each.name for each in path.parent.iterdir()] == ["state.db"]


def test_a_log_without_its_journal_is_not_taken_for_the_new_ones(path: Path) -> None:
    path.with_name("state.db-wal").write_bytes(b"what a crash left of another journal")

    with pytest.raises(StateError, match=r"state\.db is missing"):
        making.create(path)

    assert not path.exists()
