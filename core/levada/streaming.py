"""A source's events in your own program, without a pipeline: the state is yours, as JSON."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any

from attrs import define, evolve, field, frozen

from levada._json import Json
from levada.batch import Batch, Checkpoint, Partition, sortable
from levada.host import Host
from levada.intake import Intake
from levada.setup import Settings, SourceSetup
from levada.source import KEPT_IDS, Source
from levada.state import Kept, Stage, Tracked


class Stream:
    """The new events of a source, batch by batch: what `stream()` returns.

    Asking for the next batch says that the one before is dealt with; `state` covers exactly the
    batches that are. What it asks of *host* is closed when the iteration ends.
    """

    def __init__(self, setup: SourceSetup, state: Json, host: Host) -> None:
        self._setup = setup
        self._memory = _Memory(state)
        self._host = host
        self.intake: Intake = Intake(setup, self._memory, self._host)

    @property
    def state(self) -> Json:
        """The state to pass to `stream()` next time; its size goes with the open partitions."""
        return self._memory.dump()

    async def __aiter__(self) -> AsyncGenerator[Batch, None]:
        try:
            async with aclosing(self._batches()) as batches:  # its reads end before the source
                async for batch in batches:
                    yield batch
        finally:
            await self.intake.close()
            await self._host.close()

    async def _batches(self) -> AsyncGenerator[Batch, None]:
        running = asyncio.create_task(self.intake.run())
        running.add_done_callback(lambda _: self._memory.end())
        try:
            while (write := await self._memory.writes.get()) is not None:
                batch = self._memory.fresh(write)
                if batch is not None and (batch.events or batch.rejected):
                    origin = self._setup.origin(write.partition)
                    for event in batch.events:
                        event.place(origin, None)
                    yield batch
                self._memory.apply(write, batch)
            await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def stream(source: Source, state: Json = None, *, settings: Settings | None = None) -> Stream:
    """Read everything in *source* that is new since *state*; iterate over the result.

    Args:
        source: A source, not opened; it is closed when the iteration ends.
        state: None at first, later `Stream.state` of the last time.
        settings: `concurrency`, time-outs and limits.

    Raises:
        SourceError: while iterating: the source cannot go on. `Stream.state` stays good.
    """
    return Stream(SourceSetup.of(source), state, Host(settings or Settings()))


@frozen
class _Write:
    """What the intake wants kept, until the consumer has taken it: one of three things."""

    done: "asyncio.Future[Kept]"
    partition: Partition = field(factory=lambda: Partition(""))
    batch: Batch | None = None
    stage: Stage | None = None
    checkpoint: Checkpoint | None = None


@define
class _Entry:
    """One partition: what is tracked, and which events were read, oldest first, by short hash."""

    tracked: Tracked
    ids: dict[str, None] = field(factory=dict)
    count: int = 0


class _Memory:
    """The intake's state, in memory. Writes wait in a queue, in order, for the consumer."""

    def __init__(self, saved: Json) -> None:
        saved = saved or {"position": None, "partitions": {}}
        self.position: Json = saved["position"]
        self.writes: asyncio.Queue[_Write | None] = asyncio.Queue()
        self._entries = {key: _loaded(key, each) for key, each in saved["partitions"].items()}

    def dump(self) -> Json:
        partitions = {key: _dumped(entry) for key, entry in self._entries.items()}
        return {"position": self.position, "partitions": partitions}

    def end(self) -> None:
        self.writes.put_nowait(None)

    def tracked(self, key: str) -> Tracked | None:
        entry = self._entries.get(key)
        return entry.tracked if entry else None

    def unfinished(self) -> Mapping[str, Tracked]:
        tracked = {key: entry.tracked for key, entry in self._entries.items()}
        return {key: each for key, each in tracked.items() if each.stage in {"open", "lingering"}}

    def known(self, key: str, ids: Iterable[str]) -> set[str]:
        entry = self._entries.get(key)
        return {name for name in ids if _short(name) in entry.ids} if entry else set()

    def count(self, key: str) -> int:
        entry = self._entries.get(key)
        return entry.count if entry else 0

    async def room(self, batch: Batch) -> None:
        """There always is: the intake waits for its writes."""

    def keep(self, partition: Partition, batch: Batch) -> "asyncio.Future[Kept]":
        return self._queue(partition=partition, batch=batch)

    def settle(self, partition: Partition, stage: Stage) -> "asyncio.Future[Kept]":
        return self._queue(partition=partition, stage=stage)

    def checkpoint(self, checkpoint: Checkpoint) -> "asyncio.Future[Kept]":
        return self._queue(checkpoint=checkpoint)

    def _queue(self, **what: Any) -> "asyncio.Future[Kept]":
        write = _Write(asyncio.get_running_loop().create_future(), **what)
        self.writes.put_nowait(write)
        return write.done

    def fresh(self, write: _Write) -> Batch | None:
        """Return the write's batch without what was read before."""
        if write.batch is None:
            return None
        known = self.known(write.partition.key, (event.id for event in write.batch.events))
        fresh = {event.id: event for event in write.batch.events if event.id not in known}
        return evolve(write.batch, events=list(fresh.values()))

    def apply(self, write: _Write, batch: Batch | None) -> None:
        """Make a write true; *batch* is what `fresh` made of it."""
        if batch is not None:
            self._kept(write.partition, batch)
        if write.stage is not None:
            self._settled(write.partition, write.stage)
        if write.checkpoint is not None:
            self._checkpointed(write.checkpoint)
        if not write.done.done():
            kept = Kept(len(batch.events), len(batch.rejected)) if batch else Kept()
            write.done.set_result(kept)

    def _kept(self, partition: Partition, batch: Batch) -> None:
        unread = Tracked(evolve(partition, version=None))
        entry = self._entries.setdefault(partition.key, _Entry(unread))
        entry.ids.update(dict.fromkeys(_short(event.id) for event in batch.events))
        entry.count += len(batch.events)
        if batch.position is not None:
            entry.tracked = evolve(entry.tracked, position=batch.position)

    def _settled(self, partition: Partition, stage: Stage) -> None:
        entry = self._entries.setdefault(partition.key, _Entry(Tracked(partition)))
        entry.tracked = Tracked(partition, entry.tracked.position, stage)
        if stage in {"closed", "gone"}:
            entry.ids = dict.fromkeys(list(entry.ids)[-KEPT_IDS:])

    def _checkpointed(self, checkpoint: Checkpoint) -> None:
        self.position = checkpoint.position
        below = sortable(checkpoint.settled)
        if below is not None:
            entries = self._entries.items()
            self._entries = {key: each for key, each in entries if not _is_settled(each, below)}


def _is_settled(entry: _Entry, below: str) -> bool:
    order = sortable(entry.tracked.partition.order)
    return entry.tracked.stage in {"closed", "gone"} and order is not None and order < below


def _short(name: str) -> str:
    """Return 11 characters that stand for an id; two of a partition practically never share them."""
    return base64.b64encode(hashlib.blake2b(name.encode(), digest_size=8).digest())[:11].decode()


def _dumped(entry: _Entry) -> Json:
    partition, stage = entry.tracked.partition, entry.tracked.stage
    saved = {
        "version": partition.version,
        "stage": stage,
        "position": entry.tracked.position,
        "count": entry.count,
        "ids": list(entry.ids),
    }
    more: Json = {"order": sortable(partition.order)}
    if stage in {"open", "lingering"}:  # read again though discovery may not show it
        changed = partition.changed and partition.changed.isoformat()
        more |= {
            "final": partition.final,
            "changed": changed,
            "uri": partition.uri,
            "memo": partition.memo,
        }
    return saved | {name: value for name, value in more.items() if value}


def _loaded(key: str, saved: Json) -> _Entry:
    changed = saved.get("changed")
    partition = Partition(
        key,
        version=saved["version"],
        order=saved.get("order"),
        final=saved.get("final", False),
        changed=changed and datetime.fromisoformat(changed),
        uri=saved.get("uri"),
        memo=saved.get("memo"),
    )
    tracked = Tracked(partition, saved["position"], saved["stage"])
    return _Entry(tracked, dict.fromkeys(saved["ids"]), saved["count"])
