"""The webhook receiver: what it keeps, checks and answers."""

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from levada.sandbox import Delivery, Receiver, run_in_thread

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
EVENT: dict[str, Any] = {"specversion": "1.0", "id": "e1", "source": "/s", "type": "t", "data": 1}
STRUCTURED = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver.in_thread() as running:
        yield running


@pytest.fixture
def signed_receiver() -> Iterator[Receiver]:
    with Receiver.in_thread(secret=SECRET) as running:
        yield running


def post(receiver: Receiver, **options: Any) -> httpx.Response:
    with httpx.Client(trust_env=False) as client:
        return client.post(f"{receiver.url}/hook", **options)


def signature_headers(
    body: bytes, *, at: float | None = None, secret: str = SECRET
) -> dict[str, str]:
    """Sign by the text of the Standard Webhooks specification, without the code under test."""
    timestamp = str(int(at if at is not None else time.time()))
    key = base64.b64decode(secret.split("_")[1])
    digest = hmac.new(key, f"msg_1.{timestamp}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,b2xkIGtleQ== {signature}",
    }


def test_a_delivery_is_kept_as_it_arrived(receiver: Receiver) -> None:
    answer = post(receiver, content=b"plain", headers={"X-Name": "Value"})

    assert answer.status_code == 204
    [delivery] = receiver.deliveries
    assert (delivery.path, delivery.body, delivery.status) == ("/hook", b"plain", 204)
    assert delivery.headers["x-name"] == "Value"
    assert delivery.events == []
    assert delivery.is_verified is None
    assert (datetime.now(UTC) - delivery.time).total_seconds() < 60


def test_a_structured_event_is_read(receiver: Receiver) -> None:
    post(receiver, json=EVENT, headers=STRUCTURED)

    assert receiver.events == [EVENT]
    assert receiver.event_ids == ["e1"]


def test_a_batch_is_read(receiver: Receiver) -> None:
    post(receiver, json=[EVENT, {**EVENT, "id": "e2"}], headers=BATCH)

    assert receiver.event_ids == ["e1", "e2"]


def test_a_binary_event_is_read(receiver: Receiver) -> None:
    post(receiver, json={"a": 1}, headers={"ce-id": "e3", "ce-type": "t"})
    post(receiver, headers={"ce-id": "e4"})

    assert receiver.events == [
        {"id": "e3", "type": "t", "data": {"a": 1}},
        {"id": "e4", "data": None},
    ]


def test_a_body_that_cannot_be_read_holds_no_event(receiver: Receiver) -> None:
    answer = post(receiver, content=b"{", headers=STRUCTURED)

    assert answer.status_code == 204
    assert receiver.deliveries[0].events == []


def test_answers_come_from_the_list_until_it_is_empty(receiver: Receiver) -> None:
    receiver.answers = [(503, {"Retry-After": "7"}, 0.0), (200, {}, 0.0)]

    answers = [post(receiver, json=EVENT, headers=STRUCTURED) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [503, 200, 204]
    assert answers[0].headers["Retry-After"] == "7"
    assert len(receiver.deliveries) == 3
    assert receiver.event_ids == ["e1", "e1"]


def test_a_function_may_decide_the_answer() -> None:
    def refuse_empty(delivery: Delivery) -> tuple[int, dict[str, str], float]:
        return (422 if not delivery.body else 202, {}, 0.0)

    with Receiver.in_thread(answers=refuse_empty) as receiver:
        statuses = [post(receiver, content=body).status_code for body in (b"", b"x")]

    assert statuses == [422, 202]


def test_a_delayed_answer_does_not_hold_up_the_end() -> None:
    with Receiver.in_thread(answers=[(204, {}, 3600.0)]) as receiver:
        with pytest.raises(httpx.ReadTimeout):
            post(receiver, content=b"x", timeout=0.2)

        assert len(receiver.deliveries) == 1


def test_a_good_signature_is_accepted(signed_receiver: Receiver) -> None:
    answer = post(signed_receiver, content=b"body", headers=signature_headers(b"body"))

    assert answer.status_code == 204
    assert signed_receiver.deliveries[0].is_verified is True


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signature_headers(b"another body"),
        signature_headers(b"body", secret="whsec_" + base64.b64encode(b"wrong").decode()),
        signature_headers(b"body", at=time.time() - 3600),
        signature_headers(b"body") | {"webhook-timestamp": "now"},
        signature_headers(b"body") | {"webhook-id": "msg_2"},
    ],
    ids=["none", "body", "secret", "old", "timestamp", "id"],
)
def test_a_bad_signature_is_401(signed_receiver: Receiver, headers: dict[str, str]) -> None:
    signed_receiver.answers = [(204, {}, 0.0)]

    answer = post(signed_receiver, content=b"body", headers=headers)

    assert answer.status_code == 401
    assert signed_receiver.deliveries[0].is_verified is False
    assert signed_receiver.accepted == []
    assert len(signed_receiver.answers) == 1


def test_only_post_is_a_delivery(receiver: Receiver) -> None:
    answer = httpx.get(receiver.url, trust_env=False)

    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert receiver.deliveries == []


async def test_a_receiver_runs_in_the_callers_loop() -> None:
    async with Receiver() as receiver, httpx.AsyncClient(trust_env=False) as client:
        await client.post(receiver.url, json=EVENT, headers=STRUCTURED)

        assert receiver.event_ids == ["e1"]


def test_a_receiver_runs_in_a_thread_by_function_too() -> None:
    with run_in_thread(Receiver()) as receiver:
        post(receiver, content=b"x")

    assert [delivery.body for delivery in receiver.deliveries] == [b"x"]
