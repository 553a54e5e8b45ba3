import json
import time
import tracemalloc
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
import pytest
from attrs import field, frozen

from levada import Event, Fatal, Rejected, Retry, Secret
from levada.page import (
    Id,
    Moment,
    decode_items,
    decode_page,
    error_text,
    parse_time,
    refusal,
    to_events,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
T1 = "2026-03-02T09:00:01Z"
T2 = "2026-03-02T09:00:02Z"


def deep(levels: int) -> bytes:
    return b'[{"":' * (levels // 2) + b"1" + b"}]" * (levels // 2)


DEEP = deep(20_000)  # deeper than any Python follows


@frozen
class Answer:
    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(factory=lambda: {"content-type": "text/html; charset=x"})
    place: str = "GET https://api.example.com/v1/events"


def brief(value: object) -> str:
    return repr(value)[:40]


class EventRow(msgspec.Struct):
    id: Id
    type: str = "unknown"
    time: Moment = None
    subject: str | None = None


class Page(msgspec.Struct):
    data: list[msgspec.Raw]
    next: str | None = None


def page(*items: bytes) -> list[bytes]:
    body = b'{"next":"c","data":[%b]}' % b",".join(items)
    return [bytes(item) for item in decode_page(Answer(body), Page).data]


def events(*items: bytes, now: datetime = NOW) -> list[Event | Rejected]:
    return read(b'{"data":[%b]}' % b",".join(items), now=now)


def read(body: bytes, *, now: datetime = NOW) -> list[Event | Rejected]:
    raws = decode_page(Answer(body), Page).data
    return to_events(raws, EventRow, partition="run-1", kinds={"done": "run.completed"}, now=now)


def event(item: bytes) -> Event:
    (found,) = events(item)
    assert isinstance(found, Event)
    return found


def rejected(item: bytes) -> Rejected:
    """Return what *item* is rejected as, between two good ones that are not."""
    first, found, last = events(b'{"id":"a"}', item, b'{"id":"z"}')
    assert isinstance(first, Event)
    assert isinstance(found, Rejected)
    assert isinstance(last, Event)
    return found


# ── pages ───────────────────────────────────────────────────────────────────────────────────────


def test_items_keep_their_own_bytes() -> None:
    items = [b'{"id": 1,\t"x":1.0e2}', b'{"id":"\\u00e9"}', b"7", b"null"]

    assert page(*items) == items


@pytest.mark.parametrize("item", [b"{}", b"1", b"[]", b'"a,\\"b"', b'{"a":[1,2],"b":{}}'])
@pytest.mark.parametrize(
    "around", [b'{"x":[[1]],"data":[%b],"next":"c"}', b'{"data":{"data":[%b]}}']
)
def test_a_page_of_too_many_rows_is_not_unpacked(item: bytes, around: bytes) -> None:
    many = b",".join([item] * 100_001)

    with pytest.raises(Retry, match=r"/v1/events shows more than 100,000 rows on one page"):
        decode_page(Answer(around % many), Page)


EVENT = b'{"id":"a","created_at":"2026-03-02T09:00:00Z","payload":"%b"}'


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"data":["%b"]}' % (b"\\u0041" * 200_000), id="no object"),
        pytest.param(b'{"data":["%b]}' % (b"\\n" * 600_000), id="no end of a string"),
        pytest.param(b'{"data":["%b},%b]}' % (b"\\n" * 600_000, EVENT), id="no page"),
        pytest.param(b'{"data":[%b' % (b"1," * 600_000), id="no end of a list"),
        pytest.param(
            b'{"data":[{%b}]}' % b",".join(b'"%d":1' % n for n in range(120_000)), id="no id"
        ),
        pytest.param(b'{"data":[%b]}' % (EVENT % (b"\\u0041" * 200_000 + b"\xff")), id="no UTF-8"),
        pytest.param(b'{"data":[%b]}' % (EVENT % (b"\\ud800" * 200_000)), id="halves"),
        pytest.param(b'{"data":[%b]}' % (EVENT % (b"\xc2\x9b" * 600_000)), id="controls"),
        pytest.param(
            b'{"data":[%b]}' % (EVENT % (b"x" * 1_200_000 + "\U0001f600\x9b".encode())), id="wide"
        ),
    ],
)
def test_an_answer_takes_a_few_times_its_own_memory_whatever_it_is_made_of(body: bytes) -> None:
    tracemalloc.start()
    with suppress(Retry):
        read(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 6 * len(body)


def test_what_nests_without_end_is_given_up_soon() -> None:
    began = time.monotonic()

    with pytest.raises(Retry, match="is not the JSON that was expected"):
        decode_page(Answer(b'{"data":' + b"[" * 33_000_000), Page)

    assert time.monotonic() - began < 15


@pytest.mark.parametrize("payload", [b"[%b]", b'{"a":[{"b":[%b]}]}', b"[[[%b],[]]]"])
def test_a_row_may_be_of_more_parts_than_a_page_of_rows(payload: bytes) -> None:
    item = b'{"id":"x","payload":%b}' % (payload % b",".join([b"{}"] * 100_001))

    assert page(b'{"id":"a"}', item) == [b'{"id":"a"}', item]


@pytest.mark.parametrize(
    "bad",
    [
        b'{"id":"x","n":NaN}',
        b'{"id":"x","n":-Infinity}',
        b'{"id":"x","s":"\x01"}',
        b'{"id":"x","s":"\\ud800"}',
        b'{"id":"x","n":01}',
        b'{"id":"x","d":%b}' % DEEP,
        b'{"id":"x",}',
        b'{"id":"x","s":"]},{[\\"\\\\","n":NaN}',
        b"{'id':1}",
        b"undefined",
    ],
    ids=[
        "nan",
        "infinity",
        "control",
        "surrogate",
        "octal",
        "deep",
        "comma",
        "brackets",
        "quotes",
        "word",
    ],
)
def test_a_bad_item_stays_in_its_own_brackets(bad: bytes) -> None:
    assert page(b'{"id":"a"}', bad, b' {"id":[{},[1,2]]}\n') == [
        b'{"id":"a"}',
        bad,
        b'{"id":[{},[1,2]]}',
    ]


def test_the_rest_of_a_bad_page_is_decoded_too() -> None:
    body = b'\xef\xbb\xbf{"a":["data",{"data":[1]}],"s":"\xff","data" : [NaN, 1 ],"next":"c2"}'

    decoded = decode_page(Answer(body), Page)

    assert (decoded.data, decoded.next) == ([msgspec.Raw(b"NaN"), msgspec.Raw(b"1")], "c2")


def test_an_empty_list_in_a_bad_page_is_empty() -> None:
    assert decode_page(Answer(b'\xef\xbb\xbf{"data": [ ]}'), Page).data == []


def test_items_may_have_another_name() -> None:
    class Lines(msgspec.Struct):
        lines: list[msgspec.Raw]

    body = b'{"data":[1],"lines":[NaN]}'

    assert decode_page(Answer(body), Lines, items="lines").lines == [msgspec.Raw(b"NaN")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"<html>",
        b'{"data":[NaN,{"id":1}',
        b'{"data":[NaN,{"id":"1]}',
        b'{"data":[NaN]',
        b'{"data":{"id":1}}',
        b'{"data":null}',
        b'{"other":[]}',
        b'[{"data":[]}]',
        b'{"next":NaN,"data":[]}',
        b'{"next":5,"data":[]}',
        b"\xff\xfe{",
        DEEP,
    ],
    ids=brief,
)
def test_anything_else_is_tried_again_later(body: bytes) -> None:
    with pytest.raises(Retry, match="is not the JSON that was expected"):
        decode_page(Answer(body), Page)


def test_the_error_shows_how_the_answer_begins() -> None:
    body = b"<html>\n\x1b[31mkey s3cr3t " + b"x" * 500

    with pytest.raises(Retry) as caught:
        decode_page(Answer(body), Page, secret=Secret("s3cr3t"))

    assert str(caught.value) == (
        "the answer to GET https://api.example.com/v1/events is not the JSON that was expected "
        f'(200, text/html, 523 bytes, starts with "<html>\\n\\x1b[31mkey [redacted] {"x" * 173}")'
    )


def test_the_error_shows_nothing_of_a_payload() -> None:
    with pytest.raises(Retry) as caught:
        decode_page(Answer(b'{"data": [{"payload": {"phone": "+351 555'), Page)

    assert "phone" not in str(caught.value)
    assert "41 bytes" in str(caught.value)


# ── items ───────────────────────────────────────────────────────────────────────────────────────


def test_an_event_has_the_fields_of_its_row_and_the_bytes_of_its_item() -> None:
    item = b'{"id":"e1","type":"done","time":"%b","subject":"s1","n":1.0}' % T1.encode()

    assert event(item) == Event(
        "e1",
        type="done",
        time=datetime(2026, 3, 2, 9, 0, 1, tzinfo=UTC),
        partition="run-1",
        raw=item,
        subject="s1",
        kind="run.completed",
    )


@pytest.mark.parametrize(
    ("item", "attribute", "value"),
    [
        (b'{"id":7}', "id", "7"),
        (b'{"id":123456789012345678901234567890}', "id", "123456789012345678901234567890"),
        (b'{"id":"x"}', "type", "unknown"),
        (b'{"id":"x","type":null}', "type", "unknown"),
        (b'{"id":"x","type":"new_one"}', "type", "new_one"),
        (b'{"id":"x","type":"new_one"}', "kind", None),
        (b'{"id":"x","subject":{"a":1}}', "subject", None),
        (b'{"id":"x","time":["?"],"subject":"s"}', "subject", "s"),
        (b'{"id":"x","s":"\\ud800."}', "data", {"id": "x", "s": "\ufffd."}),
        (b'{"id":"x","s":"\\ud83d\\ude00"}', "data", {"id": "x", "s": "\U0001f600"}),
        (b'{"id":"x","s":"\\\\ud800"}', "data", {"id": "x", "s": "\\ud800"}),
        (b'{"id":"x","s":"\xff"}', "data", {"id": "x", "s": "\ufffd"}),
        (b'{"id":"\xef\xbf\xbd","s":"\xff"}', "id", "\ufffd"),
        (b'{"id":\r\n"x"}', "raw", b'{"id":"x"}'),
        (b'{"id":"x","s":"\xc2\x9b\xe2\x80\xae"}', "raw", b'{"id":"x","s":"\\u009b\\u202e"}'),
    ],
)
def test_whatever_can_be_read_is(item: bytes, attribute: str, value: object) -> None:
    assert getattr(event(item), attribute) == value


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (b'{"type":"done"}', "an item without a usable id"),
        (b'{"id":""}', "an item without a usable id"),
        (b'{"id":null}', "an item without a usable id"),
        (b'{"id":true}', "an item without a usable id"),
        (b'{"id":{"$oid":1}}', "an item without a usable id"),
        (b'{"id":"\xff"}', "an item whose id is not Unicode text"),
        (b'{"id":"\\udc00"}', "an item whose id is not Unicode text"),
        (b"7", "an item that is not a JSON object"),
        (b"null", "an item that is not a JSON object"),
        (b'[{"id":1}]', "an item that is not a JSON object"),
        (b'{"id":1,"d":%b}' % DEEP, "an item that is nested too deeply"),
        (b'{"d":%b,"id":1}' % deep(200), "an item that is nested too deeply"),
        (b'{"id":1,"s":"\xff","d":%b}' % deep(200), "an item that is nested too deeply"),
        (b'{"id":1,"n":-%b}' % (b"9" * 4301), "an item that has a number of more than 4300 digits"),
        (
            b'{"id":1,"time":%b}' % (b"9" * 5000),
            "an item that has a number of more than 4300 digits",
        ),
        (b'{"id":%b}' % (b"9" * 5000), "an item without a usable id"),
    ],
    ids=brief,
)
def test_what_cannot_be_an_event_is_rejected_alone(item: bytes, reason: str) -> None:
    assert rejected(item) == Rejected(item, reason=reason)


@pytest.mark.parametrize(
    "item",
    [
        b'{"d":%b,"id":1}' % deep(198),
        b'{"id":1,"d":[%b]}' % b",".join([deep(196)] * 3),
        b'{"id":1,"s":"%b"}' % (b"[{" * 500),
        b'{"id":1,"s":"\\"%b"}' % (b"9" * 5000),
        b'{"id":1,"n":%b}' % (b"9" * 4300),
        b'{"id":1,"n":1e400}',
        b'{"id":0,"id":1}',
    ],
    ids=brief,
)
def test_what_any_reader_can_take_is_an_event(item: bytes) -> None:
    found = event(item)

    assert (found.id, found.raw) == ("1", item)
    assert found.data["id"] == 1


@pytest.mark.parametrize(
    "item", [b'{"id":1,"n":NaN}', b'{"id":1,"s":"a\nb"}', b'{"id":1,"s":"\x00"}', b""]
)
def test_what_is_not_json_is_rejected_alone(item: bytes) -> None:
    found = rejected(item)

    assert found.raw == item
    assert found.reason.startswith("an item that is not JSON: ")


def test_an_event_without_a_time_has_that_of_the_one_before() -> None:
    _, second, _ = events(
        b'{"id":1,"time":"%b"}' % T1.encode(),
        b'{"id":2,"time":"soon"}',
        b'{"id":3,"time":"%b"}' % T2.encode(),
    )

    assert isinstance(second, Event)
    assert second.time == parse_time(T1)


def test_the_first_event_without_a_time_has_that_of_the_next_one() -> None:
    first, *_ = events(b'{"id":1}', b"{}", b'{"id":2}', b'{"id":3,"time":"%b"}' % T2.encode())

    assert isinstance(first, Event)
    assert first.time == parse_time(T2)


def test_a_page_without_any_time_has_that_of_the_read() -> None:
    assert event(b'{"id":1}').time == NOW


def test_rows_of_other_lists_are_read_by_the_same_rules() -> None:
    raws = [msgspec.Raw(text) for text in (b'{"id":1,"type":3}', b"x", b'{"id":"b"}')]

    one, two, three = decode_items(raws, EventRow)

    assert (one, three) == (EventRow(1), EventRow("b"))
    assert isinstance(two, Rejected)


# ── times ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-08-26T09:12:00Z", "2026-08-26T09:12:00"),
        ("2026-08-26T09:12:00.5Z", "2026-08-26T09:12:00.500000"),
        ("2026-08-26T09:12:00.123Z", "2026-08-26T09:12:00.123000"),
        ("2026-08-26T09:12:00.123456Z", "2026-08-26T09:12:00.123456"),
        ("2026-08-26T09:12:00.123456789Z", "2026-08-26T09:12:00.123456"),
        ("2026-08-26T09:12:00-03:00", "2026-08-26T12:12:00"),
        ("2026-08-26T09:12:00.25+0530", "2026-08-26T03:42:00.250000"),
        ("2026-08-26t09:12:00z", "2026-08-26T09:12:00"),
        ("2026-08-26 09:12:00 UTC", "2026-08-26T09:12:00"),
        ("2026-08-26T09:12:00", "2026-08-26T09:12:00"),
        (1787735520, "2026-08-26T09:12:00"),
        (1787735520.25, "2026-08-26T09:12:00.250000"),
        ("1787735520", "2026-08-26T09:12:00"),
        ("1787735520.25", "2026-08-26T09:12:00.250000"),
        (1787735520123, "2026-08-26T09:12:00.123000"),
        ("1787735520123", "2026-08-26T09:12:00.123000"),
        (1787735520123456, "2026-08-26T09:12:00.123456"),
        (0, "1970-01-01T00:00:00"),
    ],
    ids=brief,
)
def test_times_in_every_form_seen(value: Moment, expected: str) -> None:
    time = parse_time(value)

    assert time == datetime.fromisoformat(expected).replace(tzinfo=UTC)
    assert time.tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        "",
        "soon",
        "2026-13-01T00:00:00Z",
        "9999-12-31T23:59:59-23:00",
        float("nan"),
        float("inf"),
        "nan",
        10**400,
        1e300,
        "1e300",
        10**24,
    ],
    ids=brief,
)
def test_what_is_no_time_is_none(value: Moment) -> None:
    assert parse_time(value) is None


# ── refusals ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_named_by_where_it_came_from(status: int) -> None:
    secret = Secret("s3cr3t", origin="environment variable EXAMPLE_KEY")
    body = b'{"error":"Invalid key s3cr3t"}'

    failure = refusal(Answer(body, status), secret=secret)

    assert isinstance(failure, Fatal)
    assert str(failure) == (
        f'{status} from https://api.example.com: "Invalid key [redacted]"; '
        "the key came from environment variable EXAMPLE_KEY"
    )


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (308, Fatal),
        (400, Fatal),
        (404, Fatal),
        (422, Fatal),
        (501, Fatal),
        (505, Fatal),
        (500, Retry),
        (503, Retry),
    ],
)
def test_other_statuses_name_the_place(status: int, failure: type[Exception]) -> None:
    refused = refusal(Answer(b"", status))

    assert type(refused) is failure
    assert str(refused) == f"{status} from GET https://api.example.com/v1/events"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"error": "no"}, '"no"'),
        ({"error": {"code": "AUTH_ERROR", "message": "no"}}, '"no"'),
        ({"message": "no"}, '"no"'),
        ({"error": None, "detail": "no"}, '"no"'),
        ({"error": {"code": 7}}, ""),
        ({"error": "a\n\x1b[0m\u202e"}, '"a\\n\\x1b[0m\\u202e"'),
        ({"error": "x" * 300}, f'"{"x" * 200}"'),
        ([], ""),
    ],
)
def test_what_a_vendor_says_is_found_and_quoted(body: object, text: str) -> None:
    assert error_text(json.dumps(body).encode()) == text


def test_plain_text_counts_as_said() -> None:
    assert error_text(b"Forbidden\n") == '"Forbidden"'
