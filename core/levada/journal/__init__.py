"""The journal: one SQLite file between a pipeline's sources and its sinks.

Events and the positions they bring a source to commit in one transaction; every sink reads behind
a cursor of its own. One process at a time, one connection and one thread that write.

``state.db`` is the journal, ``state.lock`` says who is using it, and ``state.db.sums`` what the
journal was like when it was last written.
"""

import asyncio
import logging
import math
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Self

from levada.errors import StateError
from levada.event import Event, Origin
from levada.host import Finding
from levada.journal import checksums, diagnostics, making, opening, seen, upkeep
from levada.journal.deliveries import Outstanding, keep_waits
from levada.journal.files import FILE, has_log, settle
from levada.journal.folder import prepare
from levada.journal.lock import locked
from levada.journal.pruning import pruned, shrunk
from levada.journal.room import Room, bound_log, taken
from levada.journal.rows import COLUMNS, DAMAGED, damaged_event, event_of
from levada.journal.sinks import Cursor
from levada.journal.sources import SourceState
from levada.journal.tail import Tail
from levada.journal.trouble import told
from levada.journal.writer import Write, Writer
from levada.setup import Settings, SinkSetup, SourceSetup

__all__ = ["Cursor", "Journal", "Outstanding", "SourceState"]

log: logging.Logger = logging.getLogger("levada.journal")

ORIGINS_KEPT = 10_000


class Journal:
    """The journal of one pipeline, open for writing."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._origins: dict[int, tuple[str, Origin]] = {}
        self._sinks: list[str] = []
        self.room: Room = Room(self, settings.max_journal_bytes)
        self._tail = Tail()
        self.uuid: str
        """Unlike that of any other journal."""
        self._is_noted = True
        self._path = settings.state / FILE
        with ExitStack() as stack:
            prepare(settings.state)
            stack.enter_context(locked(settings.state))
            with told(self._path, "opened"):
                self._open(self._path, stack)
            self._closing = stack.pop_all()

    def _open(self, path: Path, stack: ExitStack) -> None:
        stack.callback(self._note)
        settle(path)
        if making.made_in(path.parent) is None:
            making.create(path)
        unclean = has_log(path)
        opening.check_is_file(path)
        found = upkeep.found(path)
        stack.callback(checksums.let_go, path)
        self._reader = opening.look(path, found.sums)
        checksums.take_in_hand(path)
        stack.callback(self._reader.close)
        opening.check_whole(self._reader, path, unclean=unclean)
        self._reader.execute("PRAGMA query_only = ON")
        self._writing = opening.connect(path)
        stack.callback(self._writing.close)
        pages = bound_log(self._writing, self.settings.max_journal_bytes)
        self.uuid = self._name()
        taken(self.read)  # what is damaged is refused now, not in the middle of a run
        self._upkeep = upkeep.Upkeep(self._writing, path, log_pages=pages, found=found)
        keep_waits(self._writing)
        self._writer = Writer(self._writing, path, self._upkeep)

    def _name(self) -> str:
        rows = self.read("SELECT value FROM meta WHERE name = 'journal'")
        if not rows:
            raise StateError(DAMAGED)
        return str(rows[0][0])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Finish the writes under way, close the file, let the next process have it."""
        with self._closing:
            await self._writer.close()
            self._reader.close()
            self._is_noted = self._upkeep.end()

    def _note(self) -> None:
        """Note what it is like now that it is closed, where that was not done before."""
        if not self._is_noted:
            with suppress(OSError):  # it is closed all the same
                checksums.note(self._path)

    async def source(self, setup: SourceSetup, *, accept_identity_change: bool) -> SourceState:
        """Return what a source's intake remembers, entering the source if it is new."""
        state = SourceState(setup, self)
        await state.register(accept_identity_change=accept_identity_change)
        return state

    async def cursor(self, setup: SinkSetup, *, accept_identity_change: bool) -> Cursor:
        """Return a sink's place in the journal, entering the sink if it is new."""
        cursor = Cursor(setup, self)
        await cursor.register(accept_identity_change=accept_identity_change)
        self._sinks.append(setup.name)
        return cursor

    def warn_of_removed_sinks(self) -> None:
        """Name the sinks that the journal knows and the pipeline no longer has."""
        for (name,) in self.read("SELECT name FROM sink ORDER BY name"):
            if name not in self._sinks:
                log.warning("sink '%s' is no longer in the pipeline; nothing is kept for it", name)

    def read(self, query: str, *values: object) -> list[Any]:
        """Run a query on what is committed."""
        with told(self._path, "read"):
            return self._reader.execute(query, values).fetchall()

    def known(self, partition: int, ids: Collection[str]) -> set[str]:
        """Return those of *ids* that were seen in the partition of that row id."""
        with told(self._path, "read"):
            return seen.known(self._reader, partition, ids)

    def write(
        self, write: Write[Any], *, urgent: bool = False, of: object = None
    ) -> "asyncio.Future[Any]":
        """Queue a write; what is returned resolves when it is durable.

        When it fails, so do all that follow of the same owner, *of*.
        """
        return self._writer.submit(write, urgent=urgent, of=of)

    @property
    def rollbacks(self) -> int:
        """How often writes were undone; what was learnt in them does not hold."""
        return self._writer.rollbacks

    async def note(self, findings: Sequence[tuple[Finding, int]]) -> None:
        """Remember what connectors reported besides events, and how often."""
        if findings:
            await self.write(lambda connection: diagnostics.note(connection, findings))

    @property
    def last_seq(self) -> int:
        """The sequence number of the newest event that is there; 0: there is none."""
        ((seq,),) = self.read("SELECT coalesce(max(seq), 0) FROM event")
        return int(seq)

    def remember(self, events: Sequence[Event]) -> None:
        """Keep events that were just committed at hand for sinks that keep up."""
        self._tail.add(events)

    def events_after(self, seq: int, limit: int, max_bytes: int) -> list[Event]:
        """Return events after *seq* in order: at most *limit*, and about *max_bytes* of them."""
        events: list[Event] = []
        size = 0
        for event in islice(self._tail.after(seq) or self._stored_after(seq, limit), limit):
            events.append(event)
            size += len(event.raw)
            if size >= max_bytes:
                break
        return events

    def _stored_after(self, seq: int, limit: int) -> Iterator[Event]:
        query = f"SELECT {COLUMNS} FROM event WHERE seq > ? ORDER BY seq LIMIT ?"
        with told(self._path, "read"):
            yield from map(self._event, self._reader.execute(query, (seq, limit)))

    def events_between(self, first: int, last: int) -> list[Event]:
        """Return the events from *first* to *last*, both included."""
        query = f"SELECT {COLUMNS} FROM event WHERE seq BETWEEN ? AND ? ORDER BY seq"
        return [self._event(row) for row in self.read(query, first, last)]

    def _event(self, row: Sequence[Any]) -> Event:
        known = self._origins.get(row[1])
        if known is None:
            if len(self._origins) >= ORIGINS_KEPT:
                self._origins.clear()
            rows = self.read(
                "SELECT key, connector, account, uri FROM partition WHERE id = ?", row[1]
            )
            if not rows:
                raise damaged_event(row[0])
            key, *origin = rows[0]
            known = self._origins[row[1]] = (key, Origin(*origin))
        return event_of(tuple(row), *known)

    async def prune(self) -> int:
        """Delete what every sink is done with and whose retention is over; return how many.

        What a sink that is no longer in the pipeline has not got does not hold anything back: that
        sink's count of dropped events grows.
        """
        until = time.time() - self.settings.retention.total_seconds()
        total = 0
        while deleted := await self._pruned(until):
            total += deleted
        while await self.write(shrunk):
            pass
        return total

    def prune_early(self) -> "asyncio.Future[int]":
        """Delete a part of what every sink is done with, retained or not; gives how many events."""
        return self._pruned(math.inf)

    def _pruned(self, until: float) -> "asyncio.Future[int]":
        return self.write(lambda connection: pruned(connection, self._sinks, until))

    def slowest_sink(self) -> str | None:
        """Return the name of the sink that has the oldest event to get; None: there is no sink."""
        return min(self._sinks, key=self._done, default=None)

    def _done(self, sink: str) -> int:
        ((done,),) = self.read(
            "SELECT min(sink.seq, coalesce((SELECT min(first) - 1 FROM delivery"
            " WHERE sink = sink.name), sink.seq)) FROM sink WHERE name = ?",
            sink,
        )
        return int(done)
