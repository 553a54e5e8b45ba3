from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from attrs import define, field

from levada import ApiKey, Delivery, Event, HttpClient, Json, Origin
from levada.http import Http
from levada.sandbox.receiver import Receiver
from levada_webhook.sink import WebhookSink

ORIGIN = Origin("kapso", "acme", "https://api.kapso.ai/executions/run-1")
START = datetime(2026, 1, 2, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

DeliveryOf = Callable[..., Delivery]
Opened = Callable[..., Awaitable[WebhookSink]]


@define
class Context:
    """What a host offers to a webhook sink, over the real HTTP client."""

    network: Http = field(
        factory=lambda: Http(request_timeout=timedelta(seconds=5), max_response_bytes=1_000_000)
    )
    name: str = "alerts"
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
        return self.network.client(
            base_url, auth=auth, timeout_s=timeout_s, ca_file=ca_file, client_cert=client_cert
        )

    def report(self, what: str, **fields: Json) -> None:
        self.reports.append(what)


def event(seq: int) -> Event:
    return Event(
        f"evt-{seq}",
        type="step_failed",
        time=START + timedelta(seconds=seq),
        partition=f"run-{seq}",
        raw=b'{"n":%d}' % seq,
        kind="step.failed",
        origin=ORIGIN,
        seq=seq,
    )


@pytest.fixture
def delivery() -> DeliveryOf:
    """Make a delivery of the events with sequence numbers from *first* to *last*."""

    def make(first: int = 1, last: int = 0, *, attempt: int = 1) -> Delivery:
        events = [event(seq) for seq in range(first, max(first, last) + 1)]
        return Delivery(events, attempt=attempt)

    return make


@pytest.fixture
async def ctx() -> AsyncIterator[Context]:
    ctx = Context()
    yield ctx
    await ctx.network.aclose()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def opened(ctx: Context, receiver: Receiver) -> AsyncIterator[Opened]:
    """Open a sink that posts to the receiver."""
    async with AsyncExitStack() as stack:

        async def open_sink(path: str = "/hook", **options: Json) -> WebhookSink:
            options.setdefault("url", receiver.url + path)
            sink = WebhookSink(**options)
            await sink.open(ctx)
            stack.push_async_callback(sink.close)
            return sink

        yield open_sink
