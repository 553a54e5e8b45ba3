"""What a receiver's answer asks of the host."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

from attrs import define, field

from levada import Delivery, Disable, Failure, HttpResponse, Reject, Retry, Secret, TooLarge
from levada_webhook.schedule import Schedule, retry_after

TRIES_OF_A_REFUSED_EVENT = 3
REFUSALS_IN_A_ROW = 10
PAUSE = timedelta(minutes=5)
CLOCK_TOLERANCE = timedelta(minutes=5)
EXCERPT = 200  # characters of an answer that a reason may hold

_TRY_AGAIN = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
        *range(500, 600),
    }
)
_ABOUT_THE_KEY = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_ABOUT_THE_SINK = frozenset(
    {
        *range(300, 400),  # it has moved, or wants a login: `url` is what has to change
        *_ABOUT_THE_KEY,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
    }
)
_ABOUT_THE_BODY = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})
_MAY_BE_THE_CLOCK = _ABOUT_THE_SINK | {HTTPStatus.BAD_REQUEST}
_UNSHOWABLE = re.compile(r"[^\x20-\x7e]+")


@define
class Judge:
    """Judges the answers to one sink's deliveries, one after the other."""

    schedule: Schedule
    secrets: Sequence[Secret] = field(repr=False)
    """What must not show in a reason, whatever a receiver sends back."""

    _refused: dict[str, int] = field(factory=dict, init=False)
    """The deliveries refused for the sink's sake since one was taken, and their events."""

    def answered(self, answer: HttpResponse, delivery: Delivery, now: datetime) -> Failure | None:
        """Return what *answer*, arrived at *now* by the receiver's clock, asks for; None: done."""
        status = answer.status
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            self._refused.clear()
            return None
        reason = self._reason(answer, now)
        if status == HTTPStatus.GONE:
            return Disable(reason)
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return TooLarge(reason)
        if status in _TRY_AGAIN:
            wait = retry_after(answer.headers.get("retry-after"), now=now)
            return self._busy(status, delivery, reason, wait)
        if status in _ABOUT_THE_SINK:
            return self._refused_all(delivery, reason, self._advice(answer))
        return self._refused_one(status, delivery, reason)

    def lost(self, failure: Retry, delivery: Delivery) -> Failure:
        """Return what a request without an answer asks for."""
        if failure.after is not None:  # not even sent: the client keeps a promise to wait
            return failure
        if self.schedule.is_exhausted(delivery.attempt):
            return self._given_up(delivery, str(failure))
        return self.schedule.momentary(delivery.attempt, str(failure), persist=False)

    def _busy(
        self, status: int, delivery: Delivery, reason: str, wait: timedelta | None
    ) -> Failure:
        attempt = delivery.attempt
        if self.schedule.is_exhausted(attempt):
            return self._given_up(delivery, reason)
        if wait is not None:
            return self.schedule.asked(attempt, reason, wait)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return self.schedule.momentary(attempt, reason)
        return self.schedule.later(attempt, reason)

    def _refused_all(self, delivery: Delivery, reason: str, advice: str) -> Failure:
        """A wrong key or URL would refuse every event: wait for somebody to put it right."""
        if not self._refuses_everything():
            self._refused[delivery.id] = len(delivery.events)
        if self._refuses_everything():
            return Retry(f"{reason}; {advice}", after=PAUSE, everywhere=True, persist=False)
        if self._is_last_try(delivery):
            return self._given_up(delivery, reason, advice)
        return self.schedule.later(delivery.attempt, f"{reason}; {advice}", persist=False)

    def _refuses_everything(self) -> bool:
        return sum(self._refused.values()) >= REFUSALS_IN_A_ROW

    def _refused_one(self, status: int, delivery: Delivery, reason: str) -> Failure:
        if not self._is_last_try(delivery):
            return self.schedule.soon(delivery.attempt, reason)
        if status in _ABOUT_THE_BODY and len(delivery.events) > 1:
            return TooLarge(f"{reason}; one of its events may be the cause")  # split, to find it
        return self._given_up(delivery, reason)

    def _is_last_try(self, delivery: Delivery) -> bool:
        tries = delivery.attempt
        return tries >= TRIES_OF_A_REFUSED_EVENT or self.schedule.is_exhausted(tries)

    def _given_up(self, delivery: Delivery, reason: str, advice: str = "") -> Reject:
        tries = f"{delivery.attempt} attempts" if delivery.attempt > 1 else "one attempt"
        text = f"{reason}, after {tries}" + (f"; {advice}" if advice else "")
        return Reject({(event.partition, event.id): text for event in delivery.events})

    def _reason(self, answer: HttpResponse, now: datetime) -> str:
        where = answer.place.removeprefix("POST ")
        return f"HTTP {answer.status} from {where}{self._excerpt(answer.body)}" + (
            _skew(now) if answer.status in _MAY_BE_THE_CLOCK else ""
        )

    def _advice(self, answer: HttpResponse) -> str:
        """Say which option somebody has to correct."""
        if answer.status in _ABOUT_THE_KEY:
            return "correct `secret` or `headers`, or else `url`"
        location = answer.headers.get("location")
        if location is None:
            return "correct `url`"
        there = _target(self._without_secrets(location), answer.place.removeprefix("POST "))
        return f"it redirects {there}, which is not followed; correct `url`"

    def _excerpt(self, body: bytes) -> str:
        text = self._without_secrets(body[: 16 * EXCERPT].decode("utf-8", "replace"))
        text = _UNSHOWABLE.sub(" ", text).strip()
        return f": {text[:EXCERPT]}{'…' if len(text) > EXCERPT else ''}" if text else ""

    def _without_secrets(self, text: str) -> str:
        for secret in sorted(self.secrets, key=lambda each: len(each.reveal()), reverse=True):
            text = secret.scrub(text)
        return text


def _target(location: str, here: str) -> str:
    """Say where *location*, answered by *here*, leads: its origin, as the rest may be secret."""
    try:
        there, ours = urlsplit(urljoin(here, location)), urlsplit(here)
        port = f":{there.port}" if there.port else ""
    except ValueError:
        return "elsewhere"
    if (there.scheme, there.netloc) == (ours.scheme, ours.netloc):
        return "to another path there"
    origin = _UNSHOWABLE.sub(" ", f"{there.scheme}://{there.hostname}{port}")
    return f"to {origin[:EXCERPT]}" if there.hostname else "elsewhere"


def _skew(now: datetime) -> str:
    """Tell of a clock so wrong that receivers refuse our timestamps."""
    ahead = datetime.now(UTC) - now
    if abs(ahead) <= CLOCK_TOLERANCE:
        return ""
    direction = "ahead of" if ahead > timedelta(0) else "behind"
    seconds = round(abs(ahead).total_seconds())
    return f"; this machine's clock is {seconds} s {direction} the receiver's: set it right"
