"""A host for one source, without a journal: reads it, writes down what it did, lets it fail."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any, cast

from attrs import define, evolve, field, frozen

from levada._json import Json
from levada.batch import Batch, Checkpoint, Partition
from levada.connector import HttpClient, HttpResponse
from levada.errors import Gone, Retry, SourceError
from levada.event import Event
from levada.report import SourceReport
from levada.setup import Settings
from levada.source import Source, SourceContext
from levada.streaming import stream

SETTINGS = Settings(give_up_after=timedelta(seconds=1))


async def collect(source: Source, state: Json = None) -> list[Event]:
    """Return every event in *source* that is new since *state* of a `levada.stream`.

    Raises:
        SourceError: the source, or the read of one of its partitions, failed.
    """
    return (await read(source, state)).events


@frozen(kw_only=True)
class Reading:
    """What one pass over a source brought."""

    batches: list[Batch]
    """As the host passes them on: nothing twice, each event with its origin."""

    yielded: list[tuple[Partition, Batch]]
    """As the source yielded them, and of which partition."""

    found: list[Partition | Checkpoint]
    """What discovery yielded."""

    requests: int
    """How many requests were begun; one that is tried again counts once."""

    state: Json
    report: SourceReport

    @property
    def events(self) -> list[Event]:
        """The events of all batches."""
        return [event for batch in self.batches for event in batch.events]


async def read(
    source: Source,
    state: Json = None,
    *,
    batches: int | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Reading:
    """Read *source* to its end, or so many *batches* and then stop.

    *on_batch* is called with the number of each batch, from 0, while the source waits at its
    `yield`; partitions are then read one after the other.

    Raises:
        SourceError: discovery or a read failed; the plugin's own exception is its cause.
    """
    watched = Watched.over(source, on_batch=on_batch or _ignore)
    settings = evolve(SETTINGS, concurrency=1) if on_batch else SETTINGS
    reading = await read_watched(watched, state, batches=batches, settings=settings)
    if watched.failures:
        key, error = watched.failures[0]
        reason = f"reading partition {key!r} failed: {type(error).__name__}: {error}"
        raise SourceError(source.name, reason) from error
    return reading


async def read_watched(
    watched: "Watched",
    state: Json = None,
    *,
    batches: int | None = None,
    settings: Settings = SETTINGS,
) -> Reading:
    """Read as `read` does, leaving failures of single reads and of discovery in *watched*."""
    flow = stream(watched, state, settings=settings)
    taken: list[Batch] = []
    try:
        async with aclosing(aiter(flow)) as coming:
            async for batch in coming:
                if len(taken) == batches:  # this one is not dealt with: the state does not cover it
                    break
                taken.append(batch)
    except SourceError as error:
        if not watched.wants_failure:
            raise
        watched.failures.append(("", error))
    return Reading(
        batches=taken,
        yielded=watched.yielded,
        found=watched.found,
        requests=watched.requests,
        state=flow.state,
        report=flow.intake.report(),
    )


def _ignore(_number: int) -> None:
    """Do nothing about a batch or request."""


@define(slots=False, kw_only=True)
class Watched(Source):
    """Stands before a source, writes down what passes, and can fail one of its requests."""

    source: Source
    fails_at: int | None = None
    """Which request fails, from 0."""

    on_batch: Callable[[int], None] = _ignore
    on_request: Callable[[int], None] = _ignore
    requests: int = field(default=0, init=False)
    found: list[Partition | Checkpoint] = field(factory=list, init=False)
    yielded: list[tuple[Partition, Batch]] = field(factory=list, init=False)
    failures: list[tuple[str, Exception]] = field(factory=list, init=False)

    @classmethod
    def over(cls, source: Source, **options: Any) -> "Watched":
        """Stand before *source*, with its name and the options that the host looks at."""
        kind = type(cls.__name__, (cls,), {"name": source.name, "live": source.live})
        shared = ("linger", "rate_share", "rate_limit")
        options |= {name: getattr(source, name) for name in shared}
        return cast("Watched", kind(source=source, **options))

    @property
    def wants_failure(self) -> bool:
        """Whether one of the requests is to fail."""
        return self.fails_at is not None

    def identity(self) -> str:
        """Return the source's own."""
        return self.source.identity()

    async def open(self, ctx: SourceContext) -> None:
        """Open the source."""
        await self.source.open(cast("SourceContext", _Desk(ctx, self)))

    async def close(self) -> None:
        """Close the source."""
        await self.source.close()

    async def partitions(
        self, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Partition | Checkpoint]:
        """Pass on what the source finds."""
        desk = cast("SourceContext", _Desk(ctx, self))
        async for found in self.source.partitions(position, desk):
            self.found.append(found)
            yield found

    async def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncGenerator[Batch, None]:
        """Pass on what the source yields; an event that names another partition is moved here.

        The host would refuse it, and every check would fail instead of the one about it.
        """
        desk = cast("SourceContext", _Desk(ctx, self))
        try:
            async for batch in self.source.read(partition, position, desk):
                _check(batch)
                self.yielded.append((partition, batch))
                self.on_batch(len(self.yielded) - 1)
                yield _moved(batch, partition)
        except Gone:
            raise
        except Exception as error:
            self.failures.append((partition.key, error))
            raise

    def next_request(self) -> None:
        """Count a request that is about to be made; raise if it is the one to fail."""
        self.requests += 1
        self.on_request(self.requests - 1)
        if self.requests - 1 == self.fails_at:
            raise Retry("levada.testing lets this request fail")


def _check(batch: object) -> None:
    if not isinstance(batch, Batch):
        raise TypeError(f"read() yielded {type(batch).__name__}; it must be a Batch")


def _moved(batch: Batch, partition: Partition) -> Batch:
    if all(event.partition == partition.key for event in batch.events):
        return batch
    return evolve(batch, events=[evolve(e, partition=partition.key) for e in batch.events])


class _Desk:
    """The host's services, with clients that can be made to fail."""

    def __init__(self, ctx: SourceContext, watched: Watched) -> None:
        self._ctx = ctx
        self._watched = watched

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def http(self, base_url: str, **options: Any) -> "_Client":
        return _Client(self._ctx.http(base_url, **options), self._watched)


@frozen
class _Client:
    """An HTTP client, one of whose requests fails."""

    client: HttpClient
    watched: Watched

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> HttpResponse:
        self.watched.next_request()
        return await self.client.get(path, params)

    async def post(
        self, path: str, content: bytes, headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        self.watched.next_request()
        return await self.client.post(path, content, headers)

    def now(self) -> datetime:
        return self.client.now()
