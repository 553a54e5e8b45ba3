"""Small real sources and sinks whose behaviour a test writes down beforehand."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from attrs import define, field

from levada import (
    Batch,
    Checkpoint,
    Delivery,
    Event,
    Format,
    Json,
    Partition,
    Settings,
    Setup,
    Sink,
    SinkContext,
    Source,
    SourceContext,
)
from levada.setup import SinkSetup, SourceSetup

START = datetime(2026, 1, 2, tzinfo=UTC)


def event(
    number: int,
    partition: str = "run-1",
    *,
    name: str = "step_completed",
    kind: str | None = "step.completed",
    size: int = 0,
) -> Event:
    """Return event *number* of a partition, its record at least *size* bytes long."""
    raw = b'{"n":%d,"of":"%s"}' % (number, partition.encode())
    return Event(
        f"evt-{number}",
        type=name,
        time=START + timedelta(seconds=number),
        partition=partition,
        raw=raw[:-1] + b" " * max(0, size - len(raw)) + raw[-1:],
        kind=kind,
    )


def events(first: int, last: int, partition: str = "run-1") -> list[Event]:
    """Return the events *first* to *last* of a partition, both included."""
    return [event(number, partition) for number in range(first, last + 1)]


def names(found: Iterable[Event]) -> list[tuple[str, str]]:
    """Return what tells events of one account apart."""
    return [(each.partition, each.id) for each in found]


def by_partition(found: Iterable[Event]) -> dict[str, list[str]]:
    """Return the ids of each partition, in the order they came."""
    ids: dict[str, list[str]] = defaultdict(list)
    for each in found:
        ids[each.partition].append(each.id)
    return dict(ids)


@define(slots=False, kw_only=True)
class ScriptedSource(Source):
    """Reads runs out of a dict; positions are counts.

    `found` replaces what discovery yields, pass after pass (the last one repeats). An exception
    among `failures` of a run is raised by one read each, after its first batch.
    """

    name: ClassVar[str] = "scripted"

    runs: dict[str, list[Event]] = field(factory=dict)
    page: int = 10
    found: list[list[Partition | Checkpoint | Exception]] = field(factory=list)
    failures: dict[str, list[Exception]] = field(factory=dict)
    account: str = "acme"
    linger: timedelta = timedelta(0)
    positions: list[tuple[str, Json]] = field(factory=list, init=False)
    """What each read was asked for: the run, and from where."""
    asked: list[Json] = field(factory=list, init=False)
    """The position that each discovery was given."""
    opened: int = field(default=0, init=False)
    closed: int = field(default=0, init=False)
    reading: int = field(default=0, init=False)
    most_reading: int = field(default=0, init=False)

    def identity(self) -> str:
        return self.account

    async def open(self, ctx: SourceContext) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1

    async def partitions(
        self, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Partition | Checkpoint]:
        self.asked.append(position)
        for each in self._discovered():
            if isinstance(each, Exception):
                raise each
            yield each

    def _discovered(self) -> Iterable[Partition | Checkpoint | Exception]:
        if not self.found:
            return [Partition(key, version=len(run)) for key, run in self.runs.items()]
        return self.found.pop(0) if len(self.found) > 1 else self.found[0]

    async def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Batch]:
        self.positions.append((partition.key, position))
        self.reading += 1
        self.most_reading = max(self.most_reading, self.reading)
        try:
            async for batch in self._batches(partition.key, position or 0):
                yield batch
        finally:
            self.reading -= 1

    async def _batches(self, key: str, start: int) -> AsyncIterator[Batch]:
        run = self.runs[key]
        failure = self.failures[key].pop(0) if self.failures.get(key) else None
        for first in range(start, len(run), self.page):
            await asyncio.sleep(0)
            end = min(first + self.page, len(run))
            yield Batch(run[first:end], position=end)
            if failure is not None:
                break
        if failure is not None:
            raise failure


@define(slots=False, kw_only=True)
class CollectingSink(Sink):
    """Collects what it is given; an exception in `script` is raised by one write each.

    With `receipts` it returns how many events it holds, and `resume` drops what is beyond.
    """

    name: ClassVar[str] = "collecting"

    place: str = ""
    script: list[Exception | None] = field(factory=list)
    always: Exception | None = None
    receipts: bool = False
    width: int = 1
    pause_s: float = 0.0
    opening: list[Exception] = field(factory=list)
    format: Format = "cloudevents"
    batch_size: int = 500
    batch_wait: timedelta = timedelta(0)
    got: list[Event] = field(factory=list, init=False)
    deliveries: list[Delivery] = field(factory=list, init=False)
    """Every attempt, the failed ones included."""
    resumed: list[Json] = field(factory=list, init=False)
    closed: int = field(default=0, init=False)
    writing: list[Delivery] = field(factory=list, init=False)
    clashes: int = field(default=0, init=False)
    """How often a write began for a partition that another write was busy with."""
    most_writing: int = field(default=0, init=False)

    @property
    def lanes(self) -> int:
        return self.width

    def identity(self) -> str:
        return self.place

    async def open(self, ctx: SinkContext) -> None:
        if self.opening:
            raise self.opening.pop(0)

    async def resume(self, receipt: Json, ctx: SinkContext) -> int | None:
        self.resumed.append(receipt)
        if self.receipts:
            del self.got[receipt or 0 :]
        return None

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        self._begin(delivery)
        try:
            await asyncio.sleep(self.pause_s)
        finally:
            self.writing.remove(delivery)
        failure = self.always or (self.script.pop(0) if self.script else None)
        if failure is not None:
            raise failure
        self.got += delivery.events
        return len(self.got) if self.receipts else None

    async def close(self) -> None:
        self.closed += 1

    def _begin(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        busy = {each.partition for other in self.writing for each in other.events}
        self.clashes += not busy.isdisjoint({each.partition for each in delivery.events})
        self.writing.append(delivery)
        self.most_writing = max(self.most_writing, len(self.writing))


def settings(folder: Path, **changes: Any) -> Settings:
    """Return the settings of a test: the journal in *folder*, little patience."""
    quick: Mapping[str, Any] = {
        "poll_interval": timedelta(milliseconds=10),
        "give_up_after": timedelta(0),
        "shutdown_timeout": timedelta(seconds=2),
    }
    return Settings(state=folder / "state", **{**quick, **changes})


def setup(source: Source, *sinks: Sink, at: Path, **changes: Any) -> Setup:
    """Return a pipeline from *source* to *sinks*, which are named ``sink-1``, ``sink-2``."""
    return Setup(
        [SourceSetup.of(source)],
        [SinkSetup.of(sink, name=f"sink-{number}") for number, sink in enumerate(sinks, 1)],
        settings(at, **changes),
    )
