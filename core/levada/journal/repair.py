"""Repairs a journal as far as it can be, after a copy: nothing is lost that could still be read."""

import json
import logging
import sqlite3
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import define, field

from levada.errors import StateError
from levada.event import Event, Origin
from levada.journal import checksums, header, opening, upkeep, values, wal
from levada.journal.dead_letters import bury, taken_over
from levada.journal.files import copied, log_of, put_in_place, removed, settle, synced
from levada.journal.folder import check
from levada.journal.lock import locked
from levada.journal.making import made_in
from levada.journal.rows import ranges
from levada.journal.salvage import readable, salvage
from levada.journal.trouble import DamagedError, told
from levada.page import parse_time

log: logging.Logger = logging.getLogger("levada.journal")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
REASON = "it was damaged on this machine's disk; read its execution again"


@define
class Repair:
    """What was found, and what became of it."""

    copy: Path | None = None
    """The journal as it was; None: nothing was wrong."""

    structure: str = ""
    """What SQLite says of the file; "" if it is whole."""

    turned: int = 0
    """Bits that had changed since they were written, and were turned back."""

    lost: dict[str, int] = field(factory=dict)
    """Rows that could not be read, where a table was cut short: at least so many, by table."""

    unexplained: int = 0
    """Blocks of which more than a bit has changed, and that were left as they are."""

    damaged: int = 0
    """Events whose checksum does not fit. For sinks that had yet to get them: dead letters."""

    reset: dict[str, int] = field(factory=dict)
    """Values of other tables that could not be read, by table and column."""

    @property
    def forgets_positions(self) -> bool:
        """Whether it may not be known any more what was read."""
        lost = self.lost.keys()
        return not lost.isdisjoint({"partition", "seen"}) or {"sink", "event"} <= lost

    @property
    def forgets_receipts(self) -> bool:
        """Whether it may not be known any more where a sink's files end."""
        return "sink" in self.lost or "sink.receipt" in self.reset


def repair(folder: Path) -> Repair:
    """Check the journal in *folder* row by row and mend what can be mended.

    Raises:
        StateError: there is none, another process or user has it, or not even its tables can be
            read.
    """
    path = made_in(folder)
    if path is None:
        raise StateError(f"there is no journal in {folder}; there is nothing to repair")
    check(folder)
    with locked(folder):
        opening.check_is_file(path)
        settle(path)
        found = Repair()
        with told(path, "repaired"):
            _repair(path, found)
        with suppress(OSError):  # it is mended all the same
            checksums.note(path)
        return found


def _repair(path: Path, found: Repair) -> None:
    _turn_back(path, found)
    try:
        _check(path)
        _mend_in_place(path, found)
    except DamagedError as error:
        found.structure = error.what
        copy, draft = found.copy or _copy(path), path.with_name(f"{path.name}.repaired")
        removed(draft)
        try:
            found.lost = dict(salvage(path, draft))
            _mend_all(draft, found)
        except BaseException:
            removed(draft)
            if found.copy is None:  # nothing was changed
                removed(copy)
            raise
        found.copy = copy
        checksums.forget(path)
        put_in_place(draft, path)


def _turn_back(path: Path, found: Repair) -> None:
    """Mend what has changed since it was written, as far as it is known what it was."""
    _turn_back_log(path, found)
    _turn_back_file(path, found)
    if not header.is_right(path):
        found.copy = found.copy or _copy(path)
        found.structure = "its header had changed"
        header.put_right(path)


def _turn_back_log(path: Path, found: Repair) -> None:
    while damage := wal.damage(path):
        found.copy = found.copy or _copy(path)
        if wal.mend(path, damage):
            found.turned += 1
        else:
            found.structure = f"its log, {log_of(path).name}, had changed"


def _turn_back_file(path: Path, found: Repair) -> None:
    """Turn back what has changed since it was written.

    Where more than single bits has changed, another program may have done that: what is right is
    left as it is.
    """
    change = checksums.change(path)
    if not change:
        return
    found.copy = found.copy or _copy(path)
    if change.is_damage or not _is_right(path):
        found.turned += len(change.bits)
        checksums.turn_back(path, change)
        found.unexplained = change.more
    else:
        found.unexplained = change.more + len(change.bits)
    if found.unexplained:
        found.structure = str(change)
        checksums.forget(path)


def _is_right(path: Path) -> bool:
    try:
        _check(path)
        return not _is_odd(path)
    except (StateError, sqlite3.Error):
        return False


def _check(path: Path) -> None:
    """Look whether the file is whole as SQLite sees it."""
    with (
        told(path, "repaired"),
        closing(opening.connect_to_read(path, as_it_is=True)) as connection,
    ):
        ((found,),) = connection.execute("PRAGMA integrity_check(1)").fetchall()
    if found != "ok":
        raise DamagedError(path, str(found))


def _is_odd(path: Path) -> bool:
    """Whether something is wrong in a journal that SQLite can read."""
    with (
        told(path, "repaired"),
        closing(opening.connect_to_read(path, as_it_is=True)) as connection,
    ):
        connection.text_factory = readable
        return any(values.broken_events(connection)) or bool(values.broken(connection))


def _mend_in_place(path: Path, found: Repair) -> None:
    """Mend what is wrong in a journal that SQLite can read."""
    is_odd, log_is_missing = _is_odd(path), _log_is_missing(path)
    if log_is_missing:
        found.structure = f"its log, {log_of(path).name}, was missing"
    if is_odd or log_is_missing:
        found.copy = found.copy or _copy(path)
        with told(path, "repaired"):
            _mend_all(path, found)


def _mend_all(path: Path, found: Repair) -> None:
    checksums.forget(path)
    with closing(opening.connect(path)) as connection:
        connection.text_factory = readable
        _mend(connection, found)


def _log_is_missing(path: Path) -> bool:
    if wal.is_there(path):
        return False
    with (
        told(path, "repaired"),
        closing(opening.connect_to_read(path, as_it_is=True)) as connection,
    ):
        return upkeep.lacks_log(connection) or upkeep.may_lack_log(connection)


def _copy(path: Path) -> Path:
    """Copy the journal with its log, so that not even a power loss takes the copy."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    copy = path.with_name(f"{path.name}.damaged-{stamp}")
    copied(path, copy)
    synced(copy.parent)
    return copy


def _mend(connection: sqlite3.Connection, found: Repair) -> None:
    """Take damaged events out, and make the accounts of every sink agree with what is left."""
    broken = list(values.broken_events(connection))
    found.damaged = len(broken)
    found.reset = values.broken(connection)
    connection.execute("BEGIN IMMEDIATE")
    values.mend(connection)
    sinks = connection.execute("SELECT name, seq FROM sink").fetchall()
    for row in broken:
        event = _as_far_as_readable(connection, row)
        for name, planned in sinks:
            if row[0] > planned or _is_planned(connection, name, row[0]):
                bury(connection, name, event, REASON, 0)
                connection.execute("UPDATE sink SET dead = dead + 1 WHERE name = ?", (name,))
        with taken_over(connection, row[0], row[0]):
            connection.execute("DELETE FROM event WHERE seq = ?", (row[0],))
    values.remember(connection)
    for name, _ in sinks:
        _trim(connection, name)
        _balance(connection, name)
    connection.execute("COMMIT")


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
    """Count as dropped what came for a sink and is nowhere any more; nothing twice."""
    connection.execute(
        f"UPDATE sink SET dropped = dropped + max(0, {values.BALANCE}) WHERE name = ?", (sink,)
    )
    for column in ("delivered", "filtered", "dropped"):
        connection.execute(
            f"UPDATE sink SET {column} = max(0, {column} + min(0, {values.BALANCE}))"
            " WHERE name = ?",
            (sink,),
        )
