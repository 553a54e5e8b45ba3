"""The contract of an event sink."""

from datetime import timedelta
from typing import ClassVar, Protocol

from attrs import define, validators

from levada._json import Json
from levada.batch import Delivery, Format
from levada.connector import Connector, Context, option


class SinkContext(Context, Protocol):
    """The host's services to a sink."""

    @property
    def journal(self) -> str:
        """Names the journal the events come from; sequence numbers count within it.

        Unlike that of any other journal. A sink that lost its receipt, because it went on elsewhere
        (`--accept-identity-change`) or by damage, gets another name for it: what it wrote under the
        old one it cannot tell from what somebody else wrote.
        """


@define(slots=False, kw_only=True)
class Sink(Connector):
    """Writes events to one destination.

    Only `write` must be written. The host calls `open`, then `resume`, then `write` for one
    delivery after the other (up to `lanes` at once).
    """

    guarantee: ClassVar[str] = "at least once"
    """What `levada describe` says of a crash at any moment."""

    exclusive: ClassVar[bool] = False
    """Two sinks of one pipeline must not have the same `identity()`."""

    format: Format = option(
        default="cloudevents",
        help="What a line holds: a CloudEvents object, or the vendor's record.",
    )
    batch_size: int = option(
        default=500, help="Most events in one delivery.", validator=validators.ge(1)
    )
    batch_wait: timedelta = option(
        default=timedelta(0), help="How long to wait for a delivery to fill up."
    )

    @property
    def lanes(self) -> int:
        """How many writes may run at once. One partition is never in two lanes.

        A sink that returns receipts has one.
        """
        return 1

    async def open(self, ctx: SinkContext) -> None:
        """Get ready to write. Called once, before anything else.

        Raises:
            Retry: the destination is not there yet.
            Fatal: it never will be.
        """

    async def resume(self, receipt: Json, ctx: SinkContext) -> int | None:
        """Discard whatever was written after *receipt*, the last one the journal holds.

        Called once after `open`; *receipt* is None before the first. Must do no harm when
        called again after being killed half-way. A sink that stores the sequence number with its
        data returns the one it holds; the host goes on after it. None: the journal knows best.
        """
        return None

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        """Write a delivery; return a receipt when it is durable.

        The receipt (any JSON value, None for none) commits together with the sink's progress,
        before the next `write`, and comes back in `resume`.

        Raises:
            Retry: try this delivery again later.
            Reject: some of its events can never be written; the rest was.
            TooLarge: split it.
            Disable: stop, and stay stopped.
            Closed: the reader went away.
            Fatal: stop.
        """
        raise NotImplementedError(f"{type(self).__name__}.write")
