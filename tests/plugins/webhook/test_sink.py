"""The webhook sink, over the real client, to a real receiver on loopback."""

import asyncio
import base64
import json
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

import pytest
from standardwebhooks import Webhook

from levada import ConfigError, Delivery, Disable, Failure, Fatal, Json, Reject, Retry, Secret
from levada import TooLarge as Split
from levada.sandbox.receiver import Receiver
from levada_webhook.sink import WebhookSink
from plugins.webhook.conftest import SECRET, Context, DeliveryOf, Opened

OTHER = "whsec_" + "T3RoZXI0" * 4


async def failure_of(sink: WebhookSink, delivery: Delivery, ctx: Context) -> Failure:
    with pytest.raises(Failure) as raised:
        await sink.write(delivery, ctx)
    return raised.value


async def test_the_hook_offers_the_sink() -> None:
    import levada_webhook

    assert list(levada_webhook.event_sinks()) == [WebhookSink]


async def test_posts_one_signed_cloudevent(
    opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened("/hook?token=t", secret=Secret(SECRET), headers={"X-Team": "ops"})
    parcel = delivery(1)

    receipt = await sink.write(parcel, ctx)

    (request,) = receiver.requests
    assert receipt is None
    assert request.body == parcel.lines[0]
    assert request.headers["content-type"] == "application/cloudevents+json"
    assert request.headers["webhook-id"] == parcel.id
    assert request.headers["x-team"] == "ops"
    assert receiver.deliveries[0].events[0]["id"] == "evt-1"
    Webhook(SECRET).verify(request.body, request.headers)
    assert ctx.reports == []


async def test_a_batch_is_an_array(
    opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened(batch=True, secret=Secret(SECRET))
    parcel = delivery(1, 3)

    await sink.write(parcel, ctx)

    (request,) = receiver.requests
    assert request.headers["content-type"] == "application/cloudevents-batch+json"
    assert [one["id"] for one in json.loads(request.body)] == ["evt-1", "evt-2", "evt-3"]
    assert request.headers["webhook-id"] == parcel.id
    Webhook(SECRET).verify(request.body, request.headers)


@pytest.mark.parametrize("batch", [False, True])
async def test_raw_is_plain_json(
    batch: bool, opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened(batch=batch)

    await sink.write(Delivery(delivery(1).events, format="raw"), ctx)

    (request,) = receiver.requests
    assert request.body == (b'[{"n":1}]' if batch else b'{"n":1}')
    assert request.headers["content-type"] == "application/json"


async def test_while_rotating_both_secrets_sign_the_new_one_first(
    opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened(secret=[Secret(OTHER), Secret(SECRET)])

    await sink.write(delivery(1), ctx)

    (request,) = receiver.requests
    first, second = request.headers["webhook-signature"].split()
    for secret, signature in ((OTHER, first), (SECRET, second)):
        headers = {**request.headers, "webhook-signature": signature}
        Webhook(secret).verify(request.body, headers)


async def test_without_a_secret_the_operator_is_told(
    opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened()

    await sink.write(delivery(1), ctx)

    assert ctx.reports == ["webhook.unsigned"]
    assert "webhook-signature" not in receiver.requests[0].headers


async def test_attempts_differ_only_in_timestamp_and_signature(
    opened: Opened,
    receiver: Receiver,
    delivery: DeliveryOf,
    ctx: Context,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sink = await opened(secret=Secret(SECRET))
    for now in (1_000_000, 2_000_000):
        monkeypatch.setattr("time.time", lambda now=now: now + 0.9)
        await sink.write(delivery(1), ctx)
    monkeypatch.undo()

    first, second = receiver.requests
    changed = {name for name in first.headers if first.headers[name] != second.headers[name]}
    assert first.body == second.body
    assert changed == {"webhook-timestamp", "webhook-signature"}
    assert first.headers["webhook-timestamp"] == "1000000"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_done(
    status: int, opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    receiver.answers = [(status, {}, 0.0)]
    sink = await opened()

    await sink.write(delivery(1), ctx)

    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 599])
async def test_what_may_pass_is_tried_again(
    status: int, opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    receiver.answers = [(status, {}, 0.0)]
    sink = await opened()

    failure = await failure_of(sink, delivery(1), ctx)

    assert isinstance(failure, Retry)
    assert str(failure) == f"HTTP {status} from {receiver.url}/hook"
    if status >= 500:
        assert failure.after is None
    else:
        assert failure.after
        assert 4 < failure.after.total_seconds() < 6


async def test_retry_after_holds_the_whole_sink(
    opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    receiver.answers = [(503, {"Retry-After": "17"}, 0.0)]
    sink = await opened()

    failure = await failure_of(sink, delivery(1), ctx)

    assert isinstance(failure, Retry)
    assert failure.after == timedelta(seconds=17)
    assert failure.everywhere


async def test_a_wait_that_the_client_keeps_is_passed_on(
    opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    receiver.answers = [(429, {"Retry-After": "60"}, 0.0)]
    sink = await opened()
    await failure_of(sink, delivery(1), ctx)

    failure = await failure_of(sink, delivery(2, attempt=10), ctx)

    assert isinstance(failure, Retry)
    assert failure.everywhere
    assert len(receiver.requests) == 1


async def test_an_exhausted_schedule_makes_a_dead_letter(
    opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    receiver.answers = [(500, {}, 0.0)]
    sink = await opened()

    failure = await failure_of(sink, delivery(1, attempt=10), ctx)

    assert isinstance(failure, Reject)
    assert failure.reasons == {
        ("run-1", "evt-1"): f"HTTP 500 from {receiver.url}/hook, after 10 attempts"
    }


async def test_a_receiver_that_is_not_there_holds_the_sink_and_is_tried_soon(
    opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened("/hook?token=t")
    await receiver.stop()

    first = await failure_of(sink, delivery(1), ctx)
    last = await failure_of(sink, delivery(1, attempt=10), ctx)

    assert isinstance(first, Retry)
    assert (first.after, first.everywhere) == (None, True)
    assert str(first).startswith(f"POST {receiver.url}/hook: ")
    assert "token" not in str(first)
    assert isinstance(last, Reject)


async def test_a_slow_receiver_is_left_after_the_timeout(
    opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    receiver.answers = [(204, {}, 5.0)]
    sink = await opened(timeout=timedelta(milliseconds=100))

    began = asyncio.get_running_loop().time()
    failure = await failure_of(sink, delivery(1), ctx)

    assert isinstance(failure, Retry)
    assert asyncio.get_running_loop().time() - began < 2


@pytest.mark.parametrize("status", [400, 409, 415, 422])
async def test_a_refused_event_is_dead_after_three_attempts(
    status: int, opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    receiver.answers = lambda _: (status, {"Location": "https://example.test/"}, 0.0)
    sink = await opened()

    tries = [await failure_of(sink, delivery(1, attempt=attempt), ctx) for attempt in (1, 2, 3)]

    assert [type(failure) for failure in tries] == [Retry, Retry, Reject]
    assert all(isinstance(one, Retry) and one.after < timedelta(seconds=2) for one in tries[:2])  # type: ignore[operator]  # set above
    assert str(tries[2]) == f"HTTP {status} from {receiver.url}/hook, after 3 attempts"
    assert len(receiver.requests) == 3


async def test_a_refused_batch_is_split_to_find_the_event(
    opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    receiver.answers = [(422, {}, 0.0)]
    sink = await opened(batch=True)

    failure = await failure_of(sink, delivery(1, 4, attempt=3), ctx)

    assert isinstance(failure, Split)


async def test_413_asks_for_a_smaller_delivery(
    opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    receiver.answers = [(413, {}, 0.0)]
    sink = await opened(batch=True)

    assert isinstance(await failure_of(sink, delivery(1, 4), ctx), Split)


async def test_410_disables_the_sink(
    opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    receiver.answers = [(410, {}, 0.0)]
    sink = await opened()

    failure = await failure_of(sink, delivery(1), ctx)

    assert isinstance(failure, Disable)
    assert str(failure) == f"HTTP 410 from {receiver.url}/hook"


@pytest.mark.parametrize("status", [302, 308, 401, 403, 404, 405])
async def test_ten_refusals_in_a_row_pause_the_sink_instead(
    status: int, opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    receiver.answers = lambda _: (status, {}, 0.0)
    sink = await opened()

    kinds = [
        await failure_of(sink, delivery(seq, attempt=3 if seq < 3 else 1), ctx)
        for seq in range(1, 10)
    ]
    tenth = await failure_of(sink, delivery(10, attempt=3), ctx)

    assert [type(failure) for failure in kinds] == [Reject, Reject] + [Retry] * 7
    assert isinstance(tenth, Retry)
    assert tenth.everywhere
    assert "correct `" in str(tenth)


ELSEWHERE = "https://cnry:cnry@new.example.com/login?key=cnry"


@pytest.mark.parametrize(
    ("status", "location", "advice"),
    [
        (
            302,
            ELSEWHERE,
            "it redirects to https://new.example.com, which is not followed; correct `url`",
        ),
        (307, "/login", "it redirects to another path there, which is not followed; correct `url`"),
        (308, "https://[::1", "it redirects elsewhere, which is not followed; correct `url`"),
        (304, None, "correct `url`"),
        (401, None, "correct `secret` or `headers`, or else `url`"),
        (403, None, "correct `secret` or `headers`, or else `url`"),
        (404, None, "correct `url`"),
        (405, None, "correct `url`"),
    ],
)
async def test_a_refusal_says_which_option_to_correct_at_once_and_in_a_dead_letter(
    *,
    status: int,
    location: str | None,
    advice: str,
    opened: Opened,
    receiver: Receiver,
    delivery: DeliveryOf,
    ctx: Context,
) -> None:
    receiver.answers = lambda _: (status, {"Location": location} if location else {}, 0.0)
    sink = await opened()

    first = await failure_of(sink, delivery(1), ctx)
    last = await failure_of(sink, delivery(1, attempt=3), ctx)

    assert str(first) == f"HTTP {status} from {receiver.url}/hook; {advice}"
    assert str(last) == f"HTTP {status} from {receiver.url}/hook, after 3 attempts; {advice}"


async def test_where_a_receiver_redirects_to_is_shown_without_secrets_and_controls(
    opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    bare = SECRET.removeprefix("whsec_")
    receiver.answers = lambda _: (302, {"Location": f"https://{bare}.{'x' * 300}/"}, 0.0)
    sink = await opened(secret=Secret(SECRET))

    failure = await failure_of(sink, delivery(1), ctx)

    assert bare.lower() not in str(failure).lower()
    assert len(str(failure)) < 400


async def test_a_success_starts_the_count_again(
    opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    statuses = iter([401] * 9 + [204] + [401] * 9)
    receiver.answers = lambda _: (next(statuses), {}, 0.0)
    sink = await opened()

    for seq in range(1, 20):
        if seq == 10:
            await sink.write(delivery(seq), ctx)
        else:
            failure = await failure_of(sink, delivery(seq), ctx)
            assert isinstance(failure, Retry)
            assert not failure.everywhere


async def test_a_refused_batch_of_ten_pauses_at_once(
    opened: Opened, receiver: Receiver, delivery: DeliveryOf, ctx: Context
) -> None:
    receiver.answers = [(401, {}, 0.0)]
    sink = await opened(batch=True)

    failure = await failure_of(sink, delivery(1, 10, attempt=3), ctx)

    assert isinstance(failure, Retry)
    assert failure.everywhere


@pytest.mark.parametrize(("hours", "direction"), [(-1, "ahead of"), (1, "behind")])
async def test_a_wrong_clock_is_named(
    hours: int, direction: str, delivery: DeliveryOf, ctx: Context
) -> None:
    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(hours=hours)

    async with Receiver(secret=SECRET, now=clock) as receiver:
        sink = WebhookSink(url=receiver.url, secret=Secret(SECRET))
        await sink.open(ctx)
        failure = await failure_of(sink, delivery(1), ctx)

    assert f"s {direction} the receiver's: set it right" in str(failure)


async def test_a_secret_that_was_changed_where_it_came_from_is_read_again(
    receiver: Receiver,
    opened: Opened,
    delivery: DeliveryOf,
    ctx: Context,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receiver.secret = SECRET
    monkeypatch.setenv("SIGNING_SECRET", OTHER)
    sink = await opened(secret=Secret.env("SIGNING_SECRET"))
    monkeypatch.setenv("SIGNING_SECRET", SECRET)

    failure = await failure_of(sink, delivery(1), ctx)
    await sink.write(delivery(1, attempt=2), ctx)

    assert isinstance(failure, Retry)
    assert [one.status for one in receiver.deliveries] == [401, 204]


async def respond_with(body: bytes, status: HTTPStatus) -> asyncio.Server:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        await reader.readexactly(length)
        head = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        writer.write(head % (status, len(body)) + body)
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


@pytest.mark.parametrize(
    "form",
    [
        json.dumps,
        lambda value: value.replace("/", r"\/"),
        lambda value: quote(value, safe=""),
        lambda value: base64.b64encode(value.encode()).decode(),
    ],
    ids=["JSON", "JSON as PHP writes it", "URL", "Base64"],
)
@pytest.mark.parametrize("shown", ["signing", "bare", "header", "token"])
async def test_an_excerpt_shows_a_secret_in_no_form(
    delivery: DeliveryOf, ctx: Context, shown: str, form: Callable[[str], str]
) -> None:
    secret, header = "whsec_" + "abc/def+" * 5, 'Bearer to/ken+1"23456'
    parts = {"signing": secret, "bare": secret[6:], "header": header, "token": header.split()[1]}
    written = form(parts[shown])
    async with await respond_with(f"<{written}>".encode(), HTTPStatus.BAD_REQUEST) as server:
        host, port = server.sockets[0].getsockname()
        sink = WebhookSink(
            url=f"http://{host}:{port}/hook",
            secret=Secret(secret),
            headers={"Authorization": header},
        )
        await sink.open(ctx)
        failure = await failure_of(sink, delivery(1), ctx)

    assert "[redacted]" in str(failure)
    assert parts[shown] not in str(failure)
    assert written.strip('"') not in str(failure)


async def test_an_excerpt_of_the_answer_is_short_printable_and_without_secrets(
    delivery: DeliveryOf, ctx: Context
) -> None:
    echo = (
        f"bad\x1b[31m signature, expected {SECRET} or {SECRET[6:]} or Bearer-token-1 " + "z" * 999
    )
    async with await respond_with(echo.encode(), HTTPStatus.BAD_REQUEST) as server:
        host, port = server.sockets[0].getsockname()
        sink = WebhookSink(
            url=f"http://{host}:{port}/hook",
            secret=Secret(SECRET),
            headers={"Authorization": "Bearer-token-1"},
        )
        await sink.open(ctx)
        failure = await failure_of(sink, delivery(1), ctx)

    text = str(failure)
    assert "bad [31m signature, expected [redacted] or [redacted] or [redacted] zz" in text
    assert SECRET[6:] not in text
    assert text.isascii() is False  # the ellipsis
    assert text.isprintable()
    assert len(text) < 300


async def test_a_huge_answer_does_no_harm(delivery: DeliveryOf, ctx: Context) -> None:
    async with await respond_with(b"z" * 5_000_000, HTTPStatus.OK) as server:
        host, port = server.sockets[0].getsockname()
        sink = WebhookSink(url=f"http://{host}:{port}/")
        await sink.open(ctx)
        await sink.write(delivery(1), ctx)


async def test_a_secret_that_is_none_is_told_at_open(receiver: Receiver, ctx: Context) -> None:
    sink = WebhookSink(url=receiver.url, secret=Secret("hunter2hunter2"))

    with pytest.raises(Fatal, match="the program is not one"):
        await sink.open(ctx)


async def test_a_missing_certificate_is_told_at_open(ctx: Context, tmp_path: Path) -> None:
    sink = WebhookSink(url="https://127.0.0.1/", ca_file=tmp_path / "none.pem")

    with pytest.raises(ConfigError, match="ca_file"):
        await sink.open(ctx)


@pytest.mark.parametrize(
    "url", ["https://h.test:cnry/", "https://[cnry/", "https://cnry\u2100.test/"]
)
def test_a_url_that_cannot_be_read_is_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="a URL cannot be read") as caught:
        WebhookSink(url=url)

    assert "cnry" not in "".join(traceback.format_exception_only(caught.value))
    assert caught.value.__suppress_context__


def test_identity_is_the_url_without_its_query() -> None:
    assert WebhookSink(url="https://h.test/a?key=k").identity() == "https://h.test/a"


@pytest.mark.parametrize(("options", "size"), [({}, 1), ({"batch": True}, 100)])
def test_without_batch_a_delivery_is_one_event(options: dict[str, Json], size: int) -> None:
    assert WebhookSink(url="https://h.test/", **options).batch_size == size
    assert WebhookSink(url="https://h.test/", batch=True, batch_size=7).batch_size == 7
    assert WebhookSink(url="https://h.test/", lanes=3).lanes == 3


@pytest.mark.parametrize(
    "options",
    [
        {"url": "ftp://h.test/"},
        {"url": "h.test/hook"},
        {"url": "https://user:pass@h.test/"},
        {"url": "https://h.test/#x"},
        {"url": "https://h.test\\@evil/"},
        {"url": "https://h.test:99999/"},
        {"url": "https://h.test/", "headers": {"Webhook-Id": "1"}},
        {"url": "https://h.test/", "lanes": 0},
        {"url": "https://h.test/", "schedule": []},
        {"url": "https://h.test/", "timeout": timedelta(0)},
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Json]) -> None:
    with pytest.raises((ConfigError, ValueError), match=r"must|Length|URL"):
        WebhookSink(**options)


def test_a_secret_over_plain_http_to_another_machine_needs_consent() -> None:
    with pytest.raises(ConfigError, match="must be https"):
        WebhookSink(url="http://h.test/", secret=Secret(SECRET))

    WebhookSink(url="http://h.test/", secret=Secret(SECRET), allow_plaintext=True)
    WebhookSink(url="http://localhost:8080/", secret=Secret(SECRET))
    WebhookSink(url="http://[::1]:8080/", secret=Secret(SECRET))


async def test_writing_before_open_is_a_mistake_of_the_caller(
    delivery: DeliveryOf, ctx: Context
) -> None:
    with pytest.raises(RuntimeError, match="open"):
        await WebhookSink(url="https://h.test/").write(delivery(1), ctx)
