"""The stdout sink against real pipes, files and terminals."""

import asyncio
import fcntl
import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from levada import Closed, Delivery, Fatal, Retry
from levada_stdout.sink import StdoutSink
from plugins.stdout.conftest import Context, DeliveryOf, Opened

STALL = 0.05

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(writer)
    with suppress(OSError):
        os.close(reader)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def appending(file: Path) -> int:
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def text_of(delivery: Delivery) -> bytes:
    return b"".join(line + b"\n" for line in delivery.lines)


def content(file: Path) -> bytes:
    return file.read_bytes()


def put(file: Path, data: bytes) -> None:
    file.write_bytes(data)


async def read(reader: int, size: int) -> bytes:
    """Read exactly *size* bytes, leaving the loop to others."""
    found = b""
    while len(found) < size:
        found += await asyncio.to_thread(os.read, reader, size - len(found))
    return found


def drained(reader: int) -> bytes:
    """Return what is in the pipe now."""
    os.set_blocking(reader, False)
    found = b""
    try:
        while more := os.read(reader, 65536):
            found += more
    except BlockingIOError:
        pass
    os.set_blocking(reader, True)
    return found


async def test_the_hook_offers_the_sink() -> None:
    import levada_stdout

    assert list(levada_stdout.event_sinks()) == [StdoutSink]


async def test_a_pipe_gets_the_lines(
    pipe: Pipe, opened: Opened, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened(pipe[1])
    parcel = delivery(1, 3)

    receipt = await sink.write(parcel, ctx)

    assert receipt == {"through": 3}
    assert drained(pipe[0]) == text_of(parcel)


async def test_a_socket_gets_the_lines(opened: Opened, delivery: DeliveryOf, ctx: Context) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sink = await opened(theirs.fileno())
        parcel = delivery(1, 1000)

        write = asyncio.create_task(sink.write(parcel, ctx))

        assert await read(ours.fileno(), len(text_of(parcel))) == text_of(parcel)
        await write


async def test_other_printing_goes_to_standard_error(
    pipe: Pipe, opened: Opened, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened(pipe[1])
    os.write(1, b"a plugin's print\n")
    parcel = delivery(1, 1)
    await sink.write(parcel, ctx)

    assert drained(pipe[0]) == text_of(parcel)
    assert os.fstat(1).st_ino == os.fstat(2).st_ino
    await sink.close()
    os.write(1, b"back again\n")
    assert drained(pipe[0]) == b"back again\n"


async def test_the_shared_description_stays_blocking(
    pipe: Pipe, opened: Opened, delivery: DeliveryOf, ctx: Context
) -> None:
    before = fcntl.fcntl(pipe[1], fcntl.F_GETFL)

    sink = await opened(pipe[1])
    await sink.write(delivery(1, 3), ctx)
    await sink.close()

    assert fcntl.fcntl(pipe[1], fcntl.F_GETFL) == before


async def test_a_stalled_reader_leaves_the_loop_free(
    pipe: Pipe, opened: Opened, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened(pipe[1])
    write = asyncio.create_task(sink.write(delivery(1, 2000), ctx))
    longest = 0.0
    for _ in range(20):
        began = time.monotonic()
        await asyncio.sleep(0.002)
        longest = max(longest, time.monotonic() - began)

    assert not write.done()
    assert longest < 1
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write


async def test_a_cancelled_delivery_goes_on_where_it_stopped(
    pipe: Pipe, opened: Opened, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened(pipe[1])
    parcel = delivery(1, 400)
    found = b""
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sink.write(parcel, ctx), STALL)
        found += await read(pipe[0], 30_000)

    again = asyncio.create_task(sink.write(delivery(1, 400), ctx))
    found += await read(pipe[0], len(text_of(parcel)) - len(found))
    await again

    assert found == text_of(parcel)
    assert drained(pipe[0]) == b""


async def test_a_line_cut_short_is_finished_before_the_next_delivery(
    pipe: Pipe, opened: Opened, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened(pipe[1])
    long = {"payload": {"text": "y" * 50_000}}
    first, second = delivery(1, 9, data=long), delivery(10, 11)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(sink.write(first, ctx), STALL)
    capacity = fcntl.fcntl(pipe[0], fcntl.F_GETPIPE_SZ)
    assert capacity % len(first.lines[0])  # so that the pipe is full within a line

    write = asyncio.create_task(sink.write(second, ctx))
    whole_lines = (capacity // (len(first.lines[0]) + 1) + 1) * (len(first.lines[0]) + 1)
    found = await read(pipe[0], whole_lines + len(text_of(second)))
    await write

    assert found == text_of(first)[:whole_lines] + text_of(second)


async def test_short_lines_reach_a_pipe_whole(
    pipe: Pipe, opened: Opened, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened(pipe[1])

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(sink.write(delivery(1, 2000), ctx), STALL)

    assert drained(pipe[0]).endswith(b"\n")


async def test_close_finishes_a_line_when_there_is_room(
    pipe: Pipe, opened: Opened, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened(pipe[1])
    parcel = delivery(1, 9, data={"payload": {"text": "y" * 50_000}})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(sink.write(parcel, ctx), STALL)
    found = drained(pipe[0])
    assert not found.endswith(b"\n")

    await sink.close()

    assert (found + drained(pipe[0])).endswith(b"\n")


async def test_a_reader_that_leaves_ends_the_sink_with_the_lines_it_took(
    pipe: Pipe, opened: Opened, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened(pipe[1])
    parcel = delivery(1, 1000)
    write = asyncio.create_task(sink.write(parcel, ctx))
    await asyncio.sleep(STALL)

    os.close(pipe[0])

    with pytest.raises(Closed, match="reader of standard output is gone") as closed:
        await write
    assert 0 < closed.value.written < 1000


async def test_a_file_is_appended_to(
    file: Path, opened: Opened, delivery: DeliveryOf, ctx: Context
) -> None:
    put(file, b"before\n")
    sink = await opened(appending(file))
    parcel = delivery(1, 3000)

    await sink.write(parcel, ctx)

    assert content(file) == b"before\n" + text_of(parcel)


async def test_a_torn_line_in_a_file_is_ended_first(
    file: Path, opened: Opened, delivery: DeliveryOf, ctx: Context
) -> None:
    put(file, b'{"to')
    sink = await opened(appending(file))
    parcel = delivery(1, 2)

    await sink.write(parcel, ctx)

    assert content(file) == b'{"to\n' + text_of(parcel)


async def test_a_full_disk_asks_for_a_retry_and_goes_on_within_the_line(
    file: Path, opened: Opened, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened(appending(file))
    parcel = delivery(1, 20)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(Retry, match="File too large") as refused:
            await sink.write(parcel, ctx)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    await sink.write(parcel, ctx)

    assert refused.value.everywhere
    assert content(file) == text_of(parcel)


async def test_dev_full_asks_for_a_retry(
    opened: Opened, delivery: DeliveryOf, ctx: Context
) -> None:
    handle = os.open("/dev/full", os.O_WRONLY)
    sink = await opened(handle)
    os.close(handle)

    with pytest.raises(Retry, match="No space left"):
        await sink.write(delivery(1, 1), ctx)


async def test_a_closed_standard_output_is_a_configuration_error(ctx: Context) -> None:
    before = os.dup(1)
    os.close(1)
    try:
        with pytest.raises(Fatal, match="standard output is closed"):
            await StdoutSink().open(ctx)
    finally:
        os.dup2(before, 1)
        os.close(before)


async def test_works_without_standard_error(
    pipe: Pipe, opened: Opened, delivery: DeliveryOf, ctx: Context
) -> None:
    before = os.dup(2)
    os.close(2)
    try:
        sink = await opened(pipe[1])
        os.write(1, b"nobody reads this")
        await sink.write(delivery(1, 1), ctx)
        await sink.close()
    finally:
        os.dup2(before, 2)
        os.close(before)

    assert drained(pipe[0]) == text_of(delivery(1, 1))


async def test_writing_before_open_is_a_mistake_of_the_caller(
    delivery: DeliveryOf, ctx: Context
) -> None:
    with pytest.raises(RuntimeError, match="open"):
        await StdoutSink().write(delivery(1, 1), ctx)
