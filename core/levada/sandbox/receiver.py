"""A webhook receiver that keeps what it gets and answers as it is told."""

import asyncio
import base64
import hmac
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final

import msgspec
from attrs import define, evolve, field, frozen

from levada.sandbox.http import RecordedRequest, Response, json_response
from levada.sandbox.server import Server
from levada.sandbox.threads import run_in_thread

__all__ = ["Answer", "Delivery", "Receiver"]

Answer = tuple[int, dict[str, str], float]
"""Status, headers, and the seconds to wait before answering."""

_ACCEPT: Final[Answer] = (HTTPStatus.NO_CONTENT, {}, 0.0)
_REJECT: Final[Answer] = (HTTPStatus.UNAUTHORIZED, {}, 0.0)
_TOLERANCE: Final = timedelta(minutes=5)
_SUCCESSES: Final = range(200, 300)


@frozen(kw_only=True)
class Delivery:
    """One POST as it arrived.

    `events` are its CloudEvents, empty when the body holds none or cannot be read. `is_verified`
    is None when the receiver has no secret. `status` is what it is answered with.
    """

    path: str
    headers: dict[str, str]
    body: bytes = field(repr=False)
    time: datetime
    events: list[dict[str, Any]]
    is_verified: bool | None
    status: int = 0

    @property
    def is_accepted(self) -> bool:
        """Whether it is answered with a 2xx."""
        return self.status in _SUCCESSES


@define(kw_only=True, eq=False)
class Receiver(Server):
    """Accept POSTs at any path and keep them, oldest first, in `deliveries`.

    With a `secret` (`whsec_` and Base64) every delivery needs a Standard Webhooks signature that
    is at most five minutes off, or it is answered with 401. The others get the answer that
    `answers` makes of the delivery or, when it is a list, the next one out of it; 204 without
    delay once the list is empty.
    """

    secret: str | None = field(default=None, repr=False)
    answers: Callable[[Delivery], Answer] | list[Answer] = field(factory=list)
    deliveries: list[Delivery] = field(init=False, factory=list, repr=False)

    @classmethod
    def in_thread(cls, **options: Any) -> AbstractContextManager["Receiver"]:
        """Run a receiver with the options of the class in a thread, while inside `with`."""
        return run_in_thread(cls(**options))

    @property
    def accepted(self) -> list[Delivery]:
        """The deliveries that are answered with a 2xx."""
        return [delivery for delivery in self.deliveries if delivery.is_accepted]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The CloudEvents of the accepted deliveries, as they came; repeated ones repeat."""
        return [event for delivery in self.accepted for event in delivery.events]

    @property
    def event_ids(self) -> list[str]:
        """The ids of `events`."""
        return [event["id"] for event in self.events]

    async def respond(self, request: RecordedRequest) -> Response:
        """Keep a delivery, then answer it as scripted."""
        if request.method != "POST":
            refusal = {"error": f"{request.method} is not allowed"}
            return json_response(HTTPStatus.METHOD_NOT_ALLOWED, refusal, {"Allow": "POST"})
        delivery = self._delivery(request)
        status, headers, delay_s = self._answer_to(delivery)
        self.deliveries.append(evolve(delivery, status=status))
        await asyncio.sleep(delay_s)
        return Response(status, headers=headers)

    def _delivery(self, request: RecordedRequest) -> Delivery:
        is_verified = None
        if self.secret is not None:
            is_verified = _is_signed(request, self.secret)
        return Delivery(
            path=request.path,
            headers=request.headers,
            body=request.body,
            time=request.time,
            events=_events(request),
            is_verified=is_verified,
        )

    def _answer_to(self, delivery: Delivery) -> Answer:
        if delivery.is_verified is False:
            return _REJECT
        if callable(self.answers):
            return self.answers(delivery)
        return self.answers.pop(0) if self.answers else _ACCEPT


def _is_signed(request: RecordedRequest, secret: str) -> bool:
    """Check a Standard Webhooks signature: HMAC-SHA256 over id, timestamp and body."""
    message_id, timestamp, signatures = (
        request.headers.get(f"webhook-{part}", "") for part in ("id", "timestamp", "signature")
    )
    if not message_id or not _is_recent(timestamp, request.time):
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b"%b.%b.%b" % (message_id.encode(), timestamp.encode(), request.body)
    expected = b"v1," + base64.b64encode(hmac.digest(key, signed, sha256))
    return any(hmac.compare_digest(given.encode(), expected) for given in signatures.split())


def _is_recent(timestamp: str, now: datetime) -> bool:
    if not (timestamp.isascii() and timestamp.isdigit()):
        return False
    return abs(now.timestamp() - int(timestamp)) <= _TOLERANCE.total_seconds()


def _events(request: RecordedRequest) -> list[dict[str, Any]]:
    """Read CloudEvents in any of HTTP's three modes: batch, structured, binary."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if media_type == "application/cloudevents-batch+json":
            return msgspec.json.decode(request.body, type=list[dict[str, Any]])
        if media_type == "application/cloudevents+json":
            return [msgspec.json.decode(request.body, type=dict[str, Any])]
        return [_binary_event(request)] if "ce-id" in request.headers else []
    except msgspec.DecodeError:
        return []


def _binary_event(request: RecordedRequest) -> dict[str, Any]:
    attributes = {
        name.removeprefix("ce-"): value
        for name, value in request.headers.items()
        if name.startswith("ce-")
    }
    return {**attributes, "data": msgspec.json.decode(request.body) if request.body else None}
