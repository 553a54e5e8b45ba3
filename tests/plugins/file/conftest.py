from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from levada import Delivery, Json
from levada_file.sink import FileSink
from plugins.file.doubles import Context, event

DeliveryOf = Callable[[int, int], Delivery]
Resumed = Callable[..., Awaitable[FileSink]]


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
