"""What a journal says of itself, read while a run may be going on, and how to enable a sink."""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen

from levada._json import Json
from levada.errors import StateError
from levada.journal import opening
from levada.journal.making import made_in
from levada.journal.room import taken, usable
from levada.journal.rows import stored
from levada.journal.trouble import told

if TYPE_CHECKING:
    from levada.journal import Journal

STAGES = ("open", "lingering", "closed", "gone")


@frozen
class SourceStatus:
    """How far one source is."""

    name: str
    connector: str
    account: str
    position: Json
    """That of the last checkpoint; None before the first."""

    partitions: Mapping[str, int]
    """How many are in each of `STAGES`; closed ones that were forgotten do not count."""

    events: int
    """Events ever read in those partitions."""

    rejected: int
    """Items that could not be read as events, by any source of this connector."""


@frozen
class DeliveryStatus:
    """A delivery that was planned and is not done."""

    events: int
    attempts: int
    """Attempts that have failed."""

    due: float | None
    """Unix time of the next attempt, where the connector chose it; None: any time."""

    reason: str
    """Why the last attempt failed; "" before the first."""


@frozen
class SinkStatus:
    """How far one sink is. ``fetched = delivered + pending + dead + dropped + filtered``."""

    name: str
    connector: str
    identity: str
    enabled: bool
    reason: str
    """Why it is disabled."""

    fetched: int
    """Events that came into the journal since the sink began."""

    delivered: int
    pending: int
    dead: int
    dropped: int
    filtered: int
    outstanding: Sequence[DeliveryStatus] = ()


@frozen
class DiagnosticStatus:
    """What a connector reported besides events: a gap, a type nobody documents, a refused cursor."""

    connector: str
    """Its name in the pipeline."""

    what: str
    fields: Mapping[str, Json]
    count: int
    first: str
    """When it was first and last reported, by our clock: RFC 3339, UTC."""

    last: str


@frozen
class JournalStatus:
    """A whole journal at one moment."""

    path: Path
    size: int
    """About how many bytes events and dead letters take."""

    dead_letters_size: int
    """How many of them dead letters take."""

    fill: float
    """1.0: sources pause."""

    events: int
    """Events still there, delivered ones within their retention included."""

    last_seq: int
    sources: Sequence[SourceStatus] = field(factory=tuple)
    sinks: Sequence[SinkStatus] = field(factory=tuple)
    diagnostics: Sequence[DiagnosticStatus] = field(factory=tuple)
    """Of the last 30 days, the latest first."""


def status(folder: Path, *, max_bytes: int) -> JournalStatus | None:
    """Return the status of the journal in *folder*, all of it as of one moment; None without one.

    Raises:
        StateError: there is something, but not a journal that can be read.
    """
    path = made_in(folder)
    if path is None:
        return None
    with told(path, "read"), closing(opening.connect_to_read(path)) as connection:
        connection.execute("BEGIN")  # one snapshot for all that follows
        return _journal(connection, path, max_bytes)


async def enable(journal: "Journal", sink: str) -> Literal["disabled", "waiting", "active"]:
    """Switch a disabled sink on again, and make what it missed due now; return how it was.

    Raises:
        StateError: the journal knows no sink of that name.
    """
    now = time.time()
    rows = journal.read(
        "SELECT state = 'disabled', due > ? OR EXISTS"
        " (SELECT 1 FROM delivery WHERE sink = sink.name AND delivery.due > ?)"
        " FROM sink WHERE name = ?",
        *(now, now, sink),
    )
    if not rows:
        raise StateError(f"sink '{sink}' has not run yet; there is nothing to enable")

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE sink SET state = 'active', reason = NULL, due = NULL WHERE name = ?", (sink,)
        )
        connection.execute("UPDATE delivery SET due = NULL WHERE sink = ?", (sink,))

    await journal.write(write)
    ((disabled, waiting),) = rows
    return "disabled" if disabled else "waiting" if waiting else "active"


def _journal(connection: sqlite3.Connection, path: Path, max_bytes: int) -> JournalStatus:
    last = _number(
        connection, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'event'"
    )
    size = taken(partial(_rows, connection))
    return JournalStatus(
        path=path,
        size=size.total,
        dead_letters_size=size.letters,
        fill=size.total / usable(max_bytes),
        events=_number(connection, "SELECT count(*) FROM event"),
        last_seq=last,
        sources=[_source(connection, row) for row in _rows(connection, _SOURCES)],
        sinks=[_sink(connection, row, last) for row in _rows(connection, _SINKS)],
        diagnostics=[
            DiagnosticStatus(connector, what, stored(fields), *more)
            for connector, what, fields, *more in _rows(connection, _DIAGNOSTICS)
        ],
    )


_SOURCES = "SELECT name, connector, account, position FROM source ORDER BY name"

_SINKS = """
    SELECT name, connector, identity, state, reason, seq, since, delivered, dead, dropped, filtered
    FROM sink ORDER BY name
"""

_DIAGNOSTICS = """
    SELECT connector, what, fields, count, first, last FROM diagnostic
    ORDER BY last DESC, connector, what, fields
"""


def _source(connection: sqlite3.Connection, row: Any) -> SourceStatus:
    name, connector, account, position = row
    stages = _rows(
        connection,
        "SELECT state, count(*), sum(events) FROM partition WHERE source = ? GROUP BY state",
        name,
    )
    counts = {stage: number for stage, number, _ in stages}
    return SourceStatus(
        name=name,
        connector=connector,
        account=account,
        position=stored(position),
        partitions={stage: counts.get(stage, 0) for stage in STAGES},
        events=sum(events for _, _, events in stages),
        rejected=_number(
            connection, "SELECT count(*) FROM dead WHERE sink = '' AND connector = ?", connector
        ),
    )


def _sink(connection: sqlite3.Connection, row: Any, last: int) -> SinkStatus:
    name, connector, identity, state, reason, seq, since, *counts = row
    delivered, dead, dropped, filtered = counts
    outstanding = [
        _delivery(*each)
        for each in _rows(
            connection,
            "SELECT members, attempts, due, wait, reason FROM delivery WHERE sink = ? ORDER BY first",
            name,
        )
    ]
    unplanned = _number(connection, "SELECT count(*) FROM event WHERE seq > ?", seq)
    return SinkStatus(
        name=name,
        connector=connector,
        identity=identity,
        enabled=state != "disabled",
        reason=reason or "",
        fetched=last - since,
        delivered=delivered,
        pending=unplanned + sum(each.events for each in outstanding),
        dead=dead,
        dropped=dropped,
        filtered=filtered,
        outstanding=outstanding,
    )


def _delivery(
    members: str, attempts: int, due: float | None, wait: float | None, reason: str | None
) -> DeliveryStatus:
    events = sum(last - first + 1 for first, last in stored(members))
    return DeliveryStatus(events, attempts, _due(due, wait), reason or "")


def _due(due: float | None, wait: float | None) -> float | None:
    """Return when an attempt is due that is due later, should the clock have been set back since."""
    now = time.time()
    if due is None or due <= now:
        return None
    return due if wait is None else min(due, now + wait)


def _rows(connection: sqlite3.Connection, query: str, *values: object) -> list[Any]:
    return connection.execute(query, values).fetchall()


def _number(connection: sqlite3.Connection, query: str, *values: object) -> int:
    return int(connection.execute(query, values).fetchone()[0])
