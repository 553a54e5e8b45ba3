"""How plugin authors and embedders use the API. Type-checked, never run."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, assert_type

from attrs import define, field

import levada
from levada import (
    ApiKey,
    Batch,
    Checkpoint,
    Closed,
    ConfigError,
    Delivery,
    Disable,
    Event,
    Fatal,
    Gone,
    HttpClient,
    HttpResponse,
    Json,
    LevadaError,
    Origin,
    Partition,
    Pipeline,
    PluginError,
    Problem,
    Reject,
    Rejected,
    Report,
    Retry,
    Secret,
    Settings,
    Setup,
    Sink,
    SinkContext,
    SinkError,
    Source,
    SourceContext,
    SourceError,
    TooLarge,
    hookimpl,
    option,
    stream,
)
from levada.setup import SinkSetup, SourceSetup
from levada.streaming import Stream

# A source, as its author writes it.


@define(slots=False, kw_only=True)
class AcmeSource(Source):
    name: ClassVar[str] = "acme"

    base_url: str = option(default="https://api.acme.test", help="Where Acme is.")
    api_key: Secret = option(env="ACME_KEY", help="Acme's key.")
    runs: Sequence[str] = option(default=[], help="Which runs; all by default.")

    _client: HttpClient | None = field(default=None, init=False)

    def identity(self) -> str:
        return self.base_url

    async def open(self, ctx: SourceContext) -> None:
        self._client = ctx.http(self.base_url, auth=ApiKey("X-API-Key", self.api_key))
        assert_type(ctx.name, str)

    async def partitions(
        self, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Partition | Checkpoint]:
        assert_type(ctx.open_partitions, Mapping[str, Partition])
        yield Partition("run-1", version=3, order=datetime.now(UTC), final=True)
        yield Checkpoint({"page": 2}, settled=datetime.now(UTC))

    async def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Batch]:
        if self._client is None:
            raise Fatal("open() comes first")
        response = await self._client.get("/events", {"after": position, "limit": 100})
        assert_type(response, HttpResponse)
        assert_type(response.status, int)
        assert_type(response.body, bytes)
        if response.status == 404:
            raise Gone(f"404 from {response.place}")
        if response.status != 200:
            raise Retry(f"{response.status} from {response.place}", after=timedelta(seconds=3))
        known = await ctx.known(partition.key, ["evt-1"])
        assert_type(known, set[str])
        assert_type(ctx.count(partition.key), int)
        backlog = ctx.backlog()
        backlog.push([self._event(partition)])
        async for batch in backlog.batches({"after": "evt-1"}):
            assert_type(batch, Batch)
            yield batch
        batch = Batch([self._event(partition)], rejected=[Rejected(b"{", reason="not JSON")])
        yield batch
        await batch.durable()
        ctx.report("type.unknown", type="brand_new", count=3)

    def _event(self, partition: Partition) -> Event:
        return Event(
            "evt-1", type="done", time=datetime.now(UTC), partition=partition.key, raw=b"{}"
        )


# A sink, as its author writes it.


@define(slots=False, kw_only=True)
class AcmeSink(Sink):
    name: ClassVar[str] = "acme"

    path: Path = option(help="Where to write.")

    @property
    def lanes(self) -> int:
        return 4

    async def resume(self, receipt: Json, ctx: SinkContext) -> int | None:
        assert_type(ctx.journal, str)
        return None

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        assert_type(delivery.events, Sequence[Event])
        assert_type(delivery.lines, Sequence[bytes])
        assert_type((delivery.id, delivery.seq, delivery.attempt), tuple[str, int, int])
        event = delivery.events[0]
        assert_type(event.origin, Origin | None)
        assert_type(event.seq, int | None)
        assert_type(event.kind, str | None)
        match delivery.attempt:
            case 1:
                raise Reject({(event.partition, event.id): "422"}, receipt={"offset": 7})
            case 2:
                raise TooLarge("413")
            case 3:
                raise Disable("410 Gone")
            case 4:
                raise Closed("the reader went away", written=3)
            case _:
                return {"offset": 312}


@define(slots=False, kw_only=True)
class SmallestSink(Sink):
    """`write` is all that a sink must have; it need return no receipt."""

    name: ClassVar[str] = "smallest"

    async def write(self, delivery: Delivery, ctx: SinkContext) -> None:
        for line in delivery.lines:
            assert_type(line, bytes)


@hookimpl
def event_sources() -> Sequence[type[Source]]:
    return [AcmeSource]


@hookimpl
def event_sinks() -> Sequence[type[Sink]]:
    return [AcmeSink, SmallestSink]


# A program that runs a pipeline of its own.


async def carry() -> Report:
    source = AcmeSource(api_key=Secret.env("ACME_KEY"), runs=["run-1"], linger=timedelta(0))
    sink = AcmeSink(path=Path("out"), format="raw", batch_size=100)
    setup = Setup(
        [SourceSetup.of(source, name="runs", account="acme")],
        [SinkSetup.of(sink, only=["run.*"], excluded=["run.started"])],
        Settings(state=Path("state"), concurrency=4),
    )
    pipeline = Pipeline(setup)
    pipeline.stop()
    report = await pipeline.run(follow=True, limit=10, accept_identity_change=True)
    assert_type(report, Report)
    assert_type(report.errors, Sequence[LevadaError])
    assert_type(report.diagnostics, Mapping[str, int])
    for each in report.sinks:
        assert_type((each.name, each.delivered, each.pending), tuple[str, int, int])
    return report


async def read(state: Json) -> Json:
    reading = stream(AcmeSource(api_key=Secret("x")), state, settings=Settings())
    assert_type(reading, Stream)
    assert_type(aiter(reading), AsyncGenerator[Batch, None])
    async for batch in reading:
        for event in batch.events:
            assert_type(event, Event)
            assert_type(event.data, Any)
    return reading.state


def explain(error: LevadaError) -> str:
    match error:
        case ConfigError():
            assert_type(error.problems, Sequence[Problem])
        case PluginError():
            assert_type((error.plugin, error.distribution), tuple[str, str | None])
        case SourceError():
            assert_type(error.retryable, bool)
        case SinkError():
            assert_type(error.local, bool)
        case _:
            pass
    return str(error)


assert_type(levada.__all__, list[str])
