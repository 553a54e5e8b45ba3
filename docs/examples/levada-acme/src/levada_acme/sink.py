"""The sink: a table in a SQLite file, for those who would rather ask with SQL."""

import sqlite3
from contextlib import closing
from pathlib import Path

from attrs import define

from levada import Delivery, Json, Sink, SinkContext, option

TABLE = "CREATE TABLE IF NOT EXISTS event (journal, seq, line, PRIMARY KEY (journal, seq))"


@define
class AcmeSink(Sink):
    """Keeps each event as a row: the journal it came through, its number there, and its line.

    Event and number commit together. So the table itself knows how far it got, and says so in
    `resume`: nothing comes twice, wherever a crash hits.
    """

    name = "acme"
    guarantee = "exactly once"
    path: Path = option(help="The SQLite file; it is made if it is missing.")

    def identity(self) -> str:
        """Return what tells this table from another."""
        return str(self.path.absolute())

    async def resume(self, receipt: Json, ctx: SinkContext) -> int | None:
        """Return the number of the last event in the table; None if there is none."""
        query = "SELECT max(seq) FROM event WHERE journal = ?"
        with closing(self._table()) as table:
            last: int | None = table.execute(query, [ctx.journal]).fetchone()[0]
            return last

    async def write(self, delivery: Delivery, ctx: SinkContext) -> None:
        """Add the events, all or none."""
        lines = zip(delivery.events, delivery.lines, strict=True)
        rows = [(ctx.journal, event.seq, line.decode()) for event, line in lines]
        with closing(self._table()) as table, table:
            table.executemany("INSERT OR IGNORE INTO event VALUES (?, ?, ?)", rows)

    def _table(self) -> sqlite3.Connection:
        table = sqlite3.connect(self.path)
        table.execute(TABLE)
        return table
