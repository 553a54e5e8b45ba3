"""Dead letters: what a destination refused for good, and what a source sent that is no event."""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from attrs import field, frozen

from levada.batch import Partition, Rejected
from levada.errors import StateError
from levada.event import Event
from levada.journal import opening
from levada.journal.making import made_in
from levada.journal.room import grow
from levada.journal.rows import LETTER_LENGTH, reason_of, room_of, row_of, size_of
from levada.journal.trouble import told

_RECORD = (
    "CAST(coalesce(nullif(raw, x''),"
    " (SELECT held.raw FROM event AS held WHERE held.seq = dead.seq),"
    " (SELECT other.raw FROM dead AS other WHERE other.seq = dead.seq AND length(other.raw)), x'')"
    " AS BLOB)"
)
"""Of a dead letter: its own, that of its event, or that of another letter of that event."""

_SIZE = (
    "coalesce(nullif(length(raw), 0),"
    " (SELECT length(held.raw) FROM event AS held WHERE held.seq = dead.seq),"
    " (SELECT max(length(other.raw)) FROM dead AS other WHERE other.seq = dead.seq), 0)"
)
"""How many bytes that has; SQLite need not read it."""

_COLUMNS = f"id, sink, connector, account, partition, event, seq, {_SIZE}, reason, attempts, time"


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
    """The event's id, or a hash of the record where it is no event."""

    seq: int | None
    size: int
    """Bytes of the vendor's record."""

    reason: str
    attempts: int
    time: str
    """When it was given up: RFC 3339, UTC."""

    raw: bytes | None = field(default=None, repr=False)
    """The vendor's record; None: it was not asked for."""


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


def letters(folder: Path, choice: Choice, *, with_raw: bool = False) -> list[DeadLetter]:
    """Return the chosen dead letters of the journal in *folder*, oldest first.

    Reads only, so it may be asked while a run goes on. Without a journal there are none. Records
    may be large, and come only *with_raw*.

    Raises:
        StateError: there is something, but not a journal that can be read.
    """
    path = made_in(folder)
    if path is None:
        return []
    with told(path, "read"), closing(opening.connect_to_read(path)) as connection:
        return chosen(connection, choice, with_raw=with_raw)


def chosen(
    connection: sqlite3.Connection, choice: Choice, *, with_raw: bool = False
) -> list[DeadLetter]:
    """Return the chosen dead letters, oldest first."""
    where, values = choice.where
    columns = f"{_COLUMNS}, {_RECORD}" if with_raw else _COLUMNS
    query = f"SELECT {columns} FROM dead WHERE {where} ORDER BY id"
    return [DeadLetter(*row) for row in connection.execute(query, values)]


def bury(
    connection: sqlite3.Connection, sink: str, event: Event, reason: str, attempts: int
) -> None:
    """Keep an event that *sink* will never take; who calls counts it.

    Its record stays where it is, in the event's row, and is `taken_over` when that goes.
    """
    origin = event.origin
    of = (
        sink,
        origin.connector if origin else "",
        origin.account if origin else "",
        event.partition,
        event.id,
    )
    _let_go(
        connection,
        "sink = ? AND connector = ? AND account = ? AND partition = ? AND event = ?",
        *of,
    )
    _lay_down(
        connection,
        "INSERT INTO dead (sink, connector, account, partition, event, seq, raw, reason,"
        " attempts, time, uri, event_type, event_time, subject, kind)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *of,
            event.seq,
            b"",
            reason_of(reason),
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
    most: int,
) -> bool:
    """Keep an item that is no event; return False if it was, for it may be read any number of times.

    Of one with more than *most* bytes as many are kept.
    """
    reason, size = rejected.reason, len(rejected.raw)
    if size > most:
        reason = f"{reason}; of its {size} bytes the first {most} are kept"
    return _lay_down(
        connection,
        "INSERT OR IGNORE INTO dead"
        " (sink, connector, account, partition, event, raw, reason, attempts, time)"
        " VALUES ('', ?, ?, ?, ?, ?, ?, 1, ?)",
        (
            *identity,
            partition.key,
            hashlib.sha256(rejected.raw).hexdigest(),
            rejected.raw[:most],
            reason_of(reason),
            _now(),
        ),
    )


@contextmanager
def taken_over(connection: sqlite3.Connection, first: int, last: int) -> Iterator[None]:
    """Have letters keep the records of their events, *last* included, whose rows are deleted inside.

    One letter of each event does, for all of them. In this order, because then it gets the place
    that becomes free.
    """
    rows = connection.execute(
        f"SELECT min(id), {_RECORD} FROM dead WHERE seq BETWEEN ? AND ? GROUP BY seq",
        (first, last),
    ).fetchall()
    yield
    for letter, record in rows:
        _give(connection, letter, record)


def _give(connection: sqlite3.Connection, letter: int, record: bytes) -> None:
    """Have a letter keep the record of its event."""
    ((before,),) = connection.execute(f"SELECT {LETTER_LENGTH} FROM dead WHERE id = ?", (letter,))
    ((after,),) = connection.execute(
        f"UPDATE dead SET raw = ? WHERE id = ? RETURNING {LETTER_LENGTH}", (record, letter)
    ).fetchall()
    grow(connection, room_of(after) - room_of(before), "dead")


def _lay_down(connection: sqlite3.Connection, insert: str, values: tuple[object, ...]) -> bool:
    """Insert a letter and count its room; return False if it was there."""
    rows = connection.execute(f"{insert} RETURNING {LETTER_LENGTH}", values).fetchall()
    for (length,) in rows:
        grow(connection, room_of(length), "dead")
    return bool(rows)


def _let_go(connection: sqlite3.Connection, where: str, *values: object) -> None:
    """Delete letters and count the room that they give back; others may need their records."""
    deleted = connection.execute(
        f"DELETE FROM dead WHERE {where} RETURNING {LETTER_LENGTH}, seq, raw", values
    ).fetchall()
    for length, seq, record in deleted:
        grow(connection, -room_of(length), "dead")
        heirs = connection.execute("SELECT min(id) FROM dead WHERE seq = ?", (seq,)).fetchall()
        if record and heirs != [(None,)]:
            _give(connection, heirs[0][0], record)


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
        _let_go(connection, "id = ?", letter.number)
        count += 1
    return count


def drop(connection: sqlite3.Connection, dead: Iterable[DeadLetter]) -> int:
    """Let go of dead letters for good, counting them as dropped; return how many."""
    count = 0
    for letter in dead:
        connection.execute(
            "UPDATE sink SET dead = dead - 1, dropped = dropped + 1 WHERE name = ?", (letter.sink,)
        )
        _let_go(connection, "id = ?", letter.number)
        count += 1
    return count


def _restore(connection: sqlite3.Connection, letter: DeadLetter) -> None:
    """Put the event of a dead letter back to its place, should it have been pruned."""
    if connection.execute("SELECT 1 FROM event WHERE seq = ?", (letter.seq,)).fetchone():
        return
    raw, uri, kind_of, moment, subject, kind = connection.execute(
        f"SELECT {_RECORD}, uri, event_type, event_time, subject, kind FROM dead WHERE id = ?",
        (letter.number,),
    ).fetchone()
    if kind_of is None or not raw:  # of an older Levada, or of a row that was damaged on the disk
        raise StateError(
            f"the event of dead letter {letter.number} is gone; read its execution again, or drop it"
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
        raw=raw,
        subject=subject,
        kind=kind,
    )
    connection.execute(
        "INSERT INTO event (seq, partition, id, type, time, subject, kind, raw, crc, kept_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (letter.seq, *row_of(event, row, int(time.time()))),
    )
    grow(connection, size_of([event]))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
