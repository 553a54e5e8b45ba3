"""Where the tests of a source sit: a host in memory, and servers that answer as told."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import timedelta

import pytest
from attrs import define, field

from levada import Batch, Checkpoint, Event, Json, Partition, Source
from levada.backlog import PageBacklog
from levada.host import Host, HostContext
from levada.sandbox import RecordedRequest, Response, Server
from levada.setup import Settings


@define(slots=False)
class Desk(HostContext):
    """A host that keeps everything in memory, and reads one partition after the other."""

    read_ids: defaultdict[str, set[str]] = field(factory=lambda: defaultdict(set))
    forgotten: dict[str, int] = field(factory=dict)
    """How many ids of a partition are not in `read_ids` any more, as it was closed."""
    positions: dict[str, Json] = field(factory=dict)
    learnt: dict[str, Partition] = field(factory=dict)
    reports: list[tuple[str, dict[str, Json]]] = field(factory=list)
    open_partitions: Mapping[str, Partition] = field(factory=dict)
    hints: AbstractSet[str] = frozenset()

    async def known(self, partition: str, ids: Iterable[str]) -> set[str]:
        return self.read_ids[partition].intersection(ids)

    def count(self, partition: str) -> int:
        return len(self.read_ids[partition]) + self.forgotten.get(partition, 0)

    def backlog(self) -> PageBacklog:
        return PageBacklog()

    def report(self, what: str, **fields: Json) -> None:
        self.reports.append((what, fields))

    @property
    def source(self) -> Source:
        assert isinstance(self.connector, Source)
        return self.connector

    async def discover(self, position: Json = None) -> list[Partition | Checkpoint]:
        async with aclosing(self.source.partitions(position, self)) as found:  # type: ignore[type-var]  # a generator all the same
            return [each async for each in found]

    async def batches(self, partition: Partition | str) -> list[Batch]:
        """Read and make every batch durable."""
        if isinstance(partition, str):
            partition = self.learnt.get(partition, Partition(partition))
        key, done = partition.key, list[Batch]()
        async for batch in self.source.read(partition, self.positions.get(key), self):
            self.read_ids[key].update(event.id for event in batch.events)
            if batch.position is not None:
                self.positions[key] = batch.position
            if batch.partition is not None:
                self.learnt[key] = batch.partition
            done.append(batch)
        return done

    async def read(self, partition: Partition | str) -> list[Event]:
        return [event for batch in await self.batches(partition) for event in batch.events]


@asynccontextmanager
async def at_desk(source: Source) -> AsyncIterator[Desk]:
    """Open *source* for as long as the body runs."""
    host = Host(Settings(give_up_after=timedelta(0)))
    desk = Desk(source.name, source, host)
    await source.open(desk)
    try:
        yield desk
    finally:
        await source.close()
        await host.close()


@define(eq=False, kw_only=True)
class Odd(Server):
    """Answers whatever the test wants."""

    answer: Callable[[RecordedRequest], Response]

    async def respond(self, request: RecordedRequest) -> Response:
        return self.answer(request)


@contextmanager
def not_found(server: Server, key: str) -> Iterator[None]:
    """Let *server* answer 404 to whatever is asked of *key* itself; lists go on to show it."""
    kind = type(server)
    respond = kind.respond

    async def answer(self: Server, request: RecordedRequest) -> Response:
        if key in request.segments:
            return Response(404, b'{"error": "Not found"}', {"Content-Type": "application/json"})
        return await respond(self, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "respond", answer)
        yield
