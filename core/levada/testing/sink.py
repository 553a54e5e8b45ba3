"""The checks that a sink has to pass."""

import asyncio
import json
import time
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from unittest import SkipTest

from levada._json import Json
from levada.batch import Delivery
from levada.event import Event
from levada.sink import Sink
from levada.testing import formats
from levada.testing.connector import ConnectorContract
from levada.testing.deliver import Writing, deliver, deliveries, opened
from levada.testing.running import nothing_left_open, require_no_tasks
from levada.testing.samples import events, odd_events
from levada.testing.verdict import require, require_all, require_order

_SIZES = (1, 2, 7, 100)
_LARGEST = 1000
_TURNS = (0, 1, 2, 3, 5, 8, 13)
_PARTS = (0.25, 0.5, 0.75)


class SinkContract(ConnectorContract[Sink]):
    """Checks a sink that writes to a destination that the subclass provides and can read back.

    Each check begins with an empty destination. One that is served must be so outside of the
    check's event loop: in a thread, such as ``levada.sandbox.Receiver.in_thread()``.
    """

    @abstractmethod
    def make(self) -> Sink:
        """Return a new sink, not opened, for the same destination each time."""

    @abstractmethod
    def written(self) -> list[str]:
        """Return the ids of the events that are at the destination now, in its order."""

    async def use(self, connector: Sink) -> None:
        """Write two events."""
        await deliver(connector, events(2))

    # ── what is written ─────────────────────────────────────────────────────────────────────────

    def test_writes_deliveries_of_any_size(self) -> None:
        """Every event arrives once, whether it comes alone or in the largest delivery."""
        given: list[Event] = []
        receipt: Json = None
        for size in sorted({*_SIZES, min(self.make().batch_size, _LARGEST)}):
            more = events(size + 1, first=len(given) + 1)
            given += more
            delivered = self.run(deliver(self.make(), more, receipt=receipt, batch_size=size))
            receipt = delivered.receipt
            advice = f"Deliveries had up to {size} events: write all of `delivery.events`"
            require_all(_ids(given), [*self.written(), *_rejected(delivered.rejected)], advice)

    def test_writes_a_partition_in_order(self) -> None:
        """The events of a partition arrive in the order in which they are delivered."""
        given = events(30)
        self.run(deliver(self.make(), given, batch_size=7))
        self._require_order(given, "Wait for one delivery before the next, and keep its order")

    def test_writes_whatever_an_event_holds(self) -> None:
        """Empty payloads, Unicode, control characters, 300 KB: all of it arrives, or is rejected."""
        given = odd_events()
        delivered = self.run(deliver(self.make(), given))
        advice = (
            "Write `delivery.lines` as they are; what the destination cannot take, raise as Reject "
            "or TooLarge"
        )
        require_all(_ids(given), [*self.written(), *_rejected(delivered.rejected)], advice)

    def test_has_written_when_write_returns(self) -> None:
        """What `write()` has returned from is at the destination, before any `close()`."""
        self.run(self._written_before_close())

    async def _written_before_close(self) -> None:
        given = events(8)
        async with opened(sink := self.make()) as writing:
            for number, delivery in enumerate(deliveries(sink, given, 4), 1):
                await writing.write(delivery)
                arrived = await asyncio.to_thread(self.written)
                advice = f"write() number {number} has returned: flush, commit or await before that"
                require_all(_ids(given[: delivery.seq]), arrived, advice)

    def test_keeps_its_lanes_apart(self) -> None:
        """With several writes at once every event arrives once, and in order in its partition."""
        if self.make().lanes == 1:
            raise SkipTest("it has one lane")
        given = events(40, partitions=5)
        writing = self.run(self._written_in_lanes(given))
        require(
            all(receipt is None for receipt in writing.receipts),
            "write() returned a receipt, and there are several lanes; a receipt says how far the "
            "destination is, which takes `lanes` = 1",
        )
        advice = f"{self.make().lanes} writes ran at once: share nothing between them"
        require_all(_ids(given), self.written(), advice)
        self._require_order(given, advice)

    async def _written_in_lanes(self, given: Sequence[Event]) -> Writing:
        """Write as the host does: one partition never in two lanes."""
        async with opened(sink := self.make()) as writing, asyncio.TaskGroup() as lanes:
            keys = list(dict.fromkeys(event.partition for event in given))
            for lane in range(sink.lanes):
                mine = [e for e in given if keys.index(e.partition) % sink.lanes == lane]
                lanes.create_task(_write_all(writing, deliveries(sink, mine, 4)))
        return writing

    def test_leaves_a_delivery_as_it_was(self) -> None:
        """Events are shared: nothing in them changes, so a repetition has the same id and lines."""
        sink = self.make()
        before = deliveries(sink, events(5))
        after = deliveries(sink, events(5))
        self.run(self._write(sink, after))
        for ours, theirs in zip(before, after, strict=True):
            same = ours.id == theirs.id and ours.lines == theirs.lines
            data = [event.data == json.loads(event.raw) for event in theirs.events]
            require(
                same and all(data),
                "write() changed the events it was given; copy `event.data` before changing it",
            )

    # ── going on ────────────────────────────────────────────────────────────────────────────────

    def test_has_receipts_of_json(self) -> None:
        """A receipt comes back from JSON as it was; `resume()` returns a sequence number or None."""
        sink = self.make()
        writing = self.run(self._write(sink, deliveries(sink, events(6), 2)))
        for receipt in writing.receipts:
            if fault := formats.of_json(receipt):
                raise AssertionError(f"a receipt {fault}; use text, numbers, lists and dicts")
        writing = self.run(self._write(self.make(), [], receipt=writing.receipt))
        held, last = writing.held, 6
        is_known = held is None or (type(held) is int and 0 <= held <= last)
        require(
            is_known,
            f"resume() returned {held!r}; return None, or the `seq` of the last event that the "
            f"destination holds: {last} at most here",
        )

    def test_resumes_as_often_as_asked(self) -> None:
        """`resume()` again with the same receipt, None at first, harms nothing that it covers."""
        given = events(9)
        writing = self.run(self._write(self.make(), (), resumes=2))
        for first in (0, 3, 6):
            sink = self.make()
            part = deliveries(sink, given[first : first + 3])
            work = self._write(sink, part, receipt=writing.receipt, resumes=2)
            writing = self.run(work)
        advice = "resume() may only discard what is newer than the receipt"
        require_all(_ids(given), self.written(), advice)

    def test_keeps_its_guarantee_when_killed(self) -> None:
        """Killed before its receipt was stored, a write comes again: once or more, as promised."""
        given = events(12)
        receipt: Json = None
        for first in range(0, len(given), 3):
            part = given[first : first + 3]
            self.run(deliver(self.make(), part, receipt=receipt))  # its receipt is lost
            receipt = self.run(deliver(self.make(), part, receipt=receipt)).receipt
            self._require_guaranteed(given[: first + 3])

    def test_keeps_its_guarantee_when_cancelled(self) -> None:
        """A write can be cancelled at any moment: it ends soon, leaves nothing open, can be repeated."""
        began = time.monotonic()
        receipt = self.run(deliver(self.make(), events(4))).receipt
        whole_s = time.monotonic() - began
        moments = [(turns, 0.0) for turns in _TURNS] + [(0, part * whole_s) for part in _PARTS]
        with nothing_left_open():
            for number, moment in enumerate(moments, 1):
                part = events(4, first=4 * number + 1)
                self.run(self._cancel(part, receipt, *moment))
                receipt = self.run(deliver(self.make(), part, receipt=receipt)).receipt
                self._require_guaranteed(events(4 * number + 4))

    async def _cancel(
        self, part: Sequence[Event], receipt: Json, turns: int, wait_s: float
    ) -> None:
        before = asyncio.all_tasks()
        async with opened(sink := self.make(), receipt) as writing:
            write = asyncio.create_task(_write_all(writing, deliveries(sink, part)))
            for _ in range(turns):
                await asyncio.sleep(0)
            await asyncio.sleep(wait_s)
            write.cancel()
            done, _ = await asyncio.wait({write}, timeout=self.cancel_s)
            require(
                done,
                f"cancelled, write() went on for {self.cancel_s:g} s; let asyncio.CancelledError "
                "pass",
            )
            with suppress(asyncio.CancelledError):
                await write
        await require_no_tasks(before)

    # ── helpers ─────────────────────────────────────────────────────────────────────────────────

    async def _write(
        self, sink: Sink, parcels: Iterable[Delivery], *, receipt: Json = None, resumes: int = 1
    ) -> Writing:
        async with opened(sink, receipt, resumes=resumes) as writing:
            await _write_all(writing, parcels)
        return writing

    def _require_guaranteed(self, given: Sequence[Event]) -> None:
        promise = type(self.make()).guarantee
        once = "exactly once" in promise.lower()
        if once:
            advice = "Discard in resume() what the receipt does not cover, or tell `guarantee`"
        else:
            advice = "resume() must keep what was written before, and write() write all of it again"
        require_all(
            _ids(given), self.written(), f"It promises {promise!r}. {advice}", repeats=not once
        )

    def _require_order(self, given: Sequence[Event], advice: str) -> None:
        arrived = self.written()
        for key in dict.fromkeys(event.partition for event in given):
            ids = [event.id for event in given if event.partition == key]
            require_order(ids, arrived, f"partition {key!r}", advice)


async def _write_all(writing: Writing, parcels: Iterable[Delivery]) -> None:
    for delivery in parcels:
        await writing.write(delivery)


def _ids(given: Iterable[Event]) -> list[str]:
    return [event.id for event in given]


def _rejected(reasons: Iterable[tuple[str, str]]) -> list[str]:
    return [event for _, event in reasons]
