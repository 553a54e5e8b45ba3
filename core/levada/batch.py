"""What travels: partitions and batches from a source, deliveries to a sink."""

import asyncio
import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal, TypeAlias

from attrs import field, frozen

from levada import codec
from levada._json import Json
from levada.event import Event

Order: TypeAlias = datetime | int | str | None
"""What partitions of one source are sorted by, so that old closed ones can be forgotten."""

Format: TypeAlias = Literal["cloudevents", "raw"]
"""How a line of output looks: a CloudEvents 1.0 JSON object, or the vendor's record alone."""


def sortable(order: Order) -> str | None:
    """Write an order as text that sorts as the values do; numbers up to 20 digits."""
    if isinstance(order, datetime):
        return order.astimezone(UTC).isoformat(timespec="microseconds")
    return f"{order:020d}" if isinstance(order, int) else order


@frozen
class Partition:
    """One execution, run or feed: a stretch of events with an order and a position of its own."""

    key: str
    """The vendor's id of it; "" for a source that is one single feed."""

    version: Json = field(default=None, kw_only=True)
    """What the vendor shows to change whenever something happens in it. While it equals the
    stored one, the last read was complete and nothing lingers, the partition is not read.
    None: always read."""

    order: Order = field(default=None, kw_only=True)
    """For instance when it started; a `Checkpoint` may settle all below one."""

    final: bool = field(default=False, kw_only=True)
    """No further event is expected."""

    changed: datetime | None = field(default=None, kw_only=True)
    """The vendor's time of the last change; None: unknown, so nothing lingers."""

    uri: str | None = field(default=None, kw_only=True)
    """The CloudEvents ``source`` of its events; None: a URN made of connector, account and key."""

    memo: Json = field(default=None, kw_only=True)
    """What the source wants to find again in `SourceContext.open_partitions`, such as the
    workflow an execution belongs to. Stored while it is open, never compared."""


@frozen
class Rejected:
    """Something in a page that cannot be an event; it becomes a dead letter, the page goes on."""

    raw: bytes = field(repr=False)
    """The vendor's own bytes of it."""

    reason: str = field(kw_only=True)
    """One sentence, without the content."""


@frozen(eq=False)
class Batch:
    """Events of one partition, oldest first, and the position that holds once they are durable."""

    events: Sequence[Event]

    position: Json = field(default=None, kw_only=True)
    """Where the next read starts; None: do not checkpoint here."""

    rejected: Sequence[Rejected] = field(default=(), kw_only=True)

    partition: Partition | None = field(default=None, kw_only=True)
    """What the read learnt of its partition beyond what discovery showed: a status, a last change.
    Replaces it when the read is done; None: nothing."""

    _durable: asyncio.Event = field(factory=asyncio.Event, init=False, repr=False)

    async def durable(self) -> None:
        """Wait until the journal holds the batch, power loss included.

        Sources that answer their upstream (a receiver, a queue) do so only after this.
        """
        await self._durable.wait()

    def mark_durable(self) -> None:
        """Let `durable()` return. The host calls it, once, after its commit."""
        self._durable.set()


@frozen
class Checkpoint:
    """Yielded by `partitions()`: "everything I yielded so far is complete".

    Stored only when the reads of every partition yielded before it are durable.
    """

    position: Json
    """Where the next pass starts. What reads add to it before it is stored is part of it."""

    settled: Order = field(default=None, kw_only=True)
    """Closed partitions ordered below it will not be yielded again and may be forgotten."""


@frozen(eq=False)
class Delivery:
    """Some events on their way to one sink, in journal order."""

    events: Sequence[Event]
    """Never empty. Which events belong together is fixed before the first attempt."""

    attempt: int = field(default=1, kw_only=True)
    """1 for the first attempt; counts over restarts."""

    format: Format = field(default="cloudevents", kw_only=True)

    @property
    def seq(self) -> int:
        """The sequence number of its last event; grows from delivery to delivery."""
        return self.events[-1].seq or 0

    @cached_property
    def id(self) -> str:
        """A name that stays the same over retries, restarts and even loss of the state.

        A hash of connector name, account, partitions and event ids: 30 characters, none of them
        a dot, fit for a ``webhook-id`` header.
        """
        digest = hashlib.sha256()
        for event in self.events:
            origin = event.origin
            names = (origin.connector, origin.account) if origin else ("", "")
            for part in (*names, event.partition, event.id):
                digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
        return "evt_" + base64.b32hexencode(digest.digest()).decode("ascii").lower()[:26]

    @cached_property
    def lines(self) -> Sequence[bytes]:
        """Each event as one line of JSON in the sink's `format`, without a line end.

        The same event always gives the same bytes.
        """
        if self.format == "raw":
            return [event.raw for event in self.events]
        return [codec.cloudevent(event) for event in self.events]
