"""Dead letters: what a destination refused for good, and what a source sent that is no event."""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from attrs import field, frozen

from levada.batch import Partition, Rejected
from levada.errors import StateError
from levada.event import Event
from levada.journal import opening
from levada.journal.making import made_in
from levada.journal.rows import room_of, row_of
from levada.journal.trouble import told
from levada.secret import scrub_known

_COLUMNS = "id, sink, connector, account, partition, event, seq, raw, reason, attempts, time"


@frozen
class DeadLetter:
    """One dead letter."""

    number: int
    """What it is called on the command line; never used twice while it is there."""

    sink: str
    """"" for an item that a source could not make an event of."""

    connector: str
    account: str
    partition: str
    id: str
    """The event's id, or a hash of `raw` where it is no event."""

    seq: int | None
    raw: bytes = field(repr=False)
    """The vendor's record."""

    reason: str
    attempts: int
    time: str
    """When it was given up: RFC 3339, UTC."""


@frozen(kw_only=True)
class Choice:
    """Which dead letters: by number or event id, of one sink, or all."""

    names: Sequence[str] = ()
    """What is the number of a letter is no event's id."""

    sink: str | None = None

    @property
    def where(self) -> tuple[str, tuple[object, ...]]:
        """The condition for a query, and its values."""
        parts, values = ["1"], list[object]()
        if self.names:
            names = json.dumps(list(self.names))
            given = "SELECT value FROM json_each(?)"
            ids = f"{given} WHERE value NOT IN (SELECT CAST(id AS TEXT) FROM dead)"
            parts.append(f"(CAST(id AS TEXT) IN ({given}) OR event IN ({ids}))")
            values += [names, names]
        if self.sink is not None:
            parts.append("sink = ?")
            values.append(self.sink)
        return " AND ".join(parts), tuple(values)


def letters(folder: Path, choice: Choice) -> list[DeadLetter]:
    """Return the chosen dead letters of the journal in *folder*, oldest first.

    Reads only, so it may be asked while a run goes on. Without a journal there are none.

    Raises:
        StateError: there is something, but not a journal that can be read.
    """
    path = made_in(folder)
    if path is None:
        return []
    with told(path, "read"), closing(opening.connect_to_read(path)) as connection:
        return chosen(connection, choice)


def chosen(connection: sqlite3.Connection, choice: Choice) -> list[DeadLetter]:
    """Return the chosen dead letters, oldest first."""
    where, values = choice.where
    query = f"SELECT {_COLUMNS} FROM dead WHERE {where} ORDER BY id"
    return [DeadLetter(*row) for row in connection.execute(query, values)]


def bury(
    connection: sqlite3.Connection, sink: str, event: Event, reason: str, attempts: int
) -> None:
    """Keep an event that *sink* will never take; who calls counts it."""
    origin = event.origin
    connection.execute(
        "INSERT OR REPLACE INTO dead (sink, connector, account, partition, event, seq, raw, reason,"
        " attempts, time, uri, event_type, event_time, subject, kind)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            sink,
            origin.connector if origin else "",
            origin.account if origin else "",
            event.partition,
            event.id,
            event.seq,
            event.raw,
            scrub_known(reason),
            attempts,
            _now(),
            origin.uri if origin else "",
            event.type,
            event.time.isoformat(),
            event.subject,
            event.kind,
        ),
    )


def bury_item(
    connection: sqlite3.Connection,
    identity: tuple[str, str],
    partition: Partition,
    rejected: Rejected,
) -> bool:
    """Keep an item that is no event; return False if it was, for it may be read any number of times."""
    kept = connection.execute(
        "INSERT OR IGNORE INTO dead"
        " (sink, connector, account, partition, event, raw, reason, attempts, time)"
        " VALUES ('', ?, ?, ?, ?, ?, ?, 1, ?)",
        (
            *identity,
            partition.key,
            hashlib.sha256(rejected.raw).hexdigest(),
            rejected.raw,
            scrub_known(rejected.reason),
            _now(),
        ),
    )
    return kept.rowcount > 0


def retry(connection: sqlite3.Connection, dead: Iterable[DeadLetter]) -> int:
    """Plan deliveries of dead letters anew, under the ids and numbers they had; return how many.

    What a source rejected has no event to deliver, and is passed over.
    """
    count = 0
    for letter in dead:
        if not letter.sink or letter.seq is None:
            continue
        _restore(connection, letter)
        connection.execute(
            "INSERT INTO delivery (sink, first, members) VALUES (?, ?, ?)",
            (letter.sink, letter.seq, f"[[{letter.seq},{letter.seq}]]"),
        )
        connection.execute("UPDATE sink SET dead = dead - 1 WHERE name = ?", (letter.sink,))
        connection.execute("DELETE FROM dead WHERE id = ?", (letter.number,))
        count += 1
    return count


def drop(connection: sqlite3.Connection, dead: Iterable[DeadLetter]) -> int:
    """Let go of dead letters for good, counting them as dropped; return how many."""
    count = 0
    for letter in dead:
        connection.execute(
            "UPDATE sink SET dead = dead - 1, dropped = dropped + 1 WHERE name = ?", (letter.sink,)
        )
        connection.execute("DELETE FROM dead WHERE id = ?", (letter.number,))
        count += 1
    return count


def _restore(connection: sqlite3.Connection, letter: DeadLetter) -> None:
    """Put the event of a dead letter back to its place, should it have been pruned."""
    if connection.execute("SELECT 1 FROM event WHERE seq = ?", (letter.seq,)).fetchone():
        return
    (uri, kind_of, moment, subject, kind) = connection.execute(
        "SELECT uri, event_type, event_time, subject, kind FROM dead WHERE id = ?", (letter.number,)
    ).fetchone()
    if kind_of is None:
        raise StateError(
            f"dead letter {letter.number} was written by an older Levada and its event is gone;"
            " read its execution again, or drop it"
        )
    ((row,),) = connection.execute(
        "INSERT INTO partition (connector, account, key, source, uri, state, last)"
        " VALUES (?, ?, ?, '', ?, 'settled', ?) ON CONFLICT (connector, account, key)"
        " DO UPDATE SET last = max(last, excluded.last) RETURNING id",
        (letter.connector, letter.account, letter.partition, uri, letter.seq),
    ).fetchall()
    event = Event(
        letter.id,
        type=kind_of,
        time=datetime.fromisoformat(moment),
        partition=letter.partition,
        raw=letter.raw,
        subject=subject,
        kind=kind,
    )
    connection.execute(
        "INSERT INTO event (seq, partition, id, type, time, subject, kind, raw, crc, kept_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (letter.seq, *row_of(event, row, int(time.time()))),
    )
    connection.execute(
        "UPDATE meta SET value = value + ? WHERE name = 'bytes'", (room_of(len(letter.raw)),)
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
