"""Reads what can be read of a journal whose file is damaged."""

import logging
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from levada.errors import StateError
from levada.journal import making, opening, tables, values
from levada.journal.files import copied, removed

log: logging.Logger = logging.getLogger("levada.journal")

COPIED: Final = ("source", "partition", "seen", "event", "sink", "delivery", "dead", "diagnostic")


def salvage(path: Path, draft: Path) -> Mapping[str, int]:
    """Make *draft* a journal that has what can be read of the one at *path*, as it was read.

    Return how many rows could not be, by table, where one was cut short: at least so many.

    Raises:
        StateError: not even its tables can be read.
    """
    work = path.with_name(f"{path.name}.salvage")
    try:
        copied(path, work)
        _fill_up(work)
        _mend_schema(work)
        making.create(draft)
        return _copy_all(work, draft, path)
    finally:
        removed(work)


def readable(text: bytes) -> str:
    """Read a text, of which damage can have made anything."""
    return text.decode("utf-8", "replace")


def _copy_all(work: Path, draft: Path, path: Path) -> Mapping[str, int]:
    with closing(sqlite3.connect(work)) as old, closing(opening.connect(draft)) as new:
        old.text_factory = readable
        new.execute("PRAGMA foreign_keys = OFF")
        new.execute("BEGIN")
        _copy_meta(old, new, path)
        lost = {table: cut for table in COPIED if (cut := _copy_rows(old, new, table))}
        if "sink" in lost:
            values.forget_name(new)
        if {"sink", "event"} <= lost.keys():
            values.forget_reading(new)
        new.execute("COMMIT")
    return lost


def _fill_up(path: Path) -> None:
    """Give a file that was cut the length that its header tells: SQLite reads none that is shorter."""
    with path.open("r+b") as file:
        head = file.read(32)
        size = int.from_bytes(head[16:18]) or 4096
        length = (65536 if size == 1 else size) * int.from_bytes(head[28:32])
        if file.seek(0, 2) < length:
            file.truncate(length)


def _mend_schema(path: Path) -> None:
    """Put back what defines the tables, as far as it was damaged: SQLite reads none without it."""
    query = "SELECT name, type, tbl_name, sql FROM sqlite_schema"
    with closing(sqlite3.connect(":memory:")) as pattern:
        pattern.executescript(tables.TABLES)
        ours = {row[0]: row for row in pattern.execute(query)}
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.text_factory = readable
        try:
            old.execute("PRAGMA writable_schema = ON")  # with it SQLite passes over what is damaged
            names = [name for name, *_ in old.execute(query).fetchall()]
            unknown = [name for name in names if name and name not in ours]
            missing = [name for name in ours if name not in names]
            for name in unknown:
                for close in get_close_matches(name, missing, 1):
                    names[names.index(name)] = close
                    missing.remove(close)
            rows = old.execute("SELECT rowid FROM sqlite_schema").fetchall()
            for (row,), name in zip(rows, names, strict=True):
                if name in ours:
                    old.execute(
                        "UPDATE sqlite_schema SET name = ?, type = ?, tbl_name = ?, sql = ?"
                        " WHERE rowid = ?",
                        (*ours[name], row),
                    )
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            log.debug("the tables of %s cannot be mended", path, exc_info=True)


def _copy_meta(old: sqlite3.Connection, new: sqlite3.Connection, path: Path) -> None:
    try:
        rows = old.execute("SELECT name, value FROM meta").fetchall()
        numbers = old.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise StateError(
            f"{path} cannot be repaired: {str(error)!a}; restore a copy of the state folder"
        ) from error
    known = [row for row in rows if None not in row]
    new.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", known)
    new.execute("DELETE FROM sqlite_sequence")
    new.executemany("INSERT INTO sqlite_sequence VALUES (?, ?)", numbers)


def _copy_rows(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> int:
    """Copy a table row by row; return how many did not come over, as far as that is known.

    Where a row cannot be read, those behind it are read from the other end; of events, those in
    between one by one.
    """
    columns = sorted(tables.columns_expected()[table])
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    insert = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"
    lost = 0
    try:
        for row in old.execute(f"SELECT {names} FROM {table}"):
            lost += not new.execute(insert, row).rowcount
    except sqlite3.DatabaseError:
        lost += 1
    else:
        return lost
    with suppress(sqlite3.DatabaseError):
        for row in old.execute(f"SELECT {names} FROM {table} ORDER BY {_KEYS[table]}"):
            new.execute(insert, row)
    if table == "partition":  # what is in one of its indexes may be read where the rows may not
        with suppress(sqlite3.DatabaseError):
            for row in old.execute(
                "SELECT id, connector, account, key FROM partition ORDER BY 2, 3, 4"
            ):
                new.execute(
                    "INSERT OR IGNORE INTO partition (id, connector, account, key, source, uri)"
                    " VALUES (?, ?, ?, ?, '', '')",
                    row,
                )
    if table == "event":
        missing = new.execute(_GAPS, (MOST_LOOKED_FOR,)).fetchall()
        for seq in (seq for first, last in missing for seq in range(first, last)):
            with suppress(sqlite3.DatabaseError):
                for row in old.execute(f"SELECT {names} FROM event WHERE seq = ?", (seq,)):
                    new.execute(insert, row)
    return lost


_KEYS: Final = {
    **dict.fromkeys(COPIED, "rowid DESC"),
    "source": "name DESC",
    "seen": "partition DESC, id DESC",
    "sink": "name DESC",
    "diagnostic": "connector DESC, what DESC, fields DESC",
}
"""How to read a table from its other end."""

MOST_LOOKED_FOR: Final = 1_000_000

_GAPS: Final = """
    SELECT seq + 1, following FROM (SELECT seq, lead(seq) OVER (ORDER BY seq) AS following FROM event)
    WHERE following BETWEEN seq + 2 AND seq + ?"""
