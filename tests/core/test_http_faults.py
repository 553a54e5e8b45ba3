"""Servers that reset, truncate, drip, hang, flood and lie."""

import asyncio
import gzip
import socket
import threading
import tracemalloc
import zlib

import pytest

from core.test_http_server import (
    Step,
    Time,
    answer,
    drip,
    leaks,
    patient,
    serve,
    then_close,
    then_hang,
    then_reset,
)
from levada import Retry, TooLarge
from levada.holding import STEP

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNENDING = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n"
CLOSED = "closed before the answer was complete"
NOT_HTTP = "answered with something that is not HTTP"
BAD_GZIP = "answered with damaged or incomplete gzip"
MIB = 1 << 20


@pytest.fixture
def time() -> Time:
    return Time()


def bomb(layers: int, size: int = 64 * MIB) -> bytes:
    """Return zeros, packed so many times."""
    data = zlib.compressobj(9, wbits=31)
    packed = b"".join(data.compress(bytes(MIB)) for _ in range(size // MIB)) + data.flush()
    for _ in range(layers - 1):
        packed = gzip.compress(packed)
    return packed


FAULTS = {
    "closes before the answer": (then_close(), CLOSED),
    "closes in the headers": (then_close(HEAD[:30]), CLOSED),
    "closes before the body": (then_close(HEAD), CLOSED),
    "closes in the body": (then_close(HEAD + b"x" * 99), CLOSED),
    "closes in a chunk": (then_close(CHUNKED + b"5\r\nab"), CLOSED),
    "closes before the last chunk": (then_close(CHUNKED + b"2\r\nab\r\n"), CLOSED),
    "resets before the answer": (then_reset(), CLOSED),
    "resets in the body": (then_reset(HEAD + b"x" * 99), CLOSED),
    "speaks another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", NOT_HTTP),
    "sends no valid length": (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", NOT_HTTP),
    "sends a length of 5,000 digits": (answer(200, b"", Content_length="9" * 5000), NOT_HTTP),
    "sends two lengths": (answer(200, b"ok", Content_length="3"), NOT_HTTP),
    "sends 5,000 headers": (answer(200, b"", **{f"X{n}": "y" * 20 for n in range(5000)}), NOT_HTTP),
    "switches protocols": (
        b"HTTP/1.1 101 X\r\nUpgrade: y\r\nConnection: upgrade\r\n\r\n",
        NOT_HTTP,
    ),
    "says gzip and sends text": (answer(200, b"{}", Content_Encoding="gzip"), BAD_GZIP),
    "cuts its gzip short": (
        answer(200, gzip.compress(b"ab")[:-4], Content_Encoding="gzip"),
        BAD_GZIP,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_get_that_fails_on_the_way_is_tried_again(time: Time, fault: str) -> None:
    step, _ = FAULTS[fault]

    async with serve(step, answer()) as server, patient(server, give_up_s=60, time=time) as client:
        got = await client.get("/runs")

    assert (got.body, client.requests, time.sleeps) == (b"ok", 2, [0.5])


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_get_that_keeps_failing_says_why(fault: str) -> None:
    step, reason = FAULTS[fault]

    async with serve(step) as server, patient(server) as client:
        with pytest.raises(Retry) as caught:
            await client.get("/runs", {"cursor": "secret-query"})

    assert str(caught.value) == f"GET {server.url}/runs: {reason}"


@pytest.mark.parametrize("fault", ["closes before the answer", "speaks another protocol"])
async def test_a_post_without_an_answer_is_not_repeated(fault: str) -> None:
    step, reason = FAULTS[fault]

    async with serve(step, answer()) as server, patient(server, give_up_s=60) as client:
        with pytest.raises(Retry) as caught:
            await client.post("/hook", b"x")

    assert str(caught.value) == f"POST {server.url}/hook: {reason}"
    assert len(server.requests) == 1


async def test_a_refused_connection_says_so() -> None:
    async with serve() as server:
        pass

    async with patient(server) as client:
        with pytest.raises(Retry, match="connection refused"):
            await client.get("/runs")


@pytest.mark.parametrize(
    "step",
    [then_hang(), then_hang(HEAD), drip(HEAD[:-2] + b"X: "), drip(UNENDING)],
    ids=["no answer", "no body", "endless headers", "endless body"],
)
async def test_one_deadline_covers_the_whole_exchange(step: Step) -> None:
    async with serve(step) as server, patient(server, deadline_s=0.1) as client:
        with pytest.raises(Retry, match=r"timed out after 0.1 s"):
            await asyncio.wait_for(client.get("/runs"), 1)


async def test_the_deadline_covers_name_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def silence(*_: object, **__: object) -> None:
        answered.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "late")

    async with serve() as server, patient(server, deadline_s=0.05) as client:
        monkeypatch.setattr(socket, "getaddrinfo", silence)
        with pytest.raises(Retry, match=r"timed out after 0.05 s"):
            await client.get("/runs")
        (asking,) = [each for each in threading.enumerate() if each.name == "levada-names"]
        assert asking.daemon  # the end of the program does not wait for it
        answered.set()
        asking.join()


async def test_a_name_that_nobody_knows_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with serve() as server, patient(server) as client:
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(Retry, match=r"name not found"):
            await client.get("/runs")


# Size


@pytest.mark.parametrize("coding", ["gzip, gzip", "br", "deflate", "gzip, identity", "zstd"])
async def test_a_coding_that_was_not_asked_for_is_not_unpacked(coding: str) -> None:
    script = answer(200, bomb(2, MIB), Content_Encoding=coding)

    async with serve(script) as server, patient(server) as client:
        with pytest.raises(Retry, match="compressed in a way"):
            await client.get("/runs")


@pytest.mark.parametrize("coding", ["gzip", "gzip, gzip"])
async def test_a_bomb_is_refused_before_it_goes_off(coding: str) -> None:
    script = answer(200, bomb(coding.count("gzip")), Content_Encoding=coding)

    async with serve(script) as server, patient(server, limit_bytes=MIB) as client:
        tracemalloc.start()
        with pytest.raises((Retry, TooLarge)):
            await client.get("/runs")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert peak < 3 * MIB


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 131_072])
async def test_gzip_is_unpacked_to_its_last_byte(size: int) -> None:
    packed = gzip.compress(bytes(size)) + gzip.compress(b"x" * size)

    script = answer(200, packed, Content_Encoding="gzip")

    async with serve(script) as server, patient(server) as client:
        assert (await client.get("/runs")).body == bytes(size) + b"x" * size


async def test_members_of_gzip_that_hold_nothing_are_counted_as_they_came() -> None:
    packed = gzip.compress(b"") * 100

    async with serve(answer(200, packed, Content_Encoding="gzip")) as server:
        async with patient(server, limit_bytes=len(packed)) as client:
            assert (await client.get("/runs")).body == b""
        async with patient(server, limit_bytes=len(packed) - 1) as client:
            with pytest.raises(TooLarge):
                await client.get("/runs")


async def test_many_members_of_gzip_are_counted_together() -> None:
    packed = gzip.compress(bytes(1000)) * 20

    async with serve(answer(200, packed, Content_Encoding="gzip")) as server:
        async with patient(server, limit_bytes=19_999) as client:
            with pytest.raises(TooLarge):
                await client.get("/runs")
        async with patient(server, limit_bytes=20_000) as client:
            assert len((await client.get("/runs")).body) == 20_000


@pytest.mark.parametrize(
    "step", [answer(200, b"x" * 1001), drip(UNENDING + b"x" * 1001)], ids=["sized", "endless"]
)
async def test_too_long_an_answer_is_refused_and_names_the_option(step: Step) -> None:
    async with serve(step) as server, patient(server, limit_bytes=1000) as client:
        with pytest.raises(TooLarge, match=r"longer than 1000 bytes.*max_response_bytes") as caught:
            await client.get("/runs", {"cursor": "secret-query"})

    assert not leaks(str(caught.value))


async def test_an_answer_as_long_as_the_limit_is_taken() -> None:
    async with (
        serve(answer(200, b"x" * 1000)) as server,
        patient(server, limit_bytes=1000) as client,
    ):
        assert len((await client.get("/runs")).body) == 1000


@pytest.mark.parametrize(
    ("step", "body"),
    [
        (drip(UNENDING + b"x" * 100_000), 64 * 1024),
        (then_close(HEAD + b"x" * 99), 99),
        (then_hang(HEAD + b"x" * 99), 99),
        (answer(200, b"x" * 9, Content_Encoding="br"), 0),
    ],
    ids=["endless", "cut short", "hanging", "unreadable"],
)
async def test_a_post_needs_no_more_of_an_answer_than_its_status(step: Step, body: int) -> None:
    async with serve(step) as server, patient(server, deadline_s=0.2) as client:
        got = await client.post("/hook", b"x")

    assert (got.status, len(got.body), len(server.requests)) == (200, body, 1)


async def test_a_long_body_does_not_keep_a_503_from_being_tried_again(time: Time) -> None:
    script = [answer(503, bytes(MIB)), answer()]

    async with (
        serve(*script) as server,
        patient(server, give_up_s=60, time=time, limit_bytes=1000) as client,
    ):
        got = await client.get("/runs")

    assert got.status == 200


async def test_an_answer_that_waits_for_another_to_make_room_has_its_whole_time() -> None:
    large, held_s = b"x" * 6 * STEP, 0.6
    async with (
        serve(answer(200, large)) as server,
        patient(server, deadline_s=0.5, limit_bytes=6 * STEP) as client,
    ):
        with client.holding.answer() as share:
            await share.grow(100 * STEP)  # another one has all there is, and more
            waiting = asyncio.create_task(client.get("/runs"))
            await asyncio.sleep(held_s)
            assert not waiting.done()
        got = await waiting

    assert (len(got.body), len(server.requests)) == (6 * STEP, 1)
