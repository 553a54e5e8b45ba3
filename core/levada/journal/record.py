"""What a journal still knows of the events it took, for comparing it with the vendor."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import field, frozen

from levada._json import Json
from levada.errors import StateError
from levada.journal import opening
from levada.journal.making import made_in
from levada.journal.rows import stored
from levada.journal.trouble import told


@frozen
class Taken:
    """What is known of one partition."""

    events: int
    """How many of its events were ever taken."""

    ids: frozenset[str]
    """Of those, the ones still known by id."""

    times: Mapping[str, datetime]
    """The time of each event that is still in the journal."""

    version: Json
    """As it was when last read to its end; None: it was not."""

    stage: str = field(default="open")

    @property
    def is_whole(self) -> bool:
        """Whether all of its ids are known."""
        return len(self.ids) >= self.events


class Record:
    """Reads what sources took out of a journal, also while a run goes on."""

    def __init__(self, connection: sqlite3.Connection, path: Path, source: str) -> None:
        self._connection = connection
        self._path = path
        self._source = source

    def taken(self, key: str) -> Taken | None:
        """Return what is known of a partition; None: nothing."""
        rows = self._rows(
            "SELECT id, events, version, state FROM partition WHERE source = ? AND key = ?",
            self._source,
            key,
        )
        if not rows:
            return None
        row, events, version, state = rows[0]
        times = dict(self._rows("SELECT id, time FROM event WHERE partition = ?", row))
        seen = self._rows("SELECT id FROM seen WHERE partition = ?", row)
        return Taken(
            events=events,
            ids=frozenset(times).union(name for (name,) in seen),
            times={name: datetime.fromisoformat(time) for name, time in times.items()},
            version=stored(version),
            stage=state,
        )

    def keys_since(self, since: datetime) -> set[str]:
        """Return the partitions with an event since a moment that is still in the journal."""
        rows = self._rows(
            "SELECT DISTINCT partition.key FROM event JOIN partition ON partition.id = event.partition"
            " WHERE partition.source = ? AND event.time >= ?",
            self._source,
            since.isoformat(),
        )
        return {key for (key,) in rows}

    @property
    def newest_order(self) -> str | None:
        """The greatest order of a partition that is known, as text that sorts as orders do."""
        query = "SELECT max(sorting) FROM partition WHERE source = ?"
        ((order,),) = self._rows(query, self._source)
        return order if order is None else str(order)

    def _rows(self, query: str, *values: object) -> list[Any]:
        with told(self._path, "read"):
            return self._connection.execute(query, values).fetchall()


@contextmanager
def recorded(folder: Path, source: str) -> Iterator[Record]:
    """Open the record of a source in the journal in *folder*, all of it as of one moment.

    Raises:
        StateError: there is no journal, or none that can be read.
    """
    path = made_in(folder)
    if path is None:
        raise StateError(f"there is no journal in {folder}; `levada run` makes it")
    with closing(opening.connect_to_read(path)) as connection:
        with told(path, "read"):
            connection.execute("BEGIN")
            connection.execute(
                "SELECT 1 FROM meta"
            ).fetchone()  # the moment is that of a first read
        yield Record(connection, path, source)
