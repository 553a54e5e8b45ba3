"""The source side of the journal: what an intake remembers, and the events it keeps."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from levada._json import Json
from levada.batch import Batch, Checkpoint, Partition, Rejected, sortable
from levada.errors import StateError
from levada.event import Event
from levada.journal import dead_letters, seen
from levada.journal.room import grow
from levada.journal.rows import fits, longest, moment, room_of, row_of, size_of, stored
from levada.setup import SourceSetup
from levada.source import KEPT_IDS
from levada.state import CLOSED, Kept, Stage, Tracked

if TYPE_CHECKING:
    from levada.journal import Journal

PARTS = 8
"""What is no event is kept up to this part of the journal, so that one item does not fill it."""

_PARTITION = "key, uri, position, version, sorting, final, changed, memo, state"


class SourceState:
    """Implements `levada.intake.State` for one source of the pipeline."""

    def __init__(self, setup: SourceSetup, journal: "Journal") -> None:
        self._setup = setup
        self._journal = journal
        self._identity = (setup.source.name, setup.account)
        self._most_bytes = journal.settings.max_event_bytes
        self._most_kept = journal.settings.max_journal_bytes // PARTS
        self._rows: dict[str, int] = {}  # partition key -> row id, while it is being read
        self._rollbacks = 0  # when the above were learnt

    async def register(self, *, accept_identity_change: bool = False) -> None:
        """Enter the source into the journal.

        Raises:
            StateError: a source of this name read from another account.
        """
        query = "SELECT connector, account FROM source WHERE name = ?"
        stored = self._journal.read(query, self._setup.name)
        if stored and stored[0] != self._identity and not accept_identity_change:
            raise StateError(
                f"source '{self._setup.name}' was {stored[0][0]} at {stored[0][1]!r} and is now"
                f" {self._identity[0]} at {self._identity[1]!r}; give it another name, or run once"
                " with --accept-identity-change"
            )
        if not stored or stored[0] != self._identity:
            await self._journal.write(self._enter)

    def _enter(self, connection: sqlite3.Connection) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO source (name, connector, account) VALUES (?, ?, ?)",
            (self._setup.name, *self._identity),
        )

    @property
    def position(self) -> Json:
        """The position of the last checkpoint."""
        ((position,),) = self._journal.read(
            "SELECT position FROM source WHERE name = ?", self._setup.name
        )
        return stored(position)

    def tracked(self, key: str) -> Tracked | None:
        """Return what is remembered of a partition."""
        rows = self._journal.read(
            f"SELECT {_PARTITION} FROM partition WHERE connector = ? AND account = ? AND key = ?",
            *self._identity,
            key,
        )
        return _tracked(rows[0]) if rows else None

    def unfinished(self) -> Mapping[str, Tracked]:
        """Return the partitions of this source that are open or lingering."""
        rows = self._journal.read(
            f"SELECT {_PARTITION} FROM partition"
            " WHERE source = ? AND state IN ('open', 'lingering') ORDER BY id",
            self._setup.name,
        )
        return {row[0]: _tracked(row) for row in rows}

    def known(self, key: str, ids: Iterable[str]) -> set[str]:
        """Return those of *ids* that the journal has seen in a partition."""
        rows = self._journal.read(
            "SELECT id FROM partition WHERE connector = ? AND account = ? AND key = ?",
            *self._identity,
            key,
        )
        return self._journal.known(rows[0][0], set(ids)) if rows else set()

    def count(self, key: str) -> int:
        """Return how many events of a partition were ever kept."""
        rows = self._journal.read(
            "SELECT events FROM partition WHERE connector = ? AND account = ? AND key = ?",
            *self._identity,
            key,
        )
        return int(rows[0][0]) if rows else 0

    async def room(self, batch: Batch) -> None:
        """Wait while the journal is too full for a batch."""
        await self._journal.room.wait(self._size(batch))

    def keep(self, partition: Partition, batch: Batch) -> Awaitable[Kept]:
        """Keep a batch and its position in one transaction."""
        position = _json(batch.position)  # here, because in the write it would fail others' too
        new: list[Event] = []

        def write(connection: sqlite3.Connection) -> Kept:
            new[:] = self._keep(connection, partition, batch, position)
            return Kept(len(new), self._bury(connection, partition, batch))

        def remember(done: "asyncio.Future[Kept]") -> None:
            if not done.cancelled() and done.exception() is None:
                self._journal.remember(new)
            self._journal.room.expect(-expected)

        expected = self._size(batch)
        self._journal.room.expect(expected)
        kept = self._journal.write(write, of=self)
        kept.add_done_callback(remember)
        return kept

    def settle(self, partition: Partition, stage: Stage) -> Awaitable[None]:
        """Remember that a partition was read to its end in its present version."""
        values = (
            _json(partition.version),
            sortable(partition.order),
            partition.final,
            partition.changed.isoformat() if partition.changed else None,
            _json(partition.memo),
            stage,
        )
        return self._journal.write(
            lambda connection: self._settle(connection, partition, values), of=self
        )

    async def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Remember a position of the discovery, and forget closed partitions below `settled`."""
        position, name = _json(checkpoint.position), self._setup.name
        await self._journal.write(
            lambda connection: connection.execute(
                "UPDATE source SET position = ? WHERE name = ?", (position, name)
            ),
            of=self,
        )
        settled = sortable(checkpoint.settled)
        if settled is not None:
            while await self._journal.write(
                lambda connection: seen.forget(connection, name, settled)
            ):
                pass

    def _keep(
        self,
        connection: sqlite3.Connection,
        partition: Partition,
        batch: Batch,
        position: str | None,
    ) -> list[Event]:
        row, is_new = self._enter_partition(connection, partition)
        fitting = [event for event in batch.events if fits(event, self._most_bytes)]
        new = _each_once(fitting) if is_new else seen.unseen(connection, row, fitting)
        last = _insert(connection, row, new)
        origin = self._setup.origin(partition)
        for seq, event in enumerate(new, last - len(new) + 1):
            event.place(origin, seq)
        connection.execute(
            "UPDATE partition SET events = events + ?, last = max(last, ?),"
            " position = coalesce(?, position) WHERE id = ?",
            (len(new), last, position, row),
        )
        grow(connection, size_of(new))
        return new

    def _bury(self, connection: sqlite3.Connection, partition: Partition, batch: Batch) -> int:
        """Make dead letters of what is no event, and of what is too large; return how many are new."""
        limit = self._most_bytes
        large = (_too_large(event, limit) for event in batch.events if not fits(event, limit))
        return sum(
            dead_letters.bury_item(connection, self._identity, partition, each, self._most_kept)
            for each in (*batch.rejected, *large)
        )

    def _size(self, batch: Batch) -> int:
        """Return about how many bytes a batch will take."""
        rejected = (min(len(each.raw), self._most_kept) for each in batch.rejected)
        return size_of(batch.events) + sum(map(room_of, rejected))

    def _enter_partition(
        self, connection: sqlite3.Connection, partition: Partition
    ) -> tuple[int, bool]:
        """Return the partition's row id, and whether nothing of it was ever kept."""
        if self._rollbacks != self._journal.rollbacks:
            self._rows.clear()
            self._rollbacks = self._journal.rollbacks
        row = self._rows.get(partition.key)
        if row is not None:
            return row, False
        ((row, events),) = connection.execute(
            "INSERT INTO partition (connector, account, key, source, uri) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (connector, account, key)"
            " DO UPDATE SET source = excluded.source,"
            " uri = CASE uri WHEN '' THEN excluded.uri ELSE uri END,"
            " state = CASE state WHEN 'lingering' THEN state ELSE 'open' END RETURNING id, events",
            (
                *self._identity,
                partition.key,
                self._setup.name,
                self._setup.origin(partition).uri,
            ),
        ).fetchall()
        self._rows[partition.key] = row
        return row, not events

    def _settle(
        self, connection: sqlite3.Connection, partition: Partition, values: tuple[Any, ...]
    ) -> None:
        row, _ = self._enter_partition(connection, partition)
        ((events,),) = connection.execute(
            "UPDATE partition SET version = ?, sorting = ?, final = ?, changed = ?, memo = ?,"
            " state = ? WHERE id = ? RETURNING events",
            (*values, row),
        ).fetchall()
        if values[-1] in CLOSED and events > KEPT_IDS:
            seen.collapse(connection, row)
        del self._rows[partition.key]


def _each_once(events: Iterable[Event]) -> list[Event]:
    return list({event.id: event for event in events}.values())


def _insert(connection: sqlite3.Connection, row: int, events: Sequence[Event]) -> int:
    """Insert events; return the number of the last one, 0 if there is none."""
    if not events:
        return 0
    now = int(time.time())
    connection.executemany(
        "INSERT INTO event (partition, id, type, time, subject, kind, raw, crc, kept_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [row_of(event, row, now) for event in events],
    )
    ((last,),) = connection.execute("SELECT last_insert_rowid()").fetchall()
    seen.remember(connection, row, events, last)
    return int(last)


def _too_large(event: Event, limit: int) -> Rejected:
    size = longest(event)
    return Rejected(event.raw, reason=f"the event has {size} bytes; max_event_bytes is {limit}")


def _tracked(row: Any) -> Tracked:
    key, uri, position, version, sorting, final, changed, memo, stage = row
    partition = Partition(
        key,
        version=stored(version),
        order=sorting,  # as `sortable` wrote it, which sorts the same
        final=bool(final),
        changed=moment(changed),
        uri=uri,
        memo=stored(memo),
    )
    return Tracked(partition, stored(position), stage)


def _json(value: Json) -> str | None:
    return None if value is None else json.dumps(value, separators=(",", ":"))
