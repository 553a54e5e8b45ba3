"""The HTTP server, spoken to over real sockets."""

import asyncio
import gc
import http.client
import socket
import warnings
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest

from levada.sandbox import RecordedRequest, Response, Server, run_in_thread


class EchoServer(Server):
    async def respond(self, request: RecordedRequest) -> Response:
        if request.path == "/broken":
            raise LookupError("a bug in the handler")
        if request.path == "/empty":
            return Response(204)
        return Response(200, request.body or b"hello", {"X-Path": request.path})


@pytest.fixture
def server() -> Iterator[EchoServer]:
    with run_in_thread(EchoServer()) as running:
        yield running


@pytest.fixture
def client(server: EchoServer) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=5)
    yield connection
    connection.close()


def exchange(server: Server, sent: bytes) -> bytes:
    """Send bytes as they are and read until the server closes."""
    with socket.create_connection((server.host, server.port), timeout=5) as raw:
        raw.sendall(sent)
        return b"".join(iter(lambda: raw.recv(65_536), b""))


def test_a_connection_serves_many_requests(
    server: EchoServer, client: http.client.HTTPConnection
) -> None:
    client.request("GET", "/one")
    client.getresponse().read()
    first_socket = client.sock

    client.request("POST", "/two", body=b"x" * 300_000)
    answer = client.getresponse()

    assert answer.read() == b"x" * 300_000
    assert client.sock is first_socket
    assert [request.path for request in server.requests] == ["/one", "/two"]


def test_a_request_is_recorded_as_it_arrived(
    server: EchoServer, client: http.client.HTTPConnection
) -> None:
    headers = {"X-Key": "Secret", "Content-Type": "text/plain"}

    client.request("PUT", "/a%2Fb/c%20d?q=1&q=2&empty=&word=%C3%A9", b"body", headers)
    client.getresponse().read()

    [request] = server.requests
    assert (request.method, request.path, request.body) == ("PUT", "/a/b/c d", b"body")
    assert request.segments == ("a/b", "c d")
    assert request.query == {"q": "2", "empty": "", "word": "é"}
    assert request.query_pairs == (("q", "1"), ("q", "2"), ("empty", ""), ("word", "é"))
    assert request.headers["x-key"] == "Secret"
    assert request.time.utcoffset() is not None


def test_an_answer_carries_date_and_length(client: http.client.HTTPConnection) -> None:
    client.request("GET", "/")
    answer = client.getresponse()

    assert parsedate_to_datetime(answer.headers["Date"]).utcoffset() is not None
    assert answer.headers["Content-Length"] == "5"
    assert answer.reason == "OK"


def test_head_has_the_headers_of_get_and_no_body(client: http.client.HTTPConnection) -> None:
    client.request("HEAD", "/here")
    answer = client.getresponse()

    assert answer.headers["Content-Length"] == "5"
    assert answer.headers["X-Path"] == "/here"
    assert answer.read() == b""


def test_no_content_has_neither_length_nor_body(client: http.client.HTTPConnection) -> None:
    client.request("GET", "/empty")
    answer = client.getresponse()

    assert answer.status == 204
    assert answer.headers["Content-Length"] is None
    assert answer.read() == b""


def test_a_failing_handler_is_logged_and_answered_with_500(
    client: http.client.HTTPConnection, caplog: pytest.LogCaptureFixture
) -> None:
    client.request("GET", "/broken")
    answer = client.getresponse()

    assert answer.status == 500
    assert answer.read() == b'{"error":"internal error"}'
    assert "LookupError" in caplog.text


def test_the_connection_closes_when_the_client_asks_for_it(server: EchoServer) -> None:
    answer = exchange(server, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert answer.endswith(b"\r\n\r\nhello")


def test_pipelined_requests_are_answered_in_order(server: EchoServer) -> None:
    one = b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
    two = b"GET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    answer = exchange(server, one + two)

    assert answer.index(b"X-Path: /1") < answer.index(b"X-Path: /2")


def test_a_client_that_waits_for_permission_gets_it(server: EchoServer) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
    with socket.create_connection((server.host, server.port), timeout=5) as raw:
        raw.sendall(head + b"Expect: 100-continue\r\nConnection: close\r\n\r\n")
        permission = raw.recv(1_000)
        raw.sendall(b"ok")
        answer = b"".join(iter(lambda: raw.recv(65_536), b""))

    assert permission.startswith(b"HTTP/1.1 100 ")
    assert answer.endswith(b"ok")


def test_an_absolute_target_is_reduced_to_its_path(server: EchoServer) -> None:
    exchange(server, b"GET http://x/p?q=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert (server.requests[0].path, server.requests[0].query) == ("/p", {"q": "1"})


def test_nonsense_is_answered_with_400_and_closed(server: EchoServer) -> None:
    answer = exchange(server, b"how do you do?\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert server.requests == []


def test_a_server_comes_back_at_the_same_address() -> None:
    server = EchoServer()
    with run_in_thread(server):
        first = server.url
    with run_in_thread(server):
        second = server.url

    assert second == first


def test_an_address_is_known_only_after_the_start() -> None:
    with pytest.raises(RuntimeError, match="before it starts"):
        _ = EchoServer().url


def test_a_failing_start_is_raised_in_the_callers_thread(server: EchoServer) -> None:
    taken = EchoServer(port=server.port)

    with pytest.raises(OSError, match="address already in use"), run_in_thread(taken):
        pass


async def test_a_running_server_is_not_started_twice() -> None:
    async with EchoServer() as server:
        with pytest.raises(RuntimeError, match="is running at"):
            await server.start()


async def test_stopping_drops_open_connections_and_leaves_no_task() -> None:
    tasks_before = asyncio.all_tasks()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        server = EchoServer()
        await server.start()
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"hello")

        await server.stop()
        await server.stop()

        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        gc.collect()
    assert asyncio.all_tasks() == tasks_before
