"""Answers that never arrive whole, or are not what was asked for: they may be better tomorrow."""

import re
from collections.abc import Callable
from itertools import count

import pytest
from attrs import frozen

from faults.upstream import EVENTS, Upstream, Where
from levada.sandbox import Fault, RecordedRequest


@frozen
class Broken:
    """A fault, and what the error says of it."""

    fault: Fault
    says: str


CLOSED = "closed before the answer was complete"
LONG = "the answer is longer than 1048576 bytes"
NOT_HTTP = "answered with something that is not HTTP"
ANSWER = r"the answer to GET http://127\.0\.0\.1:\d+/[\w./-]+ is not the JSON that was expected "
TIMED_OUT = r"timed out after 0\.4 s"
HTML = b"<html>\r\n\x1b[31m" + b"down " * 1_000

BROKEN = {
    "a reset": Broken(Fault.reset(), CLOSED),
    "a reset in the body": Broken(Fault.reset(is_midway=True), CLOSED),
    "an end of file": Broken(Fault.close(), CLOSED),
    "an end of file in the body": Broken(Fault.close(is_midway=True), CLOSED),
    "silence": Broken(Fault.hang(), TIMED_OUT),
    "silence in the body": Broken(Fault.hang(is_midway=True), TIMED_OUT),
    "a drip": Broken(Fault.drip(), TIMED_OUT),
    "a body without end": Broken(Fault.endless(), LONG),
    "a bomb": Broken(Fault.bomb(), LONG),
    "a bomb in a bomb": Broken(Fault.bomb(layers=2), "compressed in a way nobody asked for"),
    "5,000 headers": Broken(Fault.header_flood(), NOT_HTTP),
    "a header of 1 MB": Broken(Fault.header_flood(1, length=1 << 20), NOT_HTTP),
    "500": Broken(Fault.status(500), "answered 500 Internal Server Error"),
    "503": Broken(Fault.status(503), "answered 503 Service Unavailable"),
    "408": Broken(Fault.status(408), "answered 408 Request Timeout"),
    "half of the JSON": Broken(Fault.truncate(), ANSWER + r"\(200, application/json, \d+ bytes\)"),
    "no body": Broken(Fault.body(b""), ANSWER + r"\(200, application/json, 0 bytes\)"),
    "HTML": Broken(
        Fault.body(HTML, content_type="text/html; charset=utf-8"),
        ANSWER
        + r'\(200, text/html, 5013 bytes, starts with "<html>\\r\\n\\x1b\[31m[down ]{187}"\)',
    ),
    "a list": Broken(Fault.body(b"[1,2,3]"), ANSWER + r"\(200, application/json, 7 bytes\)"),
    "null": Broken(Fault.body(b"null"), ANSWER + r"\(200, application/json, 4 bytes\)"),
    "data that is null": Broken(
        Fault.body(b'{"success":true,"data":null,"meta":null}'),
        r"GET http://127\.0\.0\.1:\d+/[\w./-]+ (?:is not the JSON that was expected "
        r"\(200, application/json, 40 bytes\)|answered 200 without success: application/json, 40 bytes)",
    ),
    "data that is a number": Broken(
        Fault.body(b'{"success":true,"data":5}'), ANSWER + r"\(200, application/json, 25 bytes\)"
    ),
}

OF_EVERY_KIND = (  # one for each way through the code
    "a reset",
    "an end of file in the body",
    "silence in the body",
    "a body without end",
    "a bomb in a bomb",
    "5,000 headers",
    "503",
    "half of the JSON",
    "HTML",
    "data that is null",
)


def some(*names: str, quick: str) -> list[object]:
    """Return the names of faults; all but one are only for ``nox -s faults``."""
    return [
        pytest.param(name, id=name, marks=() if name == quick else pytest.mark.faults)
        for name in names
    ]


@pytest.mark.parametrize("name", some(*BROKEN, quick="data that is null"))
def test_lists_that_stay_broken_are_given_up_and_cost_nothing(up: Upstream, name: str) -> None:
    _gives_up_and_catches_up(up, "lists", BROKEN[name], requests=6)


@pytest.mark.parametrize("name", some(*OF_EVERY_KIND, quick="a reset"))
def test_events_that_stay_broken_are_given_up_and_cost_nothing(up: Upstream, name: str) -> None:
    _gives_up_and_catches_up(up, "events", BROKEN[name], requests=40)


def _gives_up_and_catches_up(up: Upstream, where: Where, broken: Broken, *, requests: int) -> None:
    up.fail(broken.fault, where)
    failed = up.run()
    delivered = up.delivered
    up.heal()
    healed = up.run()

    assert failed.code == 75, failed.err
    assert re.search(broken.says, failed.err), failed.err
    assert "?" not in failed.err
    assert delivered == []
    assert 0 < failed.requests <= requests
    assert failed.seconds < 12
    assert healed.code == 0, healed.err
    assert up.delivered == up.expected


def at(wrong: Callable[[int], bool], fault: Fault) -> Callable[[RecordedRequest], Fault | None]:
    """Let a fault happen to the requests with some numbers, counted from 0."""
    number = count()
    return lambda _: fault if wrong(next(number)) else None


@pytest.mark.parametrize("name", some(*OF_EVERY_KIND, quick="HTML"))
def test_what_happens_to_one_request_in_seven_costs_nothing(up: Upstream, name: str) -> None:
    up.settings = up.settings.replace("300ms", "20s")
    up.server.faults = at(lambda number: number % 7 == 0, BROKEN[name].fault)

    done = up.run()

    assert done.code == 0, done.err
    assert up.delivered == up.expected
    assert f"{EVENTS} new events" in done.err
    assert done.requests <= 40
    assert done.seconds < 15


@pytest.mark.faults
def test_json_that_is_called_text_is_taken(up: Upstream) -> None:
    up.fail(Fault.relabel("text/plain"))

    done = up.run()

    assert done.code == 0, done.err
    assert up.delivered == up.expected
