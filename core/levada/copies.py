"""Copies of what the host and plugins hand to each other: what one does to its own, no other sees.

They are of plain types: those of a plugin's own may do as they like whenever they are asked.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from attrs import evolve

from levada._json import Json
from levada.batch import Order, Partition
from levada.event import Event, Origin


def own(event: Event) -> Event:
    """Return a copy, which whoever has the other cannot spoil."""
    copy: Event = object.__new__(type(event))
    copy.__dict__.update(event.__dict__)
    copy.__dict__.pop("data", None)
    return copy


def own_all(events: Iterable[Event]) -> list[Event]:
    """Return copies of events, and of where they came from: neighbours mostly share that."""
    copies = []
    shared: Origin | None = None
    origin: Origin | None = None
    for event in events:
        if event.origin is not shared:
            shared = event.origin
            origin = shared and evolve(shared)
        copy = own(event)
        copy.__dict__["origin"] = origin
        copies.append(copy)
    return copies


def own_partition(partition: Partition) -> Partition:
    """Return a copy that holds nothing of a plugin's."""
    return Partition(
        own_text(partition.key),
        version=own_json(partition.version),
        order=own_order(partition.order),
        final=partition.final,
        changed=None if partition.changed is None else own_time(partition.changed),
        uri=None if partition.uri is None else own_text(partition.uri),
        memo=own_json(partition.memo),
    )


def own_order(order: Order) -> Order:
    """Return an order of a plain type."""
    match order:
        case datetime():
            return own_time(order)
        case str():
            return own_text(order)
        case _:
            return order


def in_plain_types(event: Event) -> Event:
    """Return an event that holds nothing of a plugin's: its kinds of text do as they like."""
    return Event(
        own_text(event.id),
        type=own_text(event.type),
        time=own_time(event.time),
        partition=own_text(event.partition),
        raw=own_bytes(event.raw),
        subject=None if event.subject is None else own_text(event.subject),
        kind=None if event.kind is None else own_text(event.kind),
    )


def own_text(text: str) -> str:
    """Return plain text, also of what is more than that, such as an enum's member."""
    return str.__str__(text)


def own_bytes(raw: bytes) -> bytes:
    """Return plain bytes."""
    return bytes(memoryview(raw))


def own_time(time: datetime) -> datetime:
    """Return a plain datetime in UTC."""
    return datetime.fromisoformat(datetime.isoformat(time)).astimezone(UTC)


def own_json(value: Json) -> Json:
    """Return a copy of what is JSON.

    Raises:
        TypeError, ValueError, RecursionError: it is none.
    """
    return json.loads(json.dumps(value))
