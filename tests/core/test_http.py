"""What requests say, what is made of answers, and when a request is made again."""

import asyncio
import gzip
from datetime import UTC, datetime, timedelta

import pytest

from core.test_http_server import CANARY, Time, answer, leaks, patient, serve
from levada import ConfigError, Fatal, Gone, HttpClient, Secret
from levada.http import Http


@pytest.fixture
def time() -> Time:
    return Time()


# Requests


@pytest.mark.parametrize(
    ("base", "path", "line"),
    [
        ("", "/runs", "GET /runs HTTP/1.1"),
        ("", "runs", "GET /runs HTTP/1.1"),
        ("", "", "GET / HTTP/1.1"),
        ("/v1", "/runs/a%2Fb", "GET /v1/runs/a%2Fb HTTP/1.1"),
        ("/v1/", "runs/", "GET /v1/runs/ HTTP/1.1"),
        ("/v1/", "", "GET /v1/ HTTP/1.1"),
        ("/hook?token=1", "", "GET /hook?token=1 HTTP/1.1"),
    ],
)
async def test_a_path_is_appended_to_the_base(base: str, path: str, line: str) -> None:
    async with serve() as server:
        owner = Http(request_timeout=timedelta(seconds=5), max_response_bytes=1000)
        await owner.client(server.url + base).get(path)
        await owner.aclose()

    assert server.requests[0].line == line


async def test_parameters_are_encoded_and_none_is_left_out() -> None:
    async with serve() as server, patient(server) as client:
        await client.get(
            "/runs",
            {"cursor": "a b&c=/é", "limit": 100, "status": None, "all": True, "id": ["x", "y"]},
        )

    assert server.requests[0].line == (
        "GET /runs?cursor=a%20b%26c%3D%2F%C3%A9&limit=100&all=true&id=x&id=y HTTP/1.1"
    )


@pytest.mark.parametrize(
    "path",
    ["/runs/..", "/../admin", "/%2e%2E/x", "/runs/./x", "/a?b=1", "/a#b", "/a b", "/é", "\\a"],
)
async def test_a_path_that_was_not_quoted_or_climbs_is_refused(path: str) -> None:
    async with serve() as server, patient(server) as client:
        with pytest.raises((ValueError, Gone), match=r"percent-encoded|leads to nothing"):
            await client.get(path)

    assert server.requests == []


async def test_a_get_carries_key_and_host_and_accepts_gzip() -> None:
    async with serve() as server, patient(server) as client:
        await client.get("/runs")

    headers = server.requests[0].headers
    assert headers["x-api-key"] == CANARY
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert headers["accept-encoding"] == "gzip"


async def test_a_post_carries_its_content_and_headers() -> None:
    async with serve() as server, patient(server) as client:
        await client.post("/hook", b"{}", {"Content-Type": "application/json", "User-Agent": "me"})

    request = server.requests[0]
    assert (request.line, request.body) == ("POST /hook HTTP/1.1", b"{}")
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == "me"


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-Test", "cnry\r\nX: y"), ("X-Test", "cnryé"), ("X Test", "cnry"), ("Host", "cnry")],
)
async def test_a_header_that_cannot_be_sent_is_refused_unseen(name: str, value: str) -> None:
    async with serve() as server, patient(server) as client:
        with pytest.raises(Fatal, match=name) as caught:
            await client.post("/hook", b"", {name: value})

    assert server.requests == []
    assert not leaks(str(caught.value))


async def test_a_key_with_a_line_end_is_refused_unseen() -> None:
    async with serve() as server:
        with pytest.raises(ConfigError, match=r"X-API-Key \(from the program\)") as caught:
            async with patient(server, key=CANARY + "\n"):
                pass

    assert not leaks(str(caught.value))


async def test_a_key_that_was_rotated_to_one_with_a_line_end_is_refused_unseen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ROTATED_KEY", "before")
    key = Secret.env("ROTATED_KEY")
    async with serve() as server, patient(server, key=key) as client:
        monkeypatch.setenv("ROTATED_KEY", CANARY + "\n")
        key.reload()
        with pytest.raises(Fatal, match=r"X-API-Key \(from environment variable") as caught:
            await client.get("/runs")

    assert not leaks(str(caught.value))


async def test_no_more_requests_are_under_way_than_there_are_slots() -> None:
    async with serve() as server, patient(server, slots=2) as client:
        await asyncio.gather(*(client.get("/runs") for _ in range(10)))

    assert (server.connections, len(server.requests), client.requests) == (2, 10, 10)


# Answers


async def test_an_answer_has_status_headers_body_and_place() -> None:
    async with serve(answer(404, b"gone", X_Request_Id="7")) as server, patient(server) as client:
        found: HttpClient = client
        got = await found.get("/runs/a", {"cursor": "secret-query"})

    assert (got.status, got.body) == (404, b"gone")
    assert got.headers["x-request-ID"] == "7"
    assert got.place == f"GET {server.url}/runs/a"


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP"])
async def test_gzip_is_unpacked_however_many_members_it_has(coding: str) -> None:
    packed = gzip.compress(b"a" * 5000) + gzip.compress(b"b")
    script = answer(200, packed, Content_Encoding=coding)

    async with serve(script) as server, patient(server) as client:
        got = await client.get("/runs")

    assert got.body == b"a" * 5000 + b"b"


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_body_may_name_a_coding(status: int) -> None:
    script = f"HTTP/1.1 {status} X\r\nContent-Encoding: gzip\r\n\r\n".encode()

    async with serve(script) as server, patient(server) as client:
        got = await client.get("/runs")

    assert (got.status, got.body) == (status, b"")


async def test_now_is_the_vendors_time(time: Time) -> None:
    script = answer(200, Date="Thu, 01 Jan 2026 01:00:00 GMT")

    async with serve(script) as server, patient(server, time=time) as client:
        before = client.now()
        await client.get("/runs")
        time.now += 5
        after = client.now()

    assert before == datetime(2026, 1, 1, tzinfo=UTC)
    assert after == datetime(2026, 1, 1, 1, 0, 5, tzinfo=UTC)


async def test_a_redirect_elsewhere_is_fatal_and_names_both_places_without_query() -> None:
    async with serve() as other:
        script = answer(307, Location=f"{other.url}/x?cursor=cnry")
        async with serve(script) as server, patient(server) as client:
            with pytest.raises(Fatal) as caught:
                await client.get("/runs", {"cursor": "secret-query"})

    assert server.url in str(caught.value)
    assert other.url in str(caught.value)
    assert not leaks(str(caught.value))
    assert other.requests == []


@pytest.mark.parametrize("location", ["//[", "https://[::1", "javascript:alert(1)"])
async def test_a_redirect_to_nowhere_is_fatal(location: str) -> None:
    async with serve(answer(302, Location=location)) as server, patient(server) as client:
        with pytest.raises(Fatal, match="redirects to"):
            await client.get("/runs")


@pytest.mark.parametrize("location", ["/elsewhere", "?page=2"])
async def test_a_redirect_within_the_origin_is_returned(location: str) -> None:
    async with serve(answer(302, Location=location)) as server, patient(server) as client:
        got = await client.get("/runs")

    assert (got.status, len(server.requests)) == (302, 1)


async def test_a_post_returns_every_status_and_is_sent_once() -> None:
    statuses = [200, 301, 400, 401, 410, 413, 500, 503]
    script = [answer(each, Location="http://127.0.0.2/") for each in statuses]

    async with serve(*script) as server, patient(server, give_up_s=60) as client:
        got = [(await client.post("/hook", b"x")).status for _ in statuses]

    assert got == statuses
    assert len(server.requests) == len(statuses)
