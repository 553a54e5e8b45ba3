"""Repairs a journal as far as it can be, after a copy: nothing is lost that could still be read."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import define, field

from levada.errors import StateError
from levada.event import Event, Origin
from levada.journal import FILE, schema
from levada.journal.dead_letters import bury
from levada.journal.files import put_in_place, removed, settle, synced
from levada.journal.folder import check
from levada.journal.lock import locked
from levada.journal.rows import COLUMNS, checksum, ranges
from levada.page import parse_time

TABLES = ("source", "partition", "seen", "event", "sink", "delivery", "dead", "diagnostic")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
REASON = "it was damaged on this machine's disk; read its execution again"


@define
class Repair:
    """What was found, and what became of it."""

    copy: Path | None = None
    """The journal as it was; None: nothing was wrong."""

    structure: str = ""
    """What SQLite says of the file; "" if it is whole."""

    lost: dict[str, int] = field(factory=dict)
    """Rows that could not be read, where a table was cut short: at least so many, by table."""

    damaged: int = 0
    """Events whose checksum does not fit. For sinks that had yet to get them: dead letters."""


def repair(folder: Path) -> Repair:
    """Check the journal in *folder* row by row and mend what can be mended.

    Raises:
        StateError: there is none, another process or user has it, or not even its tables can be
            read.
    """
    path = folder / FILE
    if not path.exists():
        raise StateError(f"there is no journal in {folder}; there is nothing to repair")
    check(folder)
    with locked(folder / "state.lock"):
        settle(path)
        found = Repair()
        found.structure = _structure(path)
        if found.structure:
            found.copy = _copy(path)
            _salvage(path, found)
            return found
        with closing(schema.connect(path)) as connection:
            # Damage can make anything of a text.
            connection.text_factory = lambda text: text.decode("utf-8", "replace")
            broken = list(_broken(connection))
            if broken:
                found.copy = _copy(path)
            found.damaged = _mend(connection, broken)
        return found


def _structure(path: Path) -> str:
    """Return what is wrong with the file as SQLite sees it; "" if it is whole."""
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(closing(schema.connect(path, readonly=True)))
            ((found,),) = connection.execute("PRAGMA integrity_check(1)").fetchall()
        except (StateError, sqlite3.DatabaseError) as error:
            cause = error.__cause__ or error
            if "malformed" not in str(cause):
                raise
            return str(cause)
    return "" if found == "ok" else " ".join(str(found).split())


def _copy(path: Path) -> Path:
    """Copy the journal with its log, so that not even a power loss takes the copy."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    copy = _copied(path, path.with_name(f"{path.name}.damaged-{stamp}"))
    synced(copy.parent)
    return copy


def _copied(path: Path, copy: Path) -> Path:
    removed(copy)
    for suffix in ("", "-wal"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            target = copy.with_name(copy.name + suffix)
            target.write_bytes(part.read_bytes())
            target.chmod(0o600)
            synced(target)
    return copy


def _salvage(path: Path, found: Repair) -> None:
    """Put what can be read of the journal into a new one in its place; say what cannot.

    Until the new one is whole, nothing is changed.
    """
    work = _copied(path, path.with_name(f"{path.name}.salvage"))
    _fill_up(work)
    draft = path.with_name(f"{path.name}.repaired")
    removed(draft)
    schema.create(draft)
    with closing(schema.connect(work)) as old, closing(schema.connect(draft)) as new:
        new.execute("PRAGMA foreign_keys = OFF")
        new.execute("BEGIN")
        _copy_meta(old, new, path)
        for table in TABLES:
            cut = _copy_rows(old, new, table)
            if cut:
                found.lost[table] = cut
        new.execute("COMMIT")
        found.damaged = _mend(new, list(_broken(new)))
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    put_in_place(draft, path)
    removed(work)


def _fill_up(path: Path) -> None:
    """Give a file that was cut the length that its header tells: SQLite reads none that is shorter."""
    with path.open("r+b") as file:
        head = file.read(32)
        size = int.from_bytes(head[16:18]) or 4096
        length = (65536 if size == 1 else size) * int.from_bytes(head[28:32])
        if file.seek(0, 2) < length:
            file.truncate(length)


def _copy_meta(old: sqlite3.Connection, new: sqlite3.Connection, path: Path) -> None:
    try:
        rows = old.execute("SELECT name, value FROM meta").fetchall()
        numbers = old.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
    except sqlite3.DatabaseError as error:
        raise StateError(
            f"{path} cannot be repaired: {error}; restore a copy of the state folder"
        ) from error
    new.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)
    new.execute("DELETE FROM sqlite_sequence")
    new.executemany("INSERT INTO sqlite_sequence VALUES (?, ?)", numbers)


def _copy_rows(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> int:
    """Copy a table row by row; return 1 if it ended before its end."""
    insert = ""
    try:
        for row in old.execute(f"SELECT * FROM {table}"):
            insert = insert or f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(row))})"
            new.execute(insert, row)
    except sqlite3.DatabaseError:
        return 1
    return 0


def _broken(connection: sqlite3.Connection) -> Iterator[Any]:
    """Yield the rows of events whose checksum does not fit."""
    for row in connection.execute(f"SELECT {COLUMNS} FROM event ORDER BY seq"):
        *_, crc = row
        if checksum(*row[2:8]) != crc:
            yield row


def _mend(connection: sqlite3.Connection, broken: list[Any]) -> int:
    """Take damaged events out, and make the accounts of every sink agree with what is left.

    Returns how many were damaged.
    """
    connection.execute("BEGIN IMMEDIATE")
    sinks = connection.execute("SELECT name, seq FROM sink").fetchall()
    for row in broken:
        event = _as_far_as_readable(connection, row)
        for name, planned in sinks:
            if row[0] > planned or _is_planned(connection, name, row[0]):
                bury(connection, name, event, REASON, 0)
                connection.execute("UPDATE sink SET dead = dead + 1 WHERE name = ?", (name,))
        connection.execute("DELETE FROM event WHERE seq = ?", (row[0],))
    for name, _ in sinks:
        _trim(connection, name)
        _balance(connection, name)
    connection.execute("COMMIT")
    return len(broken)


def _as_far_as_readable(connection: sqlite3.Connection, row: Any) -> Event:
    seq, partition, name, kind_of, moment, subject, kind, raw, _ = row
    origins = connection.execute(
        "SELECT key, connector, account, uri FROM partition WHERE id = ?", (partition,)
    ).fetchall()
    key, *origin = origins[0] if origins else ("", "", "", "")
    time_of = parse_time(moment) if isinstance(moment, str) else None
    return Event(
        str(name),
        type=str(kind_of),
        time=time_of or EPOCH,
        partition=key,
        raw=raw if isinstance(raw, bytes) else str(raw).encode(),
        subject=subject if isinstance(subject, str) else None,
        kind=kind if isinstance(kind, str) else None,
        origin=Origin(*origin),
        seq=seq,
    )


def _is_planned(connection: sqlite3.Connection, sink: str, seq: int) -> bool:
    """Whether a delivery to a sink is planned that an event is in."""
    members = connection.execute("SELECT members FROM delivery WHERE sink = ?", (sink,))
    pairs = (pair for (text,) in members for pair in json.loads(text))
    return any(first <= seq <= last for first, last in pairs)


def _trim(connection: sqlite3.Connection, sink: str) -> None:
    """Leave in the planned deliveries only events that are there."""
    for row, members in connection.execute(
        "SELECT id, members FROM delivery WHERE sink = ?", (sink,)
    ).fetchall():
        there = [
            seq
            for first, last in json.loads(members)
            for (seq,) in connection.execute(
                "SELECT seq FROM event WHERE seq BETWEEN ? AND ? ORDER BY seq", (first, last)
            )
        ]
        if there:
            text = json.dumps(ranges(there), separators=(",", ":"))
            connection.execute(
                "UPDATE delivery SET members = ?, first = ? WHERE id = ?", (text, there[0], row)
            )
        else:
            connection.execute("DELETE FROM delivery WHERE id = ?", (row,))


def _balance(connection: sqlite3.Connection, sink: str) -> None:
    """Count as dropped what came for a sink and is nowhere any more."""
    connection.execute(
        "UPDATE sink SET dropped = dropped + max(0, fetched - known) FROM ("
        " SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0) - since"
        " AS fetched, delivered + dead + dropped + filtered"
        " + (SELECT count(*) FROM event WHERE event.seq > sink.seq)"
        " + (SELECT coalesce(sum(json_extract(pair.value, '$[1]')"
        " - json_extract(pair.value, '$[0]') + 1), 0)"
        " FROM delivery, json_each(delivery.members) AS pair WHERE delivery.sink = sink.name)"
        " AS known FROM sink WHERE name = ?) WHERE name = ?",
        (sink, sink),
    )
