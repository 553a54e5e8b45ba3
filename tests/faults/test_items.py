"""A page of good events with one among them that is none, or not as it should be."""

import re
from collections.abc import Callable
from typing import Literal

import msgspec
import pytest
from attrs import frozen

from faults.upstream import Upstream
from levada.sandbox import Fault, RecordedRequest


@frozen
class Item:
    """What is on the page, and what becomes of it; `bad` is what has become of its id."""

    text: bytes
    fate: Literal["dead", "bad"]


DEEP = {levels: b"[" * levels + b"]" * levels for levels in (300, 2_000, 100_000)}

ITEMS = {
    "no id": Item(b'{"event_type":"x","eventType":"x"}', "dead"),
    "an id that is null": Item(b'{"id":null}', "dead"),
    "an id that is an object": Item(b'{"id":{"$oid":"1"}}', "dead"),
    "an id of 5,000 digits": Item(b'{"id":%b}' % (b"1" * 5_000), "dead"),
    "a number of 5,000 digits": Item(b'{"id":"bad","n":%b}' % (b"1" * 5_000), "dead"),
    "too many bytes": Item(b'{"id":"bad","text":"%b"}' % (b"x" * 9_000), "dead"),
    "NaN": Item(b'{"id":"bad","n":NaN}', "dead"),
    "Infinity": Item(b'{"id":"bad","n":Infinity}', "dead"),
    "a depth of 300": Item(b'{"id":"bad","d":%b}' % DEEP[300], "dead"),
    "a depth of 2,000": Item(b'{"id":"bad","d":%b}' % DEEP[2_000], "dead"),
    "a depth of 100,000": Item(b'{"id":"bad","d":%b}' % DEEP[100_000], "dead"),
    "a list": Item(b'[{"id":"bad"}]', "dead"),
    "null": Item(b"null", "dead"),
    "a number": Item(b"7", "dead"),
    # The same value as JSON, so it is carried; only what no reader has to take is mended.
    "other wrong types": Item(
        b'{"id":"bad","event_type":[],"eventType":{},"created_at":[1],"createdAt":true,"step":7}',
        "bad",
    ),
    "a lone surrogate": Item(b'{"id":"bad","s":"\\ud800"}', "bad"),
    "a lone surrogate in the id": Item(b'{"id":"bad\\udfff"}', "dead"),
    "invalid UTF-8": Item(b'{"id":"bad","s":"\xff\xfe"}', "bad"),
    "1e400": Item(b'{"id":"bad","n":1e400}', "bad"),
    "two ids": Item(b'{"id":"worse","id":"bad"}', "bad"),
}

QUICK = {"NaN", "a number of 5,000 digits", "a lone surrogate in the id"}


class Found(msgspec.Struct):
    events: list[msgspec.Raw]


class Answer(msgspec.Struct):
    data: list[msgspec.Raw] | Found


def among(item: bytes) -> Callable[[bytes], bytes]:
    """Put *item* behind the first event of an answer, and count it."""

    def spoil(body: bytes) -> bytes:
        data = msgspec.json.decode(body, type=Answer).data
        first, *_ = map(bytes, data if isinstance(data, list) else data.events)
        spoiled = body.replace(first, first + b"," + item, 1)
        return re.sub(rb'"total":(\d+)', lambda found: b'"total":%d' % (int(found[1]) + 1), spoiled)

    return spoil


def keys(up: Upstream) -> list[str]:
    world = up.server.world
    return list(world.executions if up.vendor == "kapso" else world.runs)  # type: ignore[union-attr]  # it is that vendor's


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(each, id=each, marks=() if each in QUICK else pytest.mark.faults)
        for each in ITEMS
    ],
)
def test_the_rest_of_the_page_is_delivered_once_however_often_it_is_read(
    up: Upstream, name: str
) -> None:
    item, key = ITEMS[name], keys(up)[0]
    if name == "too many bytes":
        up.settings += "max_event_bytes = 8_000\n"

    def fault(request: RecordedRequest) -> Fault | None:
        return Fault.rewrite(among(item.text)) if key in request.path else None

    up.server.faults = fault
    hint = ("--execution", f"{up.vendor}={key}")
    runs = [up.run(), up.run(*hint)]

    extra = [each for each in up.delivered if each not in up.expected]
    assert [run.code for run in runs] == [0, 0], [run.err for run in runs]
    assert sorted(set(up.delivered) - set(extra)) == up.expected
    assert len(up.delivered) == len(up.expected) + len(extra)
    assert extra == ([] if item.fate == "dead" else ["bad"])
    assert up.status["rejected"] == (1 if item.fate == "dead" else 0)
    assert all(run.requests <= 12 for run in runs)
