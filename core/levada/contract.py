"""Holds what connectors yield and raise to the contract; a breach is an error that names them."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec
from attrs import evolve

from levada import codec
from levada._json import Json
from levada.asking import is_unicode
from levada.batch import Batch, Checkpoint, Partition, Rejected
from levada.calls import Calls, Crashed
from levada.copies import (
    in_plain_types,
    own,
    own_bytes,
    own_json,
    own_order,
    own_partition,
    own_text,
)
from levada.errors import Closed, Failure, PluginError, Reject
from levada.event import Event


class Contract:
    """The promises of one connector, each checked where it is relied on."""

    def __init__(self, calls: Calls) -> None:
        self._broken = calls.broken

    def discovered(self, found: object) -> Partition | Checkpoint:
        """Return a copy of what `partitions` yielded, but for the position of a checkpoint.

        Raises:
            PluginError: it is neither a partition nor a checkpoint.
        """
        if isinstance(found, Checkpoint):
            if fault := _fault_of_checkpoint(found):
                raise self._broken(f"yielded a Checkpoint from partitions() {fault}")
            # Not a copy of the position: reads may add to it until it is stored.
            return evolve(found, settled=own_order(found.settled))
        if not isinstance(found, Partition):
            kind = type(found).__name__
            reason = f"yielded {kind} from partitions(); it must be a Partition or a Checkpoint"
            raise self._broken(reason)
        key: object = found.key
        if not isinstance(key, str):
            kind = type(key).__name__
            reason = f"yielded a Partition from partitions() whose key is {kind}; it must be str"
            raise self._broken(reason)
        if fault := _fault_of_partition(found):
            raise self._broken(f"yielded a Partition from partitions() {fault}")
        return own_partition(found)

    def batch(self, partition: Partition, batch: object) -> Batch:
        """Return a copy of what `read` yielded about *partition*, fit for the journal and every sink.

        It is all taken at once: the source may go on with its own before this one is written.

        Raises:
            Crashed: something in it is of the wrong type.
            PluginError: it is no batch, or about another partition.
        """
        if not isinstance(batch, Batch):
            kind = type(batch).__name__
            raise self._broken(f"yielded {kind} from read(); it must be a Batch")
        learnt = self._learnt(partition, batch.partition)
        for part in ("events", "rejected"):
            if not isinstance(found := getattr(batch, part), Iterable):
                kind = type(found).__name__
                reason = (
                    f"yielded a Batch from read() whose {part} are {kind}; they must be a sequence"
                )
                raise self._broken(reason, kind=Crashed)
        rejected = self._rejected(batch.rejected)
        events = self._events(partition, batch.events, rejected)
        position = self._position(batch.position)
        return Batch(events, position=position, rejected=rejected, partition=learnt)

    def _learnt(self, partition: Partition, learnt: object) -> Partition | None:
        """Return what a read learnt of its *partition*."""
        if learnt is None:
            return None
        if not isinstance(learnt, Partition):
            kind = type(learnt).__name__
            reason = (
                f"yielded a Batch from read() whose partition is {kind}; it must be a Partition"
            )
            raise self._broken(reason, kind=Crashed)
        if learnt.key != partition.key:
            reason = f"yielded a batch about another partition than {partition.key!r}"
            raise self._broken(reason)
        if fault := _fault_of_partition(learnt):
            raise self._broken(f"yielded a Batch from read() of a Partition {fault}", kind=Crashed)
        return own_partition(learnt)

    def _rejected(self, found: Iterable[Rejected]) -> list[Rejected]:
        rejected = list(found)
        if fault := _fault_of_rejected(rejected):
            raise self._broken(f"yielded a Batch from read() that rejects {fault}", kind=Crashed)
        return [Rejected(own_bytes(it.raw), reason=own_text(it.reason)) for it in rejected]

    def _events(
        self, partition: Partition, found: Iterable[Event], rejected: list[Rejected]
    ) -> list[Event]:
        """Return the events that are fit to be kept, and add the others to *rejected*."""
        events = []
        for each in found:
            event = self._event(each)
            if event.partition != partition.key:
                reason = f"yielded an event of another partition than {partition.key!r}"
                raise self._broken(reason)
            reason = _unfit(event)
            raw = None if reason else _record(event.raw)
            if raw is None:
                rejected.append(Rejected(event.raw, reason=reason or "it is no JSON"))
            else:
                events.append(event if raw == event.raw else evolve(event, raw=raw))
        return events

    def _event(self, found: object) -> Event:
        if not isinstance(found, Event):
            kind = type(found).__name__
            reason = f"yielded a Batch from read() that holds {kind}; it must hold Events"
            raise self._broken(reason, kind=Crashed)
        event = own(found)
        if _is_sound(event):
            return event
        if fault := _fault_of_event(event):
            raise self._broken(f"yielded {fault}", kind=Crashed)
        return in_plain_types(event)

    def _position(self, position: Json) -> Json:
        try:
            return own_json(position)
        except (TypeError, ValueError, RecursionError):
            kind = type(position).__name__
            reason = f"yielded a Batch from read() whose position is {kind}, which is no JSON"
            raise self._broken(reason, kind=Crashed) from None

    def failure(self, failure: Failure, events: Sequence[Event]) -> Failure:
        """Return what `write` raised about *events*; of a `Reject` a copy.

        Raises:
            PluginError: it says what cannot be.
        """
        if fault := _fault_of_failure(failure, events):
            raise self._broken(fault) from failure
        if isinstance(failure, Reject):
            reasons = {event: own_text(reason) for event, reason in failure.reasons.items()}
            return Reject(reasons, receipt=failure.receipt)
        return failure

    def held(self, held: object) -> int | None:
        """Return what `resume` returned.

        Raises:
            PluginError: it is no sequence number.
        """
        if held is None:
            return None
        if not isinstance(held, int) or isinstance(held, bool):
            kind = type(held).__name__
            raise self._broken(f"returned {kind} from resume(); it must be an int or None")
        if abs(held) >= _TOO_LARGE:
            raise self._broken("returned a number of more than 18 digits from resume()")
        return held

    def lanes(self, lanes: object) -> int:
        """Return the `lanes` of a sink.

        Raises:
            PluginError: they are no number of lanes.
        """
        if not isinstance(lanes, int) or lanes < 1:
            raise self._broken(f"has {lanes!r} for lanes; it must be an int of at least 1")
        return lanes

    def no_receipt(self, receipt: object) -> PluginError:
        """Return the error of a `write` that returned what is no JSON."""
        kind = type(receipt).__name__
        return self._broken(f"returned {kind} from write(); it must be JSON")


_TOO_LARGE = 10**18
"""Numbers from here on do not fit into a journal."""


def _fault_of_rejected(rejected: Iterable[object]) -> str:
    """Return what is wrong with what a batch rejects; "" if nothing is."""
    for each in rejected:
        if not isinstance(each, Rejected):
            return f"{type(each).__name__}; it must be Rejected"
        raw: object = each.raw
        if not isinstance(raw, bytes):
            return f"a raw of {type(raw).__name__}; it must be bytes"
        if not is_unicode(each.reason):
            return f"for {each.reason!r}, which is no Unicode text"
    return ""


def _fault_of_checkpoint(checkpoint: Checkpoint) -> str:
    """Return what is wrong in a checkpoint; "" if nothing is."""
    if not _is_json(checkpoint.position):
        return f"whose position is {type(checkpoint.position).__name__}, which is no JSON"
    return _fault_of_order("settled", checkpoint.settled)


def _fault_of_partition(partition: Partition) -> str:
    """Return what is wrong in a partition besides its key's type; "" if nothing is."""
    for name in ("version", "memo"):
        value = getattr(partition, name)
        if not (value is None or _is_json(value)):
            return f"whose {name} is {type(value).__name__}, which is no JSON"
    for name, text in (("key", partition.key), ("uri", partition.uri or "")):
        if not is_unicode(text):
            return f"whose {name} is {text!r}, which is no Unicode text"
    changed: object = partition.changed
    if not (changed is None or (isinstance(changed, datetime) and _is_moment(changed))):
        return f"whose changed is {changed!r}; it must be an aware datetime"
    final: object = partition.final
    if not isinstance(final, bool):
        return f"whose final is {type(final).__name__}; it must be a bool"
    return _fault_of_order("order", partition.order)


def _fault_of_order(name: str, order: object) -> str:
    """Return what is wrong with what partitions are sorted by; "" if nothing is."""
    if isinstance(order, datetime) and not _is_moment(order):
        return f"whose {name} is {order!r}; a datetime must be aware"
    if isinstance(order, int) and abs(order) >= _TOO_LARGE:
        return f"whose {name} has more than 18 digits"
    if not (order is None or isinstance(order, datetime | int) or is_unicode(order)):
        return f"whose {name} is {type(order).__name__}; it must be a datetime, an int or a str"
    return ""


def _is_json(value: object) -> bool:
    if not is_unicode(value):
        try:
            json.dumps(value).encode()
        except (TypeError, ValueError, RecursionError):
            return False
    return True


def _is_moment(time: datetime) -> bool:
    """Whether *time* is aware and can be told in UTC."""
    try:
        return time.utcoffset() is not None and bool(time.astimezone(UTC))
    except OverflowError:
        return False


def _is_sound(event: Event) -> bool:
    """Whether an event is surely of the right types; asked of every one, so it has to be quick."""
    return (
        event.__class__ is Event
        and event.id.__class__ is str
        and event.type.__class__ is str
        and event.partition.__class__ is str
        and event.raw.__class__ is bytes
        and event.time.__class__ is datetime
        and event.time.tzinfo is UTC
        and (event.subject is None or event.subject.__class__ is str)
        and (event.kind is None or event.kind.__class__ is str)
    )


def _fault_of_event(event: Event) -> str:
    """Return which type in an event is wrong; "" if none is."""
    texts = [(name, str) for name in ("id", "type", "partition")]
    for name, expected in (*texts, ("raw", bytes), ("time", datetime)):
        if not isinstance(value := getattr(event, name), expected):
            kinds = f"{type(value).__name__}; it must be {expected.__name__}"
            return f"an Event from read() whose {name} is {kinds}"
    for name in ("subject", "kind"):
        if not isinstance(value := getattr(event, name), str | None):
            return f"an Event from read() whose {name} is {type(value).__name__}; it must be str"
    if event.time.utcoffset() is None:
        return "an Event from read() whose time has no zone; it must be aware"
    if not _is_moment(event.time):
        return f"an Event from read() whose time is {event.time}; UTC has no such year"
    return ""


def _record(raw: bytes) -> bytes | None:
    """Return a record as one line of JSON; None if it is none.

    Most are as they should be: `levada.page` sees to that, but others may not.
    """
    line = raw if codec.is_plain(raw) else codec.one_line(raw)
    if _is_json_text(line):
        return line
    mended = codec.mended(line)
    return mended if _is_json_text(mended) else None


def _is_json_text(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True


def _unfit(event: Event) -> str:
    """Return what keeps *event* from being delivered to anybody, besides no JSON; "": nothing."""
    if not event.id:
        return "it has no id"
    if not is_unicode(f"{event.id}{event.type}{event.subject}{event.kind}"):
        return "a name in it is not Unicode text"
    hard = codec.hard_to_read(event.raw)
    return f"it {hard}" if hard else ""


def _fault_of_failure(failure: Failure, events: Sequence[Event]) -> str:
    """Return what is wrong with a failure raised by `write`; "" if nothing is."""
    match failure:
        case Reject():
            return _fault_of_reject(getattr(failure, "reasons", None), events)
        case Closed(written=written) if not 0 <= written <= len(events):
            of = f"{written} of {len(events)} events"
            return f"raised a Closed from write() that has written {of}"
    return ""


def _fault_of_reject(reasons: object, events: Sequence[Event]) -> str:
    """Return what is wrong with the reasons of a rejection; "" if nothing is."""
    if not isinstance(reasons, dict):
        kind = type(reasons).__name__
        return f"raised a Reject from write() whose reasons are {kind}; they must be a dict"
    if not reasons.keys() <= {(event.partition, event.id) for event in events}:
        return "rejected an event from write() that is not in the delivery"
    for reason in reasons.values():
        if not isinstance(reason, str):
            kind = type(reason).__name__
            return f"rejected an event from write() with a reason of {kind}; it must be str"
        if not is_unicode(reason):
            return "rejected an event from write() with a reason that is no Unicode text"
    return ""
