import sqlite3
import stat
from pathlib import Path

import pytest

from levada import StateError
from levada.journal import schema, tables


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def refusal(path: Path) -> str:
    with pytest.raises(StateError) as caught:
        schema.connect(path)
    return str(caught.value)


def changed(path: Path, statement: str) -> bytes:
    """Run a statement on the file as another program would; return the bytes it then has."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()
    return path.read_bytes()


def test_a_new_journal_can_be_opened(path: Path) -> None:
    schema.create(path)

    connection = schema.connect(path)

    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    connection.close()
    assert {("event",), ("sink",), ("source",), ("delivery",), ("dead",)} < set(tables)


def test_two_journals_never_have_the_same_name(tmp_path: Path) -> None:
    names = set()
    for path in (tmp_path / "a.db", tmp_path / "b.db"):
        schema.create(path)
        connection = schema.connect(path)
        names |= set(connection.execute("SELECT value FROM meta WHERE name = 'journal'"))
        connection.close()

    assert len(names) == 2


def test_only_the_owner_may_read_it(path: Path) -> None:
    schema.create(path)

    connection = schema.connect(path)

    connection.execute("INSERT INTO meta VALUES ('a', 'b')")
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    connection.close()
    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("auto_vacuum", 2)],
)
def test_what_crash_safety_rests_on_is_switched_on(
    path: Path, pragma: str, value: str | int
) -> None:
    schema.create(path)

    connection = schema.connect(path)

    assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)
    connection.close()


def test_a_draft_left_by_a_crash_is_replaced(path: Path) -> None:
    path.with_suffix(".new").write_bytes(b"half a jour")

    schema.create(path)

    schema.connect(path).close()
    assert [each.name for each in path.parent.iterdir()] == ["state.db"]


def test_a_log_without_its_journal_is_not_taken_for_the_new_ones(path: Path) -> None:
    path.with_name("state.db-wal").write_bytes(b"what a crash left of another journal")

    with pytest.raises(StateError, match=r"state\.db is missing"):
        schema.create(path)

    assert not path.exists()


def test_an_empty_file_is_refused_and_left_alone(path: Path) -> None:
    path.touch()

    message = refusal(path)

    assert message == f"{path} is empty; remove it to start afresh, or restore a copy"
    assert path.read_bytes() == b""


def test_garbage_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"not a database, " * 100)

    message = refusal(path)

    assert message.endswith("file is not a database; move it away, or restore a copy")
    assert path.read_bytes() == b"not a database, " * 100


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    before = changed(path, "CREATE TABLE theirs (a)")

    message = refusal(path)

    assert message == f"{path} is not a journal of Levada; point `state` at another folder"
    assert path.read_bytes() == before


def test_a_journal_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    schema.create(path)
    before = changed(path, f"PRAGMA user_version = {tables.VERSION + 1}")

    message = refusal(path)

    assert message.endswith(
        f"(schema {tables.VERSION + 1}, this one knows {tables.VERSION}); upgrade"
    )
    assert path.read_bytes() == before


def test_a_file_that_is_not_there_is_refused_and_not_made(path: Path) -> None:
    message = refusal(path)

    assert "is not there" in message
    assert not path.exists()


def test_a_reader_cannot_write(path: Path) -> None:
    schema.create(path)
    connection = schema.connect_to_read(path)

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM meta")

    connection.close()
