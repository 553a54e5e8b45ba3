"""The sink: a table in a SQLite file, for those who would rather ask with SQL."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import ClassVar

from attrs import define

from levada import Delivery, Json, Retry, Sink, SinkContext, option

TABLE = """
CREATE TABLE IF NOT EXISTS event (journal TEXT, seq INTEGER, line TEXT, PRIMARY KEY (journal, seq))
"""


@define
class AcmeSink(Sink):
    """Keeps each event as a row: the journal it came through, its number there, and its line.

    Event and number commit together. So the table itself knows how far it got, and says so in
    `resume`: nothing comes twice, wherever a crash hits.
    """

    name: ClassVar[str] = "acme"
    guarantee: ClassVar[str] = "exactly once"

    path: Path = option(help="The SQLite file; it is made if it is missing.")

    def identity(self) -> str:
        """Return what tells this table from another."""
        return str(self.path.absolute())

    async def resume(self, receipt: Json, ctx: SinkContext) -> int | None:
        """Return the number of the last event in the table; None if there is none."""
        return await asyncio.to_thread(self._last, ctx.journal)

    async def write(self, delivery: Delivery, ctx: SinkContext) -> None:
        """Add the events, all or none."""
        lines = zip(delivery.events, delivery.lines, strict=True)
        rows = [(ctx.journal, event.seq, line.decode()) for event, line in lines]
        await asyncio.to_thread(self._add, rows)

    def _last(self, journal: str) -> int | None:
        with self._table() as table:
            query = "SELECT max(seq) FROM event WHERE journal = ?"
            last: int | None = table.execute(query, [journal]).fetchone()[0]
            return last

    def _add(self, rows: list[tuple[str, int | None, str]]) -> None:
        with self._table() as table:
            table.executemany("INSERT OR IGNORE INTO event VALUES (?, ?, ?)", rows)

    @contextmanager
    def _table(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction."""
        try:
            with closing(sqlite3.connect(self.path)) as file, file:
                file.execute(TABLE)
                yield file
        except sqlite3.OperationalError as error:  # locked, disk full, no such folder
            raise Retry(f"{self.path}: {error}") from error
