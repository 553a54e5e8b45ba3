import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from core.doubles import START, event
from levada import Event, Json, Origin
from levada.codec import cloudevent, event_type, one_line, timestamp

ORIGIN = Origin("kapso", "acme", "https://api.kapso.ai/executions/run-1")

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda values: st.lists(values) | st.dictionaries(TEXT, values),
    max_leaves=20,
)
ANYTHING = st.text(st.characters())  # lone surrogates as well
EVENTS = st.builds(
    Event,
    ANYTHING,
    type=ANYTHING,
    time=st.just(START),
    partition=ANYTHING,
    raw=VALUES.map(lambda value: one_line(json.dumps(value).encode())),
    subject=st.none() | ANYTHING,
    kind=st.none() | ANYTHING,
    origin=st.none() | st.builds(Origin, ANYTHING, ANYTHING, ANYTHING),
    seq=st.none() | st.integers(1, 10**18),
)
DANGEROUS = "\x7f\x85\x9b\u061c\u200e\u2028\u2029\u202e\u2066\u2069"


def lines(raw: bytes) -> list[str]:
    return raw.decode().splitlines()


@given(VALUES, st.sampled_from([None, 0, 2]), st.booleans(), st.sampled_from(["\n", "\r\n", "\r"]))
def test_one_line_is_one_line_and_keeps_the_value(
    value: Json, indent: int | None, ascii_only: bool, line_end: str
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    raw = text.replace("\n", line_end).encode()

    line = one_line(raw)

    assert json.loads(line) == value
    assert len(lines(line)) == 1
    assert not set(DANGEROUS).intersection(line.decode())


@given(VALUES)
def test_one_line_changes_nothing_twice(value: Json) -> None:
    line = one_line(json.dumps(value, indent=1, ensure_ascii=False).encode())

    assert one_line(line) == line


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b'{"a": 1}', b'{"a": 1}'),
        ('{"a": "ü€😀"}'.encode(), '{"a": "ü€😀"}'.encode()),
        (b'{\r\n  "a":\n1\r}', b'{  "a":1}'),
        ('"\u202e\x9b31m"'.encode(), b'"\\u202e\\u009b31m"'),
        (b'"\x7f"', b'"\\u007f"'),
        (b'"\xff"', '"\ufffd"'.encode()),
        (b'"\xed\xa0\x80"', '"\ufffd\ufffd\ufffd"'.encode()),
        (b'"\\ud800"', b'"\\ufffd"'),
        (b'"\\ud83d\\ude00"', b'"\\ud83d\\ude00"'),
    ],
    ids=[
        "plain",
        "letters",
        "breaks",
        "controls",
        "DEL",
        "bad byte",
        "bad surrogate",
        "half",
        "pair",
    ],
)
def test_bytes_are_changed_only_where_a_line_must_not_carry_them(raw: bytes, line: bytes) -> None:
    assert one_line(raw) == line


def test_a_cloud_event_has_every_attribute() -> None:
    found = evolve(event(1), subject="step-7", origin=ORIGIN, seq=42)

    line = cloudevent(found)

    assert json.loads(line) == {
        "specversion": "1.0",
        "id": "evt-1",
        "source": "https://api.kapso.ai/executions/run-1",
        "partitionkey": "run-1",
        "type": "kapso.step_completed",
        "kind": "step.completed",
        "time": "2026-01-02T00:00:01.000000Z",
        "subject": "step-7",
        "sequence": "00000000000000000042",
        "datacontenttype": "application/json",
        "data": {"n": 1, "of": "run-1"},
    }


def test_a_cloud_event_leaves_out_what_is_unknown() -> None:
    members = json.loads(cloudevent(event(1, kind=None)))

    assert {"kind", "subject", "sequence"}.isdisjoint(members)
    assert (members["source"], members["type"]) == ("urn:levada:run-1", "step_completed")


def test_the_vendors_bytes_are_carried_as_they_are() -> None:
    raw = b'{"b": 1.10, "a":  [1e400, 12345678901234567890]}'

    line = cloudevent(evolve(event(1), raw=raw))

    assert line.endswith(b',"data":' + raw + b"}")


@given(EVENTS)
def test_a_cloud_event_is_always_one_line_of_json(found: Event) -> None:
    line = cloudevent(found)

    members = json.loads(line)
    assert len(lines(line)) == 1
    assert members["data"] == found.data


@given(name=TEXT, partition=TEXT, kind=TEXT)
def test_names_come_through_as_they_are(name: str, partition: str, kind: str) -> None:
    found = Event(name, type=name, time=START, partition=partition, raw=b"{}", kind=kind or None)

    members = json.loads(cloudevent(found))

    assert (members["id"], members["type"], members["partitionkey"]) == (name, name, partition)
    assert members.get("kind", "") == kind


def test_an_equal_event_gives_equal_bytes() -> None:
    assert cloudevent(event(1)) == cloudevent(evolve(event(1)))


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-01-02T03:04:05.000006Z"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00.000000Z"),
        (
            datetime(2026, 1, 2, 1, tzinfo=timezone(timedelta(hours=2))),
            "2026-01-01T23:00:00.000000Z",
        ),
        (datetime(2026, 1, 2, tzinfo=timezone.min), "2026-01-02T23:59:00.000000Z"),
    ],
    ids=["micros", "midnight", "elsewhere", "far west"],
)
def test_times_are_utc_with_six_decimals(moment: datetime, text: str) -> None:
    assert timestamp(moment) == text


def test_a_type_is_the_connectors_own() -> None:
    assert event_type(event(1)) == "step_completed"
    assert event_type(evolve(event(1), origin=ORIGIN)) == "kapso.step_completed"
