"""Lets go of events that every sink of the pipeline is done with."""

import sqlite3

from levada.journal.rows import room_of

AT_ONCE = 5_000
BYTES_AT_ONCE = 8 * 1024 * 1024

SPARE_PAGES = 2_500
PAGES_AT_ONCE = 250
"""Of 4 KiB each."""


def pruned(connection: sqlite3.Connection, floor: int, until: float) -> tuple[int, int]:
    """Delete events up to number *floor* that were kept before *until*, the oldest first.

    Returns how many there were, and about how many bytes they took: as many as are quickly gone.
    Closed partitions that will never be asked for again go when their last event has gone.
    """
    rows = connection.execute(
        "SELECT seq, length(raw) FROM event WHERE seq <= ? AND kept_at < ? ORDER BY seq LIMIT ?",
        (floor, until, AT_ONCE),
    )
    deleted = freed = through = 0
    for seq, length in rows:
        deleted, freed, through = deleted + 1, freed + room_of(length), seq
        if freed >= BYTES_AT_ONCE:
            break
    rows.close()
    if not deleted:
        return 0, 0
    connection.execute("DELETE FROM event WHERE seq <= ?", (through,))
    connection.execute("UPDATE meta SET value = value - ? WHERE name = 'bytes'", (freed,))
    _drop_behind(connection, through)
    connection.execute(
        "DELETE FROM partition WHERE state = 'settled'"
        " AND last < coalesce((SELECT min(seq) FROM event), last + 1)"
    )
    return deleted, freed


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


def _drop_behind(connection: sqlite3.Connection, through: int) -> None:
    """Count what sinks outside the pipeline have not got as dropped, and move them on."""
    connection.execute(
        "UPDATE sink SET dropped = dropped + ("
        " SELECT coalesce(sum(json_extract(pair.value, '$[1]')"
        " - json_extract(pair.value, '$[0]') + 1), 0)"
        " FROM delivery, json_each(delivery.members) AS pair"
        " WHERE delivery.sink = sink.name AND delivery.first <= ?)",
        (through,),
    )
    connection.execute("DELETE FROM delivery WHERE first <= ?", (through,))
    connection.execute(
        "UPDATE sink SET dropped = dropped + ? - seq, seq = ? WHERE seq < ?",
        (through, through, through),
    )
