"""Decides which events are delivered together, and which delivery may go next."""

import time
import zlib
from collections.abc import Iterable, Iterator, Sequence

from levada.event import Event
from levada.journal import Cursor, Outstanding
from levada.setup import SinkSetup

AHEAD = 2  # deliveries kept ready beyond those that run
MOST_OUTSTANDING = 1_000
MOST_EVENTS = 10_000  # of deliveries that wait for others of their partition
MOST_BYTES = 16 * 1024 * 1024  # of their events, in memory
READ_EVENTS = 1_000
READ_BYTES = 4 * 1024 * 1024


class Planner:
    """The deliveries of one sink that wait for their turn.

    Order holds within a partition: a delivery waits for every older one that shares a partition
    with it; with a single lane, for every older one.
    """

    def __init__(self, setup: SinkSetup, cursor: Cursor, *, lanes: int) -> None:
        self.waiting: list[Outstanding] = cursor.outstanding()
        self.filtered: int = 0
        self._lanes, self._batch_size = lanes, setup.sink.batch_size
        self._batch_wait_s = setup.sink.batch_wait.total_seconds()
        self._wants = setup.selection.wants
        self._cursor = cursor
        self._filling_since: float | None = None
        self._looked_at = 0.0

    @property
    def empty(self) -> bool:
        """Whether nothing waits and the journal holds nothing new."""
        return not self.waiting and self._cursor.caught_up()

    async def top_up(self, running: Iterable[Outstanding], *, flush: bool) -> None:
        """Plan deliveries until every lane has one and the next ones are ready.

        With *flush* none of them waits to be filled up.
        """
        self._looked_at = time.monotonic()
        filling_since, self._filling_since = self._filling_since, None
        running = list(running)
        while not self._enough(running):
            events = self._cursor.next_events(max(self._batch_size, READ_EVENTS), READ_BYTES)
            if not events or (not flush and self._fills_up(len(events), filling_since)):
                return
            await self._plan(events)
            filling_since = None

    def _enough(self, running: Sequence[Outstanding]) -> bool:
        lanes = self._lanes
        if lanes == 1:
            return len(self.waiting) >= lanes + AHEAD
        if len(self.waiting) >= MOST_OUTSTANDING:
            return True
        ahead = sum(map(len, self.waiting))
        return ahead >= MOST_EVENTS or len(self.startable(running, lanes + AHEAD)) >= lanes + AHEAD

    async def _plan(self, events: Sequence[Event]) -> None:
        selected = [event for event in events if self._wants(event)]
        filtered = len(events) - len(selected)
        groups = list(grouped(selected, self._batch_size, self._lanes))
        self.waiting += await self._cursor.plan(groups, events[-1].seq or 0, filtered)
        self.filtered += filtered
        self._release()

    def _release(self) -> None:
        """Let the deliveries that are not next go without their events, if those are too many."""
        size = 0
        for delivery in self.waiting:
            size += delivery.size
            if size > MOST_BYTES:
                delivery.release()

    def _fills_up(self, events: int, since: float | None) -> bool:
        """Whether to wait for more than that many *events* before making a delivery."""
        wait_s = self._batch_wait_s
        if not wait_s or events >= self._batch_size:
            return False
        now = time.monotonic()
        if since is not None and now - since >= wait_s:
            return False
        self._filling_since = now if since is None else since
        return True

    def startable(self, running: Iterable[Outstanding], most: int) -> list[Outstanding]:
        """Return at most *most* deliveries that could start now, oldest first."""
        now = time.monotonic()
        found: list[Outstanding] = []
        blocked = {key for delivery in running for key in delivery.partitions}
        for delivery in self.waiting:
            if len(found) == most:
                break
            if delivery.due <= now and blocked.isdisjoint(delivery.partitions):
                found.append(delivery)
            elif self._lanes == 1:
                break
            blocked |= delivery.partitions
        return found

    def put_back(self, *deliveries: Outstanding) -> None:
        """Let deliveries wait again, at the place that their age gives them."""
        self.waiting.extend(deliveries)
        self.waiting.sort(key=lambda delivery: delivery.first)
        self._release()

    def next_s(self) -> float | None:
        """Return how long until something can change by itself; None if nothing can."""
        now = time.monotonic()
        # What came due since the last look has not been started: it must not be slept through.
        waits = [delivery.due - now for delivery in self.waiting if delivery.due > self._looked_at]
        if self._filling_since is not None:
            filled_at = self._filling_since + self._batch_wait_s
            waits.append(filled_at - time.monotonic())
        return max(0.0, min(waits)) if waits else None


def grouped(events: Iterable[Event], size: int, lanes: int) -> Iterator[Sequence[Event]]:
    """Yield what is delivered together: up to *size* events, in order.

    With several lanes each group keeps to the partitions of one lane, so that groups do not
    wait for one another.
    """
    groups: dict[int, list[Event]] = {}
    for event in events:
        lane = zlib.crc32(event.partition.encode("utf-8", "replace")) % lanes if size > 1 else 0
        group = groups.setdefault(lane, [])
        group.append(event)
        if len(group) == size:
            yield groups.pop(lane)
    yield from groups.values()
