"""Events as rows, and rows as events."""

import json
import zlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeAlias

from levada.errors import StateError, shortened
from levada.event import Event, Origin
from levada.journal.files import PAGE_BYTES
from levada.secret import scrub_known

COLUMNS = "seq, partition, id, type, time, subject, kind, raw, crc"

ROW_BYTES = 60
"""Roughly what an event's row has besides its record and its names."""

SEEN_BYTES = 150
"""Roughly what its id takes among those seen, and the row in indexes."""


def _length(*names: str) -> str:
    sizes = (f"coalesce(length(CAST({name} AS BLOB)), 0)" for name in names)
    return " + ".join(["length(raw)", *sizes])  # not cast: SQLite need not read it then


LENGTH = _length("id", "type", "subject", "kind")
"""Of an event's row, in SQL: what `length_of` says of the event."""

LETTER_LENGTH = _length("partition", "event", "reason", "uri", "event_type", "subject", "kind")
"""The same of the row of a dead letter."""

DAMAGED = (
    "what the journal remembers is damaged; restore a copy of the state folder,"
    " or see what `levada repair` can do"
)
"""What to say where a value is none that was ever written."""

Row: TypeAlias = tuple[Any, ...]


def row_of(event: Event, partition: int, kept_at: int) -> Row:
    """Return the values for `INSERT`: all of `COLUMNS` but the first, then when it was kept."""
    names = (event.id, event.type, event.time.isoformat(), event.subject, event.kind)
    return partition, *names, event.raw, checksum(*names, event.raw), kept_at


def event_of(row: Row, key: str, origin: Origin) -> Event:
    """Return the event of a row that has `COLUMNS`.

    Raises:
        StateError: the row was damaged on the disk.
    """
    seq, _, name, kind_of, time, subject, kind, raw, crc = row
    if checksum(name, kind_of, time, subject, kind, raw) != crc:
        raise damaged_event(seq)
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


def damaged_event(seq: int) -> StateError:
    """Return the error for an event that cannot be delivered as it was read."""
    return StateError(
        f"event {seq} in the journal is damaged; restore a copy of the state folder,"
        " or see what `levada repair` can do"
    )


def stored(text: str | None) -> Any:
    """Return what a column of JSON holds; None if it is empty.

    Raises:
        StateError: it was damaged on the disk.
    """
    try:
        return json.loads(text) if text else None
    except ValueError as error:
        raise StateError(DAMAGED) from error


def moment(text: str | None) -> datetime | None:
    """Return what a column of times holds; None if it is empty.

    Raises:
        StateError: it was damaged on the disk.
    """
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError as error:
        raise StateError(DAMAGED) from error


def checksum(  # noqa: PLR0917  # the columns, in their order
    name: Any, kind_of: Any, time: Any, subject: Any, kind: Any, raw: Any
) -> int:
    """Return the CRC of all that is delivered of an event. Damage can make anything of a column."""
    names = f"{name}\0{kind_of}\0{time}\0{subject}\0{kind}"
    content = raw if isinstance(raw, bytes) else repr(raw).encode()
    return zlib.crc32(content, zlib.crc32(names.encode("utf-8", "surrogatepass")))


def reason_of(text: str) -> str:
    """Return why something failed as it may be kept: without secrets, and not too long."""
    return shortened(scrub_known(text))


def fits(event: Event, most: int) -> bool:
    """Whether neither an event's record nor a name in it has more than *most* bytes."""
    return length_of(event) <= most or longest(event) <= most  # the first nearly always, and fast


def longest(event: Event) -> int:
    """Return the bytes of what `max_event_bytes` is about: its record, or a longer name in it."""
    names = (event.id, event.type, event.subject or "", event.kind or "")
    return max(len(event.raw), *map(_bytes_of, names))


def length_of(event: Event) -> int:
    """Return the bytes of an event's record and names together."""
    names = f"{event.id}{event.type}{event.subject or ''}{event.kind or ''}"
    return len(event.raw) + _bytes_of(names)


def size_of(events: Iterable[Event]) -> int:
    """Return about how many bytes *events* take in the journal."""
    return sum(room_of(length_of(event)) for event in events)


def room_of(length: int) -> int:
    """Return about how many bytes an event takes whose record and names are so long.

    A page holds whole rows, so one of half a page and a little takes a page; what is longer than
    a page goes on in pages of its own.
    """
    beyond, within = divmod(length + ROW_BYTES, PAGE_BYTES)
    return beyond * PAGE_BYTES + PAGE_BYTES // max(1, PAGE_BYTES // (within + 1)) + SEEN_BYTES


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Write rising *numbers* as ``[first, last]`` pairs."""
    pairs: list[list[int]] = []
    for number in numbers:
        if pairs and number == pairs[-1][1] + 1:
            pairs[-1][1] = number
        else:
            pairs.append([number, number])
    return pairs
