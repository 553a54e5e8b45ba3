"""A third party's plugin between a rude vendor and a rude receiver: controls in all that they say."""

import json
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import ClassVar

from attrs import define

from levada import (
    Batch,
    Delivery,
    Disable,
    Event,
    Fatal,
    Json,
    Partition,
    Reject,
    Rejected,
    Retry,
    Sink,
    SinkContext,
    Source,
    SourceContext,
    hookimpl,
    option,
)

RUDE = "\x1b]0;owned\x07\x1b[2J\r\n\x7f\x9b31m\x85\u202eevil\u2066\u2028levada: done\u200f"
"""A title, a cleared screen, 8-bit controls, text turned round, and a line of its own."""


@define
class RudeSource(Source):
    """Hands on what a rude vendor says: \x9b31m\u202e."""  # noqa: D301  # they are meant

    name: ClassVar[str] = "rude"

    way: str = option(default="", help="How to end: \x9b31m\u202e.")

    async def partitions(self, position: Json, ctx: SourceContext) -> AsyncIterator[Partition]:
        """Name an execution."""
        yield Partition(f"run{RUDE}", uri=f"https://vendor.test/{RUDE}")

    async def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Batch]:
        """Yield an event and an item that is none; then fail as told."""
        raw = json.dumps({"text": RUDE}, ensure_ascii=False).encode()
        event = Event(
            f"evt{RUDE}",
            type=f"step{RUDE}",
            time=datetime(2026, 3, 2, tzinfo=UTC),
            partition=partition.key,
            raw=raw,
            subject=f"step{RUDE}",
        )
        yield Batch([event], position=RUDE, rejected=[Rejected(raw, reason=f"no event: {RUDE}")])
        ctx.report("rude.seen", text=RUDE, all={RUDE: [RUDE]})
        if self.way == "retry":
            raise Retry(f"the vendor said {RUDE}")
        if self.way == "raise":
            raise Fatal(f"the vendor said {RUDE}")


@define
class RudeSink(Sink):
    """Hands on what a rude receiver says."""

    name: ClassVar[str] = "rude"

    way: str = option(default="reject", help="How to end.")

    def identity(self) -> str:
        """Return where the receiver says that it is."""
        return f"https://receiver.test/{RUDE}"

    async def write(self, delivery: Delivery, ctx: SinkContext) -> None:
        """Fail as told."""
        if self.way == "reject":
            raise Reject({(each.partition, each.id): RUDE for each in delivery.events})
        if self.way == "disable":
            raise Disable(f"410 {RUDE}")
        raise Retry(f"503 {RUDE}") if self.way == "retry" else Fatal(f"401 {RUDE}")


@hookimpl
def event_sources() -> Iterable[type[Source]]:
    """Offer `RudeSource`."""
    return [RudeSource]


@hookimpl
def event_sinks() -> Iterable[type[Sink]]:
    """Offer `RudeSink`."""
    return [RudeSink]
