"""Deliveries that were planned and are not done."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from attrs import define, field

from levada.event import Event
from levada.journal.rows import ranges

Ranges: TypeAlias = Sequence[Sequence[int]]
"""Sequence numbers as ``[first, last]`` pairs, both included."""

Fetch: TypeAlias = Callable[[Ranges], Sequence[Event]]


@define(eq=False)
class Outstanding:
    """A delivery that was planned and is not done: its members are fixed and in the journal.

    Deliveries may wait in great numbers for others of their partition, so they can let go of
    their events; who asks for them then reads them from the journal.
    """

    row: int
    members: Ranges
    partitions: frozenset[str] = field(repr=False)
    size: int
    """Bytes of the events' `raw`."""

    attempts: int = 0
    """Attempts that have failed."""

    due: float = 0.0
    """When to try next, by the monotonic clock; 0: now."""

    reason: str = ""
    """Why the last attempt failed."""

    _fetch: Fetch = field(kw_only=True, repr=False)
    _events: Sequence[Event] | None = field(kw_only=True, default=None, repr=False)

    @classmethod
    def of(
        cls, row: int, events: Sequence[Event], fetch: Fetch, *, attempts: int = 0
    ) -> "Outstanding":
        """Return a delivery of *events*, which are in memory."""
        return cls(
            row,
            ranges(event.seq or 0 for event in events),
            frozenset(event.partition for event in events),
            sum(len(event.raw) for event in events),
            attempts,
            fetch=fetch,
            events=events,
        )

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.members)

    @property
    def first(self) -> int:
        """The sequence number of its oldest event, which tells its place among deliveries."""
        return self.members[0][0]

    @property
    def events(self) -> Sequence[Event]:
        """Its events, in order; read from the journal if they are not in memory.

        Raises:
            StateError: one of them was damaged on the disk.
        """
        if self._events is None:
            self._events = self._fetch(self.members)
        return self._events

    def release(self) -> None:
        """Let go of the events."""
        self._events = None


def keep_waits(connection: sqlite3.Connection) -> None:
    """Have nothing wait longer than was asked, as it would where the clock has been set back since."""
    now = time.time()
    for table in ("delivery", "sink"):
        connection.execute(f"UPDATE {table} SET due = ? + wait WHERE due > ? + wait", (now, now))


def by_monotonic(due: float | None) -> float:
    """Return when something is due that is stored in Unix seconds; 0: now."""
    return 0.0 if due is None else time.monotonic() + due - time.time()
