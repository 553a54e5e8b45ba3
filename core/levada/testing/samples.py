"""Events to write: ordinary ones by the number, and a few as odd as vendors have them."""

import json
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

from levada import codec
from levada._json import Json
from levada.event import Event, Origin

HUGE_BYTES: Final = 300_000

_START: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
_TYPES: Final = (
    ("run_started", "run.started"),
    ("step_completed", "step.completed"),
    ("LLM_CALL_COMPLETED", "llm.completed"),
    ("weather_changed", None),  # of no kind that we know
    ("run_failed", "run.failed"),
)
_PAYLOADS: Final[tuple[Json, ...]] = (
    {"step": "fetch", "ms": 231},
    {"model": "small-1", "cost": 0.000125, "tokens": {"in": 12, "out": 7}},
    {"path": ["a", "b"], "ok": True, "text": 'it said "yes", then C:\\temp'},
    {"text": "word " * 200},
    {"big": 2**53 + 1, "negative": -1.5e-9, "list": [[1, [2, [3]]], {}]},
)
_ODD: Final[tuple[Json, ...]] = (
    None,
    {},
    [],
    "",
    0,
    False,
    {"": ""},
    "Größe 漢字 עברית 🦅 e\u0301",
    "\u0000\u0001\u001b[31m\r\n\t",
    "\u0085\u2028\u2029\u202e",
    "'; DROP TABLE event; --",
    "<script>&amp;</script>,\t\"a\",'b'",
    list(range(1000)),
    "x" * HUGE_BYTES,
    "最" * (HUGE_BYTES // 3),
)


def events(n: int, *, partitions: int = 3, first: int = 1) -> list[Event]:
    """Return the events *first* to *first* + *n* - 1, as a journal hands them to a sink.

    The same number always makes the same event: id ``evt-<number>``, `seq` the number, spread
    over so many *partitions*. Types, kinds, subjects and payloads vary.
    """
    return [
        _event(number, _PAYLOADS[number % len(_PAYLOADS)], f"run-{number % partitions + 1}")
        for number in range(first, first + n)
    ]


def odd_events(*, first: int = 1) -> list[Event]:
    """Return events that are hard to write: empty, Unicode, controls, 300 KB; partitions to match."""
    partitions = ("run-1", "run/2?x=y", "Lauf ü 漢")
    return [
        _event(number, payload, partitions[number % len(partitions)])
        for number, payload in enumerate(_ODD, first)
    ]


def _event(number: int, payload: Json, partition: str) -> Event:
    name, kind = _TYPES[number % len(_TYPES)]
    record = json.dumps({"id": f"evt-{number}", "payload": payload}, ensure_ascii=False)
    return Event(
        f"evt-{number}",
        type=name,
        time=_START + number * timedelta(seconds=1, microseconds=7),
        partition=partition,
        raw=codec.one_line(record.encode()),
        subject=f"step-{number % 4}" if number % 4 else None,
        kind=kind,
        origin=Origin("sample", "levada.testing", f"urn:levada:sample:{quote(partition, safe='')}"),
        seq=number,
    )
