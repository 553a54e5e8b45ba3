"""Pages that come newest first, turned into batches that go oldest first."""

import tempfile
import weakref
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import IO

import msgspec

from levada._json import Json
from levada.batch import Batch
from levada.event import Event

MEMORY_BYTES = 4 * 1024 * 1024

_Row = tuple[str, str, datetime, str, bytes, str | None, str | None]


class PageBacklog:
    """A stack of pages. What exceeds 4 MiB goes to a temporary file that has no name."""

    def __init__(self) -> None:
        self._pages: list[list[Event]] = []
        self._bytes = 0
        self._file: IO[bytes] | None = None
        self._spilled: list[tuple[int, int]] = []  # (offset, length) of each page, newest first

    def push(self, events: Iterable[Event]) -> None:
        """Add the next page, newest event first."""
        page = list(events)
        if not page:
            return
        self._pages.append(page)
        self._bytes += sum(len(event.raw) for event in page)
        if self._bytes > MEMORY_BYTES:
            self._spill()

    async def batches(self, position: Json) -> AsyncIterator[Batch]:
        """Yield everything oldest first, a page a batch; the last one carries *position*."""
        left = len(self._pages) + len(self._spilled)
        if not left:
            yield Batch((), position=position)
        while left:
            left -= 1
            page = self._pop()
            yield Batch(page[::-1], position=None if left else position)

    def _pop(self) -> list[Event]:
        if self._pages:
            return self._pages.pop()
        assert self._file is not None  # noqa: S101  # pages are spilled into it
        offset, length = self._spilled.pop()
        self._file.seek(offset)
        rows = msgspec.msgpack.decode(self._file.read(length), type=list[_Row])
        return [_event(row) for row in rows]

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="levada-")  # noqa: SIM115  # outlives this call
            weakref.finalize(self, self._file.close)  # a read that is cut short just drops us
        end = self._file.seek(0, 2)
        for page in self._pages:
            length = self._file.write(msgspec.msgpack.encode([_row(event) for event in page]))
            self._spilled.append((end, length))
            end += length
        self._pages.clear()
        self._bytes = 0


def _row(event: Event) -> _Row:
    return (
        event.id,
        event.type,
        event.time,
        event.partition,
        event.raw,
        event.subject,
        event.kind,
    )


def _event(row: _Row) -> Event:
    name, kind_of, time, partition, raw, subject, kind = row
    return Event(
        name, type=kind_of, time=time, partition=partition, raw=raw, subject=subject, kind=kind
    )
