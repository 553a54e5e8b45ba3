"""Compares what a vendor shows with what the journal took: is anything missing, or too much?

The source is read from its beginning as if for the first time, without touching its position;
only executions that changed within the window are read. It costs as many requests as that takes.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from attrs import define, field, frozen

from levada._json import Json
from levada.batch import Batch, Checkpoint, Partition, sortable
from levada.host import Host
from levada.intake import Intake
from levada.journal.record import Record, Taken, recorded
from levada.journal.rows import longest
from levada.setup import SourceSetup
from levada.state import CLOSED, Kept, Stage, Tracked

UNKNOWN: Final = "?"


@frozen
class Difference:
    """An event that only one side has."""

    partition: str
    id: str
    """``?`` where the journal no longer knows the ids, but their number is another."""

    time: datetime
    type: str = ""
    """The vendor's; "" where the vendor does not show it."""


@define
class Verdict:
    """What came of comparing one source."""

    source: str
    partitions: int = 0
    """Those that changed within the window."""

    events: int = 0
    """Those of the vendor within the window."""

    missing: list[Difference] = field(factory=list)
    """The vendor shows them; the journal says that it has read that partition to its end."""

    extra: list[Difference] = field(factory=list)
    """The journal took them; the vendor does not show them any more."""

    unread: list[Difference] = field(factory=list)
    """The vendor shows them, and the next run will read them."""

    forgotten: int = 0
    """Partitions that closed so long ago that nothing is left to compare with."""

    requests: int = 0


async def verify(setup: SourceSetup, host: Host, since: datetime) -> Verdict:
    """Compare what *setup*'s vendor shows of the time from *since* on with the journal.

    Closes *host* at the end.

    Raises:
        SourceError, PluginError: the source cannot be read.
        StateError: there is no journal that can be read.
    """
    verdict = Verdict(setup.name)
    inventory = _Inventory(since, host.settings.max_event_bytes)
    intake = Intake(setup, inventory, host, wants=inventory.wants)
    try:
        with recorded(host.settings.state, setup.name) as record:
            await intake.run()
            if intake.unread:
                raise intake.unread
            _compare(inventory, record, verdict, since)
    finally:
        verdict.requests = intake.report().requests
        await intake.close()
        await host.close()
    return verdict


@define
class _Shown:
    """What the vendor shows of one partition."""

    partition: Partition
    events: dict[str, tuple[datetime, str]] = field(factory=dict)


class _Inventory:
    """A state that remembers nothing, and notes what goes by: ids, times and types."""

    position: Json = None

    def __init__(self, since: datetime, max_event_bytes: int) -> None:
        self.shown: dict[str, _Shown] = {}
        self._since = since
        self._most = max_event_bytes

    def wants(self, partition: Partition) -> bool:
        """Whether a partition may have an event within the window."""
        return partition.changed is None or partition.changed >= self._since

    def tracked(self, key: str) -> Tracked | None:  # noqa: ARG002  # nothing is
        return None

    def unfinished(self) -> Mapping[str, Tracked]:
        return {}

    def known(self, key: str, ids: Iterable[str]) -> set[str]:
        shown = self.shown.get(key)
        return set(ids).intersection(shown.events) if shown else set()

    def count(self, key: str) -> int:
        shown = self.shown.get(key)
        return len(shown.events) if shown else 0

    async def room(self, batch: Batch) -> None:
        """There always is."""

    def keep(self, partition: Partition, batch: Batch) -> Awaitable[Kept]:
        shown = self.shown.setdefault(partition.key, _Shown(partition))
        for event in batch.events:
            if longest(event) <= self._most:  # else it is a dead letter
                shown.events[event.id] = (event.time, event.type)
        return _done()

    def settle(self, partition: Partition, stage: Stage) -> Awaitable[object]:
        if stage != "gone":
            self.shown.setdefault(partition.key, _Shown(partition)).partition = partition
        return _done()

    def checkpoint(self, checkpoint: Checkpoint) -> Awaitable[object]:  # noqa: ARG002
        return _done()


def _done() -> "asyncio.Future[Kept]":
    done: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
    done.set_result(Kept())
    return done


def _compare(inventory: _Inventory, record: Record, verdict: Verdict, since: datetime) -> None:
    newest = record.newest_order
    verdict.partitions = len(inventory.shown)
    for key, shown in inventory.shown.items():
        taken = record.taken(key)
        recent = {name: each for name, each in shown.events.items() if each[0] >= since}
        verdict.events += len(recent)
        if taken is None:
            _not_taken(shown, recent, newest, verdict)
            continue
        absent = _absent(shown, recent, taken)
        is_unchanged = taken.version == shown.partition.version is not None
        # One that lingers is read once more, for what has come late.
        is_read = taken.stage in CLOSED or (is_unchanged and taken.stage != "lingering")
        (verdict.missing if is_read else verdict.unread).extend(absent)
        verdict.extra.extend(_extra(key, shown, taken, since))
    for key in record.keys_since(since) - inventory.shown.keys():
        if (taken := record.taken(key)) is not None:
            verdict.extra.extend(_extra(key, None, taken, since))
    for found in (verdict.missing, verdict.extra, verdict.unread):
        found.sort(key=lambda each: (each.time, each.partition, each.id))


def _not_taken(
    shown: _Shown,
    recent: Mapping[str, tuple[datetime, str]],
    newest: str | None,
    verdict: Verdict,
) -> None:
    """Judge a partition that the journal does not know: it is new, was forgotten, or is missing."""
    order = sortable(shown.partition.order)
    differences = [_difference(shown.partition.key, name, each) for name, each in recent.items()]
    if newest is None or order is None or order > newest:
        verdict.unread.extend(differences)
    elif shown.partition.final and len(recent) < len(shown.events):
        verdict.forgotten += 1
    else:
        verdict.missing.extend(differences)


def _absent(
    shown: _Shown, recent: Mapping[str, tuple[datetime, str]], taken: Taken
) -> Sequence[Difference]:
    """Return what the journal has not taken of a partition."""
    key = shown.partition.key
    unknown = {name: each for name, each in recent.items() if name not in taken.ids}
    if taken.is_whole:
        return [_difference(key, name, each) for name, each in unknown.items()]
    # Ids of events that went long ago are not kept. Their number is.
    known = len(taken.ids.intersection(shown.events))
    lacking = len(shown.events) - known - (taken.events - len(taken.ids))
    oldest_first = sorted(unknown.values())
    return [Difference(key, UNKNOWN, *each) for each in oldest_first[: max(lacking, 0)]]


def _extra(key: str, shown: _Shown | None, taken: Taken, since: datetime) -> Iterable[Difference]:
    events = shown.events if shown else {}
    return (
        Difference(key, name, time)
        for name, time in taken.times.items()
        if time >= since and name not in events
    )


def _difference(key: str, name: str, each: tuple[datetime, str]) -> Difference:
    return Difference(key, name, *each)
