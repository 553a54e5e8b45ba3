import sqlite3
from pathlib import Path

import pytest

from levada import StateError
from levada.journal import making, opening, tables


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def refusal(path: Path) -> str:
    with pytest.raises(StateError) as caught:
        opening.connect(path)
    return str(caught.value)


def changed(path: Path, statement: str) -> bytes:
    """Run a statement on the file as another program would; return the bytes it then has."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()
    return path.read_bytes()


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("auto_vacuum", 2)],
)
def test_what_crash_safety_rests_on_is_switched_on(
    path: Path, pragma: str, value: str | int
) -> None:
    making.create(path)

    connection = opening.connect(path)

    assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)
    connection.close()


def test_an_empty_file_is_refused_and_left_alone(path: Path) -> None:
    path.touch()

    message = refusal(path)

    assert message.startswith(f"{path} is empty; restore a copy, or remove it and all that is")
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
    making.create(path)
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
    making.create(path)
    connection = opening.connect_to_read(path)

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM meta")

    connection.close()
