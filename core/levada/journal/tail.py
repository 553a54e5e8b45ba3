"""The newest events of the journal, still in memory for sinks that keep up."""

from collections import deque
from collections.abc import Iterator, Sequence

from levada.event import Event

MOST_BYTES = 16 * 1024 * 1024

EVENT_BYTES = 900
"""Roughly what an event takes in memory besides `raw`."""


class Tail:
    """Remembers what was committed last, up to 16 MiB, so that it need not be read back."""

    def __init__(self) -> None:
        self._batches: deque[Sequence[Event]] = deque()
        self._bytes = 0

    def add(self, events: Sequence[Event]) -> None:
        """Remember committed events, and forget the older ones if any between them are missing."""
        if not events:
            return
        if self._batches and self._batches[-1][-1].seq != (events[0].seq or 0) - 1:
            self._batches.clear()
            self._bytes = 0
        self._batches.append(events)
        self._bytes += _size(events)
        while self._bytes > MOST_BYTES:
            self._bytes -= _size(self._batches.popleft())

    def after(self, seq: int) -> Iterator[Event] | None:
        """Return the events after *seq*; None if they are not all remembered."""
        if not self._batches or (self._batches[0][0].seq or 0) > seq + 1:
            return None
        return self._after(seq)

    def _after(self, seq: int) -> Iterator[Event]:
        for batch in self._batches:
            if (batch[-1].seq or 0) > seq:
                yield from (event for event in batch if (event.seq or 0) > seq)


def _size(events: Sequence[Event]) -> int:
    return sum(len(event.raw) + EVENT_BYTES for event in events)
