"""A host for one sink, without a journal: opens it, resumes it, hands it deliveries."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from attrs import define, evolve, field, frozen

from levada._json import Json
from levada.batch import Delivery
from levada.errors import Reject, Retry, TooLarge
from levada.event import Event
from levada.host import Host, HostContext
from levada.setup import Settings
from levada.sink import Sink

JOURNAL = "00000000-0000-4000-8000-000000000001"

_MOST_ATTEMPTS = 5
_LONGEST_WAIT_S = 0.05


@frozen
class Delivered:
    """What came of a `deliver`."""

    receipt: Json
    """What the last write returned that returned something: to go on with."""

    rejected: Mapping[tuple[str, str], str]
    """The events that the sink refused for good, by partition and id, and why."""


async def deliver(
    sink: Sink, events: Sequence[Event], *, receipt: Json = None, batch_size: int | None = None
) -> Delivered:
    """Open *sink*, resume it from *receipt*, write *events* in order, close it.

    `Retry` is tried again a few times at once, `TooLarge` splits the delivery, `Reject` is noted,
    as the pipeline would do; every other failure is raised. The journal's id is always the same.

    Args:
        sink: A sink, not opened.
        events: Those without a `seq` are numbered by their place, from 1.
        receipt: What the last `deliver` to the same destination returned; None at first.
        batch_size: Most events in one delivery; at most, and by default, the sink's own.
    """
    numbered = [
        event if event.seq is not None else evolve(event, seq=place)
        for place, event in enumerate(events, 1)
    ]
    async with opened(sink, receipt) as writing:
        for delivery in deliveries(sink, numbered, batch_size):
            await writing.write(delivery)
        return Delivered(writing.receipt, writing.rejected)


def deliveries(
    sink: Sink, events: Sequence[Event], batch_size: int | None = None
) -> list[Delivery]:
    """Cut *events* into deliveries as *sink* takes them."""
    size = min(batch_size or sink.batch_size, sink.batch_size)
    return [
        Delivery(events[first : first + size], format=sink.format)
        for first in range(0, len(events), size)
    ]


@asynccontextmanager
async def opened(sink: Sink, receipt: Json = None, *, resumes: int = 1) -> AsyncIterator["Writing"]:
    """Open *sink* and resume it, *resumes* times over; close it and what it used at the end."""
    host = Host(Settings(give_up_after=timedelta(seconds=1)))
    writing = Writing(sink, SinkDesk(sink.name, sink, host), receipt)
    try:
        await sink.open(writing.ctx)
        try:
            for _ in range(resumes):
                await writing.resume()
            yield writing
        finally:
            await sink.close()
    finally:
        await host.close()


@define(slots=False)
class SinkDesk(HostContext):
    """The services to a sink."""

    journal: str = JOURNAL


@define
class Writing:
    """One life of a sink, between `open` and `close`."""

    sink: Sink
    ctx: SinkDesk
    receipt: Json = None
    receipts: list[Json] = field(factory=list, init=False)
    """What each write returned, as it was."""

    rejected: dict[tuple[str, str], str] = field(factory=dict, init=False)
    held: object = field(default=None, init=False)
    """The sequence number that the sink says it holds."""

    async def resume(self) -> None:
        """Tell the sink which receipt is the last one known."""
        self.held = await self.sink.resume(self.receipt, self.ctx)

    async def write(self, delivery: Delivery) -> None:
        """Write a delivery until it is written, unless the sink holds it already."""
        if isinstance(self.held, int) and delivery.seq <= self.held:
            return
        try:
            self._keep(await self._attempt(delivery))
        except Reject as reject:
            self.rejected |= reject.reasons
            self._keep(reject.receipt)
        except TooLarge as failure:
            await self._split(delivery, failure)

    async def _attempt(self, delivery: Delivery) -> Json:
        for attempt in range(delivery.attempt, _MOST_ATTEMPTS):
            try:
                return await self.sink.write(evolve(delivery, attempt=attempt), self.ctx)
            except Retry as retry:
                wait_s = retry.after.total_seconds() if retry.after else 0.0
                await asyncio.sleep(min(wait_s, _LONGEST_WAIT_S))
        return await self.sink.write(evolve(delivery, attempt=_MOST_ATTEMPTS), self.ctx)

    async def _split(self, delivery: Delivery, failure: TooLarge) -> None:
        if len(delivery.events) == 1:
            self.rejected |= _all(delivery.events, str(failure))
            return
        middle = len(delivery.events) // 2
        for half in (delivery.events[:middle], delivery.events[middle:]):
            await self.write(evolve(delivery, events=half))

    def _keep(self, receipt: Json) -> None:
        self.receipts.append(receipt)
        if receipt is not None:
            self.receipt = through_json(receipt)


def through_json(value: Json) -> Json:
    """Return *value* as the journal would give it back; as it is where that cannot be."""
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return value  # a check of its own says so


def _all(events: Iterable[Event], reason: str) -> dict[tuple[str, str], str]:
    return {(event.partition, event.id): reason for event in events}
