"""Which events were seen: all of an open partition, the newest of a closed one, then none."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence

from levada.event import Event
from levada.source import KEPT_IDS

AT_ONCE = 500
"""Closed partitions to forget in one transaction; others' writes come in between."""

_CLOSED = "source = ? AND state IN ('closed', 'gone') AND sorting < ?"


def unseen(connection: sqlite3.Connection, row: int, events: Iterable[Event]) -> list[Event]:
    """Return the events whose id is new to a partition, each once, in their order."""
    by_id = {event.id: event for event in events}
    for name in known(connection, row, by_id):
        del by_id[name]
    return list(by_id.values())


def known(connection: sqlite3.Connection, row: int, ids: Collection[str]) -> set[str]:
    """Return those of *ids* that were seen in a partition."""
    odd = {name for name in ids if "\0" in name}  # where SQLite ends the text out of a JSON array
    found = connection.execute(
        "SELECT id FROM seen WHERE partition = ? AND id IN (SELECT value FROM json_each(?))",
        (row, json.dumps([name for name in ids if name not in odd])),
    ).fetchall()
    for name in odd:
        query = "SELECT id FROM seen WHERE partition = ? AND id = ?"
        found += connection.execute(query, (row, name)).fetchall()
    return {name for (name,) in found}


def remember(
    connection: sqlite3.Connection, row: int, events: Sequence[Event], last_seq: int
) -> None:
    """Enter the ids of events that were just inserted; *last_seq* is the number of the last."""
    numbered = zip(events, range(last_seq - len(events) + 1, last_seq + 1), strict=True)
    connection.executemany(
        "INSERT INTO seen VALUES (?, ?, ?)", [(row, event.id, seq) for event, seq in numbered]
    )


def collapse(connection: sqlite3.Connection, row: int) -> None:
    """Keep only the newest `KEPT_IDS` ids of a partition that has closed."""
    connection.execute(
        "DELETE FROM seen WHERE partition = ? AND seq <= (SELECT seq FROM seen"
        " WHERE partition = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)",
        (row, row, KEPT_IDS),
    )


def forget(connection: sqlite3.Connection, source: str, settled: str) -> int:
    """Forget closed partitions that are ordered below *settled*; return how many.

    At most `AT_ONCE`. Their rows go when their last event has gone; see `levada.journal.pruning`.
    """
    rows = connection.execute(
        f"SELECT id FROM partition WHERE {_CLOSED} LIMIT ?", (source, settled, AT_ONCE)
    ).fetchall()
    connection.executemany("DELETE FROM seen WHERE partition = ?", rows)
    connection.executemany("UPDATE partition SET state = 'settled', memo = NULL WHERE id = ?", rows)
    return len(rows)
