from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import define, field

from levada import ApiKey, Delivery, Event, HttpClient, Json, Origin
from levada_file.sink import FileSink

ORIGIN = Origin("kapso", "acme", "https://api.kapso.ai/executions/run-1")
START = datetime(2026, 1, 2, tzinfo=UTC)

DeliveryOf = Callable[[int, int], Delivery]
Resumed = Callable[..., Awaitable[FileSink]]


@define
class Context:
    """What a host offers to a file sink."""

    name: str = "archive"
    journal: str = "5f0c7a1e-0000-4000-8000-000000000001"
    reports: list[str] = field(factory=list)

    def http(
        self,
        base_url: str,
        *,
        auth: ApiKey | None = None,
        timeout_s: float | None = None,
        ca_file: str | None = None,
        client_cert: str | None = None,
    ) -> HttpClient:
        raise NotImplementedError

    def report(self, what: str, **fields: Json) -> None:
        self.reports.append(what)


def event(seq: int) -> Event:
    return Event(
        f"evt-{seq}",
        type="step_completed",
        time=START + timedelta(seconds=seq),
        partition="run-1",
        raw=b'{"n":%d,"text":"%s"}' % (seq, b"x" * 40),
        kind="step.completed",
        origin=ORIGIN,
        seq=seq,
    )


@pytest.fixture
def ctx() -> Context:
    return Context()


@pytest.fixture
def delivery() -> DeliveryOf:
    """Make a delivery of the events with sequence numbers from *first* to *last*."""
    return lambda first, last: Delivery([event(seq) for seq in range(first, last + 1)])


@pytest.fixture
async def resumed(ctx: Context, tmp_path: Path) -> AsyncIterator[Resumed]:
    """Open a sink and bring it to a receipt, as a host that starts does."""
    async with AsyncExitStack() as stack:

        async def start(
            receipt: Json = None, *, name: str = "archive", **options: Json
        ) -> FileSink:
            options.setdefault("path", tmp_path / name)
            sink = FileSink(**options)
            await sink.open(ctx)
            stack.push_async_callback(sink.close)
            await sink.resume(receipt, ctx)
            return sink

        yield start
