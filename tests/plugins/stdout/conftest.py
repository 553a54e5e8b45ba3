import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from attrs import define, field

from levada import ApiKey, Delivery, Event, HttpClient, Json, Origin
from levada_stdout.sink import StdoutSink

ORIGIN = Origin("stevora", "acme", "https://api.stevora.dev/v1/workflow-runs/wfrun_def456")
START = datetime(2026, 4, 2, 12, tzinfo=UTC)

DeliveryOf = Callable[..., Delivery]
Opened = Callable[[int], Awaitable[StdoutSink]]


@define
class Context:
    """What a host offers to a stdout sink."""

    name: str = "console"
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


def event(seq: int = 1, **changes: Json) -> Event:
    data = changes.pop("data", {"id": f"evt_{seq}", "payload": {"text": "x" * 100}})
    fields = {
        "type": "STEP_COMPLETED",
        "time": START + timedelta(seconds=seq),
        "partition": "wfrun_def456",
        "raw": json.dumps(data).encode(),
        "kind": "step.completed",
        "subject": "srun_aaa111",
        "origin": ORIGIN,
        "seq": seq,
    }
    return Event(f"evt_{seq}", **{**fields, **changes})


@pytest.fixture
def ctx() -> Context:
    return Context()


@pytest.fixture
def delivery() -> DeliveryOf:
    """Make a delivery of the events with sequence numbers from *first* to *last*."""

    def make(first: int, last: int, **changes: Json) -> Delivery:
        return Delivery([event(seq, **changes) for seq in range(first, last + 1)])

    return make


@pytest.fixture
async def opened(ctx: Context) -> AsyncIterator[Opened]:
    """Open a sink whose standard output is the given descriptor, until the test ends."""
    async with AsyncExitStack() as stack:

        async def open_on(handle: int) -> StdoutSink:
            before = os.dup(1)
            stack.callback(os.close, before)
            stack.callback(os.dup2, before, 1)
            os.dup2(handle, 1)
            sink = StdoutSink()
            await sink.open(ctx)
            stack.push_async_callback(sink.close)
            return sink

        yield open_on
