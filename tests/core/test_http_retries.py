"""When a request is made again, and how long it waits."""

import asyncio
import logging
import re
from datetime import timedelta
from unittest.mock import Mock

import pytest

from core.test_http_server import CANARY, Time, answer, leaks, patient, serve, then_close
from levada import ApiKey, Retry, Secret
from levada.http import Http


@pytest.fixture
def time() -> Time:
    return Time()


async def test_a_get_is_tried_again_with_growing_waits(time: Time) -> None:
    script = [answer(500), answer(502), answer(504), answer()]

    async with serve(*script) as server, patient(server, give_up_s=60, time=time) as client:
        got = await client.get("/runs")

    assert (got.status, client.requests) == (200, 4)
    assert time.sleeps == [0.5, 1, 2]


@pytest.mark.parametrize("value", ["20", "Thu, 01 Jan 2026 00:00:20 GMT"])
async def test_a_get_waits_as_long_as_retry_after_says(time: Time, value: str) -> None:
    script = [answer(503, Retry_After=value), answer()]

    async with serve(*script) as server, patient(server, give_up_s=60, time=time) as client:
        await client.get("/runs")

    assert time.sleeps == [20]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 501, 505])
async def test_a_status_that_stays_is_returned_at_once(time: Time, status: int) -> None:
    async with serve(answer(status)) as server, patient(server, give_up_s=60, time=time) as client:
        got = await client.get("/runs")

    assert (got.status, client.requests, time.sleeps) == (status, 1, [])


async def test_a_get_gives_up_when_its_time_is_over(time: Time) -> None:
    async with serve(answer(503)) as server, patient(server, give_up_s=10, time=time) as client:
        with pytest.raises(Retry) as caught:
            await client.get("/runs", {"cursor": "secret-query"})

    assert sum(time.sleeps) == 10
    assert str(caught.value) == (
        f"GET {server.url}/runs: answered 503 Service Unavailable, 6 times in 10 s"
    )


async def test_a_status_without_a_name_is_given_as_its_number() -> None:
    async with serve(answer(529)) as server, patient(server) as client:
        with pytest.raises(Retry, match=r"answered 529$"):
            await client.get("/runs")


async def test_a_get_does_not_wait_for_what_lies_beyond_its_time(time: Time) -> None:
    script = answer(503, Retry_After="600")

    async with serve(script) as server, patient(server, give_up_s=10, time=time) as client:
        with pytest.raises(Retry) as caught:
            await client.get("/runs")

    assert (caught.value.after, caught.value.everywhere) == (timedelta(seconds=600), False)
    assert time.sleeps == []


async def test_a_429_holds_back_the_key_and_nobody_else(time: Time) -> None:
    async with serve(answer(429, Retry_After="60"), answer()) as server:
        owner = Http(
            request_timeout=timedelta(seconds=5), max_response_bytes=1000, clock=time.clock
        )
        keys = [ApiKey("X-API-Key", Secret(each)) for each in ("one", "one", "two")]
        first, same, other = (owner.client(server.url, auth=each) for each in keys)

        await first.post("/runs", b"")
        await other.get("/runs")
        free = list(time.sleeps)
        await same.get("/runs")
        await owner.aclose()

    assert first is not same
    assert (free, time.sleeps) == ([], [60])


@pytest.mark.parametrize(("value", "waits"), [("1", [1, 1, 1]), ("0", [1, 2, 4])])
async def test_a_429_is_waited_for_as_told_but_never_at_once(
    time: Time, value: str, waits: list[float]
) -> None:
    script = [*[answer(429, Retry_After=value)] * 3, answer(), answer(429), answer()]

    async with serve(*script) as server, patient(server, give_up_s=60, time=time) as client:
        await client.get("/runs")
        first = list(time.sleeps)
        await client.get("/runs")

    assert first == waits
    assert time.sleeps[len(first) :] == [1]


async def test_the_log_says_how_long_a_429_is_waited_for(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    script = [*[answer(429, Retry_After="1")] * 14, answer()]

    async with serve(*script) as server, patient(server, give_up_s=60, time=time) as client:
        await client.get("/runs")

    assert re.findall(r"attempt (\d+), again in (.*)", caplog.text) == [
        ("3", "1.0 s"),
        ("13", "1.0 s"),
    ]


async def test_an_allowance_told_in_headers_is_kept_to(time: Time) -> None:
    ample = answer(X_RateLimit_Limit="100", X_RateLimit_Remaining="60")
    spent = answer(X_RateLimit_Limit="100", X_RateLimit_Remaining="50")
    script = [*[then_close(), ample] * 10, spent, answer()]

    async with serve(*script) as server, patient(server, give_up_s=60, time=time) as client:
        for _ in range(11):
            await client.get("/runs")
        retries = list(time.sleeps)
        await client.get("/runs")

    assert set(retries) <= {0.5}
    assert time.sleeps[len(retries) :] == [1.2]


async def test_a_429_that_lasts_too_long_is_the_hosts_to_wait_for(time: Time) -> None:
    script = answer(429, Retry_After="600")

    async with serve(script) as server, patient(server, give_up_s=10, time=time) as client:
        for _ in range(2):
            with pytest.raises(Retry) as caught:
                await client.get("/runs")
            assert caught.value.after == timedelta(seconds=600)
            assert caught.value.everywhere

    assert (client.requests, time.sleeps) == (1, [])


async def test_who_is_down_for_long_is_not_asked_before_the_time_it_tells(time: Time) -> None:
    script = answer(503, Retry_After="600")

    async with serve(script) as server, patient(server, give_up_s=10, time=time) as client:
        for _ in range(3):
            with pytest.raises(Retry) as caught:
                await client.get("/runs")
            assert caught.value.after == timedelta(seconds=600)

    assert (client.requests, time.sleeps) == (1, [])


async def test_a_post_is_not_sent_into_a_429_pause(time: Time) -> None:
    script = answer(429, Retry_After="30")

    async with serve(script) as server, patient(server, give_up_s=60, time=time) as client:
        await client.post("/hook", b"x")
        with pytest.raises(Retry, match="held back for 30 s") as caught:
            await client.post("/hook", b"x")

    assert (caught.value.after, len(server.requests)) == (timedelta(seconds=30), 1)


async def test_a_rotated_key_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEVADA_TEST_KEY", "old")
    secret = Secret.env("LEVADA_TEST_KEY")
    monkeypatch.setenv("LEVADA_TEST_KEY", "new")

    async with serve(answer(401), answer()) as server, patient(server, key=secret) as client:
        got = await client.get("/runs")

    assert got.status == 200
    assert [each.headers["x-api-key"] for each in server.requests] == ["old", "new"]


async def test_all_requests_refused_with_the_old_key_use_the_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LEVADA_TEST_KEY", "old")
    secret = Secret.env("LEVADA_TEST_KEY")
    monkeypatch.setenv("LEVADA_TEST_KEY", "new")
    all_four = asyncio.Barrier(4)

    async def refuse(writer: asyncio.StreamWriter) -> None:
        await all_four.wait()
        writer.write(answer(401))

    script = [refuse] * 4 + [answer()]

    counted = Mock(wraps=secret.reload)
    monkeypatch.setattr(Secret, "reload", lambda _: counted())

    async with serve(*script) as server, patient(server, key=secret) as client:
        got = await asyncio.gather(*(client.get("/runs") for _ in range(4)))

    assert [each.status for each in got] == [200] * 4
    assert (len(server.requests), counted.call_count) == (8, 1)


async def test_a_key_that_stays_wrong_is_not_tried_again() -> None:
    async with serve(answer(401)) as server, patient(server, give_up_s=60) as client:
        got = await client.get("/runs")

    assert (got.status, len(server.requests)) == (401, 1)


async def test_the_log_holds_neither_key_nor_query(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="levada")

    async with (
        serve(answer(500), answer()) as server,
        patient(server, give_up_s=9, time=Time()) as client,
    ):
        await client.get("/runs", {"cursor": "secret-query"})
        await client.get(f"/runs/{CANARY}")

    assert f"GET {server.url}/runs 200" in caplog.text
    assert not leaks(caplog.text)
