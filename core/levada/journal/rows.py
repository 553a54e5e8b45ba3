"""Events as rows, and rows as events."""

import zlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeAlias

from levada.errors import StateError
from levada.event import Event, Origin

COLUMNS = "seq, partition, id, type, time, subject, kind, raw, crc"

ROW_BYTES = 300
"""Roughly what an event takes in the journal besides `raw`, its id among those seen included."""

Row: TypeAlias = tuple[Any, ...]


def row_of(event: Event, partition: int, kept_at: int) -> Row:
    """Return the values for `INSERT`: all of `COLUMNS` but the first, then when it was kept."""
    return (
        partition,
        event.id,
        event.type,
        event.time.isoformat(),
        event.subject,
        event.kind,
        event.raw,
        zlib.crc32(event.raw),
        kept_at,
    )


def event_of(row: Row, key: str, origin: Origin) -> Event:
    """Return the event of a row that has `COLUMNS`.

    Raises:
        StateError: the row was damaged on the disk.
    """
    seq, _, name, kind_of, time, subject, kind, raw, crc = row
    if zlib.crc32(raw) != crc:
        raise StateError(
            f"event {seq} in the journal is damaged; restore a copy of the state folder"
        )
    return Event(
        name,
        type=kind_of,
        time=datetime.fromisoformat(time),
        partition=key,
        raw=raw,
        subject=subject,
        kind=kind,
        origin=origin,
        seq=seq,
    )


def size_of(events: Iterable[Event]) -> int:
    """Return about how many bytes *events* take in the journal."""
    return sum(len(event.raw) + ROW_BYTES for event in events)


def ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Write rising *numbers* as ``[first, last]`` pairs."""
    pairs: list[list[int]] = []
    for number in numbers:
        if pairs and number == pairs[-1][1] + 1:
            pairs[-1][1] = number
        else:
            pairs.append([number, number])
    return pairs
