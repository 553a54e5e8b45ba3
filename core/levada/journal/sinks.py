"""The sink side of the journal: a cursor, a receipt, and the deliveries under way."""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from levada._json import Json
from levada.asking import identity_of
from levada.errors import StateError
from levada.event import Event
from levada.journal import dead_letters
from levada.journal.deliveries import Outstanding, Ranges, by_monotonic
from levada.journal.rows import ranges, reason_of, stored
from levada.setup import SinkSetup

if TYPE_CHECKING:
    from levada.journal import Journal


class Cursor:
    """One sink's place in the journal.

    `seq` is the last event that is planned or passed over; what was planned is either done or
    among the outstanding deliveries. Writes return at once and become durable in order.
    """

    def __init__(self, setup: SinkSetup, journal: "Journal") -> None:
        self._setup = setup
        self._journal = journal
        self.seq: int = 0
        self.receipt: Json = None
        self.disabled: str | None = None
        self.due: float = 0.0
        """When the destination may be asked again, by the monotonic clock, as it said itself; 0: now."""
        self._moves = 0

    async def register(self, *, accept_identity_change: bool = False) -> None:
        """Enter the sink into the journal, a new one before the oldest event that is still there.

        One that never wrote anything may go elsewhere: its destination was a slip of the pen.

        Raises:
            StateError: a sink of this name wrote to another destination.
        """
        name, connector = self._setup.name, self._setup.sink.name
        identity = identity_of(self._setup.sink)
        rows = self._journal.read(
            "SELECT connector, identity, delivered > 0 OR receipt IS NOT NULL FROM sink WHERE name = ?",
            name,
        )
        if not rows:
            await self._journal.write(
                lambda connection: _enter(connection, name, connector, identity)
            )
        elif rows[0][:2] != (connector, identity):
            if rows[0][2] and not accept_identity_change:
                raise StateError(
                    f"sink '{name}' wrote to {rows[0][0]} {rows[0][1]} and is now {connector}"
                    f" {identity}; give it another name, or run once with --accept-identity-change"
                )
            await self._journal.write(
                lambda connection: _move(connection, name, connector, identity)
            )
        self._load()

    @property
    def journal_id(self) -> str:
        """The journal that `seq` counts in, as this sink knows it: by another name after a move."""
        return f"{self._journal.uuid}.{self._moves}" if self._moves else self._journal.uuid

    def _load(self) -> None:
        ((self.seq, receipt, state, reason, due, self._moves),) = self._journal.read(
            "SELECT seq, receipt, state, reason, due, moves FROM sink WHERE name = ?",
            self._setup.name,
        )
        self.due = by_monotonic(due)
        self.receipt = stored(receipt)
        self.disabled = (reason or "disabled") if state == "disabled" else None

    def next_events(self, limit: int, max_bytes: int) -> list[Event]:
        """Return the events after `seq`, at most *limit* and about *max_bytes*."""
        return self._journal.events_after(self.seq, limit, max_bytes)

    def caught_up(self) -> bool:
        """Return whether nothing comes after `seq`."""
        return self.seq >= self._journal.last_seq

    def pending(self) -> int:
        """Return how many events the sink has yet to get."""
        ((count,),) = self._journal.read(
            "SELECT (SELECT count(*) FROM event WHERE seq > sink.seq)"
            " + (SELECT coalesce(sum(json_extract(pair.value, '$[1]')"
            " - json_extract(pair.value, '$[0]') + 1), 0)"
            " FROM delivery, json_each(delivery.members) AS pair WHERE delivery.sink = sink.name)"
            " FROM sink WHERE name = ?",
            self._setup.name,
        )
        return int(count)

    def outstanding(self) -> list[Outstanding]:
        """Return what was planned and not done, oldest first."""
        rows = self._journal.read(
            "SELECT id, members, attempts, due, reason FROM delivery WHERE sink = ? ORDER BY first",
            self._setup.name,
        )
        return [
            self._outstanding(row, stored(members), attempts, by_monotonic(due), reason or "")
            for row, members, attempts, due, reason in rows
        ]

    def _outstanding(self, row: int, members: Ranges, *state: Any) -> Outstanding:
        """Return a delivery without reading what it holds."""
        sizes: Counter[str] = Counter()
        for first, last in members:
            sizes += Counter(
                dict(
                    self._journal.read(
                        "SELECT partition.key, sum(length(raw)) FROM event"
                        " JOIN partition ON partition.id = event.partition"
                        " WHERE seq BETWEEN ? AND ? GROUP BY partition.id",
                        first,
                        last,
                    )
                )
            )
        return Outstanding(row, members, frozenset(sizes), sizes.total(), *state, fetch=self._fetch)

    async def plan(
        self, groups: Sequence[Sequence[Event]], through: int, filtered: int
    ) -> list[Outstanding]:
        """Fix which events are delivered together, durably, and move `seq` to *through*."""
        name = self._setup.name

        def write(connection: sqlite3.Connection) -> list[int]:
            connection.execute(
                "UPDATE sink SET seq = ?, filtered = filtered + ? WHERE name = ?",
                (through, filtered, name),
            )
            return [_plan(connection, name, group) for group in groups]

        rows = await self._journal.write(write, urgent=True, of=self)
        self.seq = through
        return [
            Outstanding.of(row, group, self._fetch) for row, group in zip(rows, groups, strict=True)
        ]

    def done(
        self, delivery: Outstanding, receipt: Json, reasons: dict[tuple[str, str], str]
    ) -> Awaitable[None]:
        """End a delivery: its events are delivered, but for those in *reasons*, which are dead."""
        dead = [event for event in delivery.events if (event.partition, event.id) in reasons]
        name, text = self._setup.name, _text(receipt)  # before the write: it would fail others'

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM delivery WHERE id = ?", (delivery.row,))
            connection.execute(
                "UPDATE sink SET receipt = coalesce(?, receipt), delivered = delivered + ?,"
                " dead = dead + ? WHERE name = ?",
                (text, len(delivery.events) - len(dead), len(dead), name),
            )
            for event in dead:
                reason = reasons[event.partition, event.id]
                dead_letters.bury(connection, name, event, reason, delivery.attempts + 1)

        return self._journal.write(write, urgent=True, of=self)

    def failed(
        self, delivery: Outstanding, *, wait: timedelta | None, everywhere: bool
    ) -> Awaitable[None]:
        """Record a failed attempt, and the *wait* until the next one if it is to outlast the process.

        With *everywhere* the whole sink waits as long.
        """
        wait_s = None if wait is None else wait.total_seconds()
        due = None if wait_s is None else time.time() + wait_s
        reason, name = reason_of(delivery.reason), self._setup.name

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE delivery SET attempts = ?, due = ?, wait = ?, reason = ? WHERE id = ?",
                (delivery.attempts, due, wait_s, reason, delivery.row),
            )
            if due is not None and everywhere:
                connection.execute(
                    "UPDATE sink SET due = ?, wait = ? WHERE name = ? AND coalesce(due, 0) < ?",
                    (due, wait_s, name, due),
                )

        return self._journal.write(write, of=self)

    async def split(self, delivery: Outstanding) -> list[Outstanding]:
        """Make two deliveries of one, each half as long."""
        middle = len(delivery.events) // 2
        return await self._replace(delivery, delivery.events[:middle], delivery.events[middle:])

    async def cut(self, delivery: Outstanding, written: int) -> list[Outstanding]:
        """Count the first *written* events as delivered; the others stay outstanding."""
        rest = delivery.events[written:]
        return await self._replace(delivery, *([rest] if rest else []), delivered=written)

    async def _replace(
        self, delivery: Outstanding, *parts: Sequence[Event], delivered: int = 0
    ) -> list[Outstanding]:
        name = self._setup.name

        def write(connection: sqlite3.Connection) -> list[int]:
            connection.execute("DELETE FROM delivery WHERE id = ?", (delivery.row,))
            connection.execute(
                "UPDATE sink SET delivered = delivered + ? WHERE name = ?", (delivered, name)
            )
            return [_plan(connection, name, part, delivery.attempts) for part in parts]

        rows = await self._journal.write(write, urgent=True, of=self)
        return [
            Outstanding.of(row, part, self._fetch, attempts=delivery.attempts)
            for row, part in zip(rows, parts, strict=True)
        ]

    def disable(self, reason: str) -> Awaitable[None]:
        """Switch the sink off until `levada enable`."""
        self.disabled = reason

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE sink SET state = 'disabled', reason = ? WHERE name = ?",
                (reason_of(reason), self._setup.name),
            )

        return self._journal.write(write, urgent=True, of=self)

    async def skip_to(self, seq: int) -> None:
        """Take the sink's own word that it holds everything up to *seq*.

        Raises:
            StateError: it holds more than was ever planned for it.
        """
        if seq > self.seq:
            raise StateError(
                f"sink '{self._setup.name}' holds event {seq}, but the journal gave it only"
                f" {self.seq}: they do not belong together"
            )
        for delivery in self.outstanding():
            held = sum(max(min(last, seq) - first + 1, 0) for first, last in delivery.members)
            if held:
                await self.cut(delivery, held)

    def _fetch(self, members: Ranges) -> list[Event]:
        return [
            event for first, last in members for event in self._journal.events_between(first, last)
        ]


def _enter(connection: sqlite3.Connection, name: str, connector: str, identity: str) -> None:
    """Start a sink before the oldest retained event; `since` is what it has not seen of the past.

    Later ones may have gone as well: they count as dropped.
    """
    oldest, kept = connection.execute("SELECT min(seq), count(*) FROM event").fetchone()
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
    newest = row[0] if row else 0
    start = oldest - 1 if oldest else newest
    connection.execute(
        "INSERT INTO sink (name, connector, identity, seq, since, dropped)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (name, connector, identity, start, start, newest - start - kept),
    )


def _plan(
    connection: sqlite3.Connection, sink: str, events: Sequence[Event], attempts: int = 0
) -> int:
    row = connection.execute(
        "INSERT INTO delivery (sink, first, members, attempts) VALUES (?, ?, ?, ?)",
        (sink, events[0].seq, _members(events), attempts),
    ).lastrowid
    return row or 0


def _move(connection: sqlite3.Connection, name: str, connector: str, identity: str) -> None:
    """Go on elsewhere: the place in the journal stays, what the old destination said does not."""
    connection.execute("UPDATE delivery SET due = NULL WHERE sink = ?", (name,))
    connection.execute(
        "UPDATE sink SET connector = ?, identity = ?, receipt = NULL, due = NULL, moves = moves + 1"
        " WHERE name = ?",
        (connector, identity, name),
    )


def _members(events: Iterable[Event]) -> str:
    return json.dumps(ranges(event.seq or 0 for event in events), separators=(",", ":"))


def _text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, separators=(",", ":"))
