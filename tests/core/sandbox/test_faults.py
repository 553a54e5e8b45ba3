"""What can go wrong with a request on its way, seen by a client."""

import asyncio
import socket
from collections.abc import Iterator

import httpx
import pytest

from core.sandbox.asking import asking
from levada.sandbox import (
    Fault,
    KapsoServer,
    KapsoWorld,
    Receiver,
    RecordedRequest,
    Response,
    Server,
    StevoraServer,
    StevoraWorld,
    run_in_thread,
)


class LongServer(Server):
    """Answers with a long text, and counts how often it was asked."""

    asked = 0

    async def respond(self, request: RecordedRequest) -> Response:
        self.asked += 1
        return Response(200, b"0123456789" * 1_000)


@pytest.fixture
def server() -> Iterator[LongServer]:
    with run_in_thread(LongServer()) as running:
        yield running


@pytest.fixture
def client(server: LongServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        yield client


def test_a_list_of_faults_is_used_up_request_by_request(
    server: LongServer, client: httpx.Client
) -> None:
    server.faults = [Fault.status(500), None, Fault.status(503)]

    assert [client.get("/").status_code for _ in range(4)] == [500, 200, 503, 200]
    assert server.asked == 2
    assert len(server.requests) == 4


def test_a_function_decides_by_the_request(server: LongServer, client: httpx.Client) -> None:
    server.faults = lambda request: Fault.status(500) if request.path == "/bad" else None

    assert [client.get(path).status_code for path in ("/bad", "/good", "/bad")] == [500, 200, 500]


@pytest.mark.parametrize("retry_after", [None, "60", "soon", "-1"])
def test_a_refusal_has_any_retry_after_or_none(
    server: LongServer, client: httpx.Client, retry_after: str | None
) -> None:
    server.faults = [Fault.status(429, retry_after=retry_after)]

    answer = client.get("/")

    assert (answer.status_code, answer.headers.get("Retry-After")) == (429, retry_after)
    assert answer.json() == {"error": "Too Many Requests"}


def test_an_answer_of_ones_own_takes_the_place_of_the_servers(
    server: LongServer, client: httpx.Client
) -> None:
    server.faults = [Fault(answer=Response(200, b"<html>", {"Content-Type": "text/html"}))]

    assert client.get("/").text == "<html>"
    assert server.asked == 0


def test_a_connection_is_reset_before_a_single_byte(
    server: LongServer, client: httpx.Client
) -> None:
    server.faults = [Fault.reset()]

    with pytest.raises(httpx.ReadError):
        client.get("/")

    assert server.asked == 0
    assert client.get("/").status_code == 200


def test_a_connection_is_closed_before_a_single_byte(
    server: LongServer, client: httpx.Client
) -> None:
    server.faults = [Fault.close()]

    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        client.get("/")

    assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.reset(is_midway=True), httpx.ReadError),
        (Fault.close(is_midway=True), httpx.RemoteProtocolError),
        (Fault.hang(is_midway=True), httpx.ReadTimeout),
    ],
    ids=["reset", "close", "hang"],
)
def test_a_body_ends_in_the_middle(
    server: LongServer, client: httpx.Client, fault: Fault, error: type[Exception]
) -> None:
    server.faults = [fault]
    arrived: list[bytes] = []

    with client.stream("GET", "/", timeout=0.3) as answer, pytest.raises(error):
        arrived.extend(answer.iter_raw(1_000))

    assert answer.headers["Content-Length"] == "10000"
    assert sum(map(len, arrived)) == 5_000
    assert server.asked == 1


def test_a_server_may_never_answer(server: LongServer, client: httpx.Client) -> None:
    server.faults = [Fault.hang()]

    with pytest.raises(httpx.ReadTimeout):
        client.get("/", timeout=0.1)

    assert server.asked == 0


def test_a_reset_is_one_on_the_wire(server: LongServer) -> None:
    server.faults = [Fault.reset()]

    with socket.create_connection((server.host, server.port), timeout=5) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            raw.recv(1)


async def test_a_hanging_connection_does_not_keep_a_server_from_stopping() -> None:
    arrived = asyncio.Event()

    def hang(_: RecordedRequest) -> Fault:
        arrived.set()
        return Fault.hang()

    async with LongServer(faults=hang) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await arrived.wait()

    assert await reader.read() == b""
    writer.close()


def test_a_receiver_keeps_a_delivery_whose_answer_gets_lost() -> None:
    with Receiver.in_thread(faults=[Fault.reset(is_midway=True), Fault.reset()]) as receiver:
        for _ in range(2):
            with httpx.Client(trust_env=False) as client, pytest.raises(httpx.HTTPError):
                client.post(receiver.url, content=b"x")

    assert [len(receiver.requests), len(receiver.deliveries)] == [2, 1]


def test_faults_happen_to_both_vendors() -> None:
    for server in (KapsoServer(KapsoWorld()), StevoraServer(StevoraWorld())):
        server.faults = [Fault.status(503)]
        with asking(server) as client:
            assert client.get("/").status_code == 503


def test_an_answer_may_lead_elsewhere(server: LongServer, client: httpx.Client) -> None:
    server.faults = [Fault.redirect("https://elsewhere.example/", status=307)]

    answer = client.get("/")

    assert (answer.status_code, answer.headers["Location"]) == (307, "https://elsewhere.example/")
    assert server.asked == 0


def test_a_body_of_ones_own_may_be_called_anything(
    server: LongServer, client: httpx.Client
) -> None:
    server.faults = [Fault.body(b"<html>", content_type="text/html"), Fault.relabel("text/plain")]

    first, second = client.get("/"), client.get("/")

    assert (first.text, first.headers["Content-Type"]) == ("<html>", "text/html")
    assert (len(second.content), second.headers["Content-Type"]) == (10_000, "text/plain")


def test_a_body_may_be_altered(server: LongServer, client: httpx.Client) -> None:
    server.faults = [Fault.rewrite(bytes.swapcase), Fault.rewrite(lambda _: b"x"), Fault.truncate()]

    assert [len(client.get("/").content) for _ in range(3)] == [10_000, 1, 5_000]


@pytest.mark.parametrize("layers", [1, 2])
def test_a_bomb_is_small_until_it_is_unpacked(
    server: LongServer, client: httpx.Client, layers: int
) -> None:
    server.faults = [Fault.bomb(layers=layers, size=1 << 20)]

    answer = client.get("/")

    assert int(answer.headers["Content-Length"]) < 2_000
    assert answer.content == b" " * (1 << 20)


def test_headers_may_be_many_or_long(server: LongServer, client: httpx.Client) -> None:
    server.faults = [Fault.header_flood(50), Fault.header_flood(1, length=10_000)]

    first, second = client.get("/"), client.get("/")

    assert len([name for name in first.headers if name.startswith("x-flood")]) == 50
    assert len(second.headers["X-Flood-0"]) == 10_000


@pytest.mark.parametrize(
    ("fault", "size"),
    [(Fault.drip(every_s=0.001), 1), (Fault.endless(), 65_536)],
    ids=["drip", "endless"],
)
def test_a_body_may_have_no_end(
    server: LongServer, client: httpx.Client, fault: Fault, size: int
) -> None:
    server.faults = [fault]

    with client.stream("GET", "/") as answer:
        pieces = answer.iter_raw(size)
        assert [len(next(pieces)) for _ in range(20)] == [size] * 20

    assert client.get("/").status_code == 200
