"""Connections: kept, found stale, given up; and their end."""

import asyncio
import errno
import socket
from collections.abc import Callable

import httpx
import pytest

from core.test_http_server import answer, drip, patient, serve, then_close, then_hang
from levada import Retry
from levada.http import slots
from levada.http.connection import Connection, in_words

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not condition():  # noqa: ASYNC110  # the server's books have no events
            await asyncio.sleep(0.001)


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with serve() as server, patient(server) as client:
        for _ in range(3):
            await client.get("/runs")
        await client.post("/hook", b"x")

    assert server.connections == 1


async def test_a_connection_that_says_close_is_not_kept() -> None:
    async with serve(answer(200, Connection="close")) as server, patient(server) as client:
        for _ in range(2):
            await client.get("/runs")

    assert server.connections == 2


@pytest.mark.parametrize("method", ["get", "post"])
async def test_a_connection_closed_while_idle_is_replaced_silently(method: str) -> None:
    script = [then_close(answer()), answer()]

    async with serve(*script) as server, patient(server) as client:
        await client.get("/runs")
        await until(lambda: server.open == 0)
        got = await (client.get("/runs") if method == "get" else client.post("/hook", b"x"))

    assert got.status == 200
    assert (server.connections, len(server.requests), client.requests) == (2, 2, 2)


async def test_a_get_that_loses_the_race_against_a_close_is_sent_again_at_once() -> None:
    script = [answer(), then_close(), answer()]

    async with serve(*script) as server, patient(server) as client:
        await client.get("/runs")
        got = await client.get("/runs")

    assert (got.status, server.connections, client.requests) == (200, 2, 2)


async def test_a_get_is_sent_again_at_once_only_one_time() -> None:
    async with serve(answer(), then_close()) as server, patient(server) as client:
        await client.get("/runs")
        with pytest.raises(Retry, match="closed before"):
            await client.get("/runs")

    assert len(server.requests) == 3


async def test_a_get_whose_answer_had_begun_is_not_sent_again_at_once() -> None:
    async with serve(answer(), then_close(HEAD)) as server, patient(server) as client:
        await client.get("/runs")
        with pytest.raises(Retry, match="closed before"):
            await client.get("/runs")

    assert len(server.requests) == 2


async def test_a_post_that_loses_the_race_against_a_close_is_not_sent_again() -> None:
    async with serve(answer(), then_close()) as server, patient(server) as client:
        await client.get("/runs")
        with pytest.raises(Retry, match="closed before"):
            await client.post("/hook", b"x")

    assert len(server.requests) == 2


@pytest.mark.parametrize(("method", "connections"), [("get", 1), ("post", 2)])
async def test_a_post_trusts_only_a_connection_used_lately(
    monkeypatch: pytest.MonkeyPatch, method: str, connections: int
) -> None:
    monkeypatch.setattr(slots, "IDLE_POST_S", -1.0)

    async with serve() as server, patient(server) as client:
        await client.get("/runs")
        await (client.get("/runs") if method == "get" else client.post("/hook", b"x"))

    assert server.connections == connections


@pytest.mark.parametrize("extra", [answer(200, b"forged"), b"x"])
async def test_what_follows_an_answer_does_not_pass_for_the_next_one(extra: bytes) -> None:
    async with serve(answer() + extra, answer(200, b"true")) as server, patient(server) as client:
        await client.get("/runs")
        got = await client.get("/runs")

    assert (got.body, server.connections) == (b"true", 2)


async def test_what_comes_unasked_later_closes_the_connection() -> None:
    async with serve(drip(answer()), answer(200, b"true")) as server, patient(server) as client:
        await client.get("/runs")
        await until(lambda: server.open == 0)
        got = await client.get("/runs")

    assert (got.body, server.connections) == (b"true", 2)


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"x" * 99])
async def test_a_cancelled_request_closes_its_connection(sent: bytes) -> None:
    async with serve(then_hang(sent), answer()) as server, patient(server, slots=1) as client:
        task = asyncio.create_task(client.get("/runs"))
        await until(lambda: len(server.requests) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        got = await client.get("/runs")

    assert (got.status, server.connections) == (200, 2)


async def test_a_cancelled_waiter_leaves_its_slot_to_others() -> None:
    async with serve(then_hang(), answer()) as server, patient(server, slots=1) as client:
        first, second, third = (asyncio.create_task(client.get("/runs")) for _ in range(3))
        await until(lambda: len(server.requests) == 1)
        second.cancel()
        first.cancel()
        got = await asyncio.wait_for(third, 2)

    assert got.status == 200


async def test_closing_closes_idle_connections_and_those_in_use() -> None:
    endless = drip(HEAD.replace(b": 100\r", b": 100000\r"))
    async with serve(answer(), answer(), endless) as server:
        async with patient(server) as client:
            await asyncio.gather(client.get("/runs"), client.get("/runs"))
            busy = asyncio.create_task(client.get("/runs"))
            await until(lambda: len(server.requests) == 3)
        with pytest.raises(Retry, match="closed before"):
            await busy
        await until(lambda: server.open == 0)

    assert server.connections == 2


async def test_a_connection_opened_after_closing_is_not_kept() -> None:
    async with serve(answer(), then_hang(), answer()) as server:
        async with patient(server) as client:
            await client.get("/runs")
            busy = asyncio.create_task(client.get("/runs"))
            await until(lambda: len(server.requests) == 2)
        await busy
        await until(lambda: server.open == 1)  # the one that hangs notices nothing

    assert server.connections == 2


async def test_a_connection_serves_httpx_as_any_transport_does() -> None:
    async with serve(b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer()) as server:
        connection = await Connection.open(httpx.URL(server.url), None)
        async with httpx.AsyncClient(transport=connection) as client:
            got = await client.get(server.url, params={"a": "b"})

    assert (got.status_code, got.content) == (200, b"ok")
    assert server.requests[0].line == "GET /?a=b HTTP/1.1"
    assert not connection.is_idle


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name not found"),
        (UnicodeError("label too long"), "name not found"),
        (ConnectionRefusedError(111, "[Errno 111] Connect call failed"), "connection refused"),
        (OSError(errno.EHOSTUNREACH, "Connect call failed"), "no route to host"),
        (
            OSError("Multiple exceptions: [Errno 99] Cannot assign, [Errno 111] Connect call"),
            "connection refused",
        ),
        (ConnectionResetError(104, "reset by peer"), "closed before the answer was complete"),
        (ConnectionAbortedError("SSL handshake is taking longer"), "no connection"),
    ],
)
def test_what_happened_is_said_in_words(error: Exception, words: str) -> None:
    assert in_words(error) == words
