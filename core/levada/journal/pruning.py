"""Lets go of events that every sink of the pipeline is done with."""

import json
import sqlite3
from collections.abc import Iterator, Sequence

from levada.journal.dead_letters import taken_over
from levada.journal.room import grow
from levada.journal.rows import LENGTH, room_of

AT_ONCE = 5_000
BYTES_AT_ONCE = 2 * 1024 * 1024

SPARE_PAGES = 2_500
PAGES_AT_ONCE = 250


def pruned(connection: sqlite3.Connection, sinks: Sequence[str], until: float) -> int:
    """Delete events that all *sinks* are done with and that were kept before *until*.

    Returns how many there were: as many as are quickly gone, the oldest first. Closed partitions
    that will never be asked for again go when their last event has gone.
    """
    deleted = freed = through = 0
    for first, last in _done_with(connection, sinks):
        rows = connection.execute(
            f"SELECT seq, {LENGTH} FROM event WHERE seq BETWEEN ? AND ? AND kept_at < ?"
            " ORDER BY seq LIMIT ?",
            (first, last, until, AT_ONCE - deleted),
        ).fetchall()
        for seq, length in rows:
            deleted, freed, through = deleted + 1, freed + room_of(length), seq
            if freed >= BYTES_AT_ONCE:
                break
        if rows:
            with taken_over(connection, first, through):
                connection.execute(
                    "DELETE FROM event WHERE seq BETWEEN ? AND ? AND kept_at < ?",
                    (first, through, until),
                )
        if deleted == AT_ONCE or freed >= BYTES_AT_ONCE:
            break
    if not deleted:
        return 0
    grow(connection, -freed)
    _drop_behind(connection, sinks, through)
    connection.execute(
        "DELETE FROM partition WHERE state = 'settled'"
        " AND last < coalesce((SELECT min(seq) FROM event), last + 1)"
    )
    return deleted


def _done_with(connection: sqlite3.Connection, sinks: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the ranges of sequence numbers, rising, that all sinks are done with.

    A delivery that waits for its next attempt holds back its own events, and no others.
    """
    oldest, newest = connection.execute(
        "SELECT coalesce((SELECT min(seq) FROM event), 1),"
        " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0)"
    ).fetchone()
    states = dict(connection.execute("SELECT name, seq FROM sink").fetchall())
    floor = min((states[name] for name in sinks), default=newest)
    held = connection.execute(
        "SELECT json_extract(pair.value, '$[0]'), json_extract(pair.value, '$[1]')"
        " FROM delivery, json_each(delivery.members) AS pair"
        " WHERE delivery.sink IN (SELECT value FROM json_each(?)) ORDER BY 1",
        (json.dumps(sinks),),
    ).fetchall()
    for first, last in [*held, (floor + 1, floor + 1)]:
        if oldest <= min(first - 1, floor):
            yield oldest, min(first - 1, floor)
        oldest = max(oldest, last + 1)


def shrunk(connection: sqlite3.Connection) -> int:
    """Give free pages of the file back to the file system, but for some; return how many.

    At most `PAGES_AT_ONCE`. What is left will be needed again: events come and go.
    """
    ((free,),) = connection.execute("PRAGMA freelist_count").fetchall()
    pages = min(free - SPARE_PAGES, PAGES_AT_ONCE)
    if pages <= 0:
        return 0
    connection.execute(f"PRAGMA incremental_vacuum({pages:d})").fetchall()
    return int(pages)


def _drop_behind(connection: sqlite3.Connection, sinks: Sequence[str], through: int) -> None:
    """Count what sinks outside the pipeline have not got as dropped, and move them on."""
    names = json.dumps(sinks)
    connection.execute(
        "UPDATE sink SET dropped = dropped + ("
        " SELECT coalesce(sum(json_extract(pair.value, '$[1]')"
        " - json_extract(pair.value, '$[0]') + 1), 0)"
        " FROM delivery, json_each(delivery.members) AS pair"
        " WHERE delivery.sink = sink.name AND delivery.first <= ?)"
        " WHERE name NOT IN (SELECT value FROM json_each(?))",
        (through, names),
    )
    connection.execute(
        "DELETE FROM delivery WHERE first <= ? AND sink NOT IN (SELECT value FROM json_each(?))",
        (through, names),
    )
    connection.execute(
        "UPDATE sink SET dropped = dropped + ? - seq, seq = ? WHERE seq < ?",
        (through, through, through),
    )
