"""A small host that writes deliveries through the real sink, until it is killed.

Run by a test as ``victim.py FOLDER NAME LAST``. It commits cursor and receipt to SQLite.
"""

import asyncio
import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Literal

from levada import Delivery
from levada_file.sink import FileSink
from plugins.file.doubles import Context, event

PER_DELIVERY = 7


async def be_the_victim(folder: Path, name: str, last: int) -> None:
    """Write events from the committed cursor on, up to sequence number *last*."""
    with closing(sqlite3.connect(folder / "state.db", isolation_level=None)) as state:
        await _write(state, folder / name, last)


async def _write(state: sqlite3.Connection, place: Path, last: int) -> None:
    state.execute("PRAGMA journal_mode=WAL")
    state.execute("PRAGMA synchronous=FULL")
    state.execute("CREATE TABLE IF NOT EXISTS sink (id INTEGER PRIMARY KEY, seq, receipt)")
    row = state.execute("SELECT seq, receipt FROM sink").fetchone() or (0, "null")
    ctx = Context()
    packed: Literal["none", "gzip"] = "gzip" if place.name == "packed" else "none"
    sink = FileSink(path=place, rotate_bytes=1500, compress=packed)
    await sink.open(ctx)
    await sink.resume(json.loads(row[1]), ctx)
    sys.stdout.write("writing\n")
    sys.stdout.flush()
    for first in range(row[0] + 1, last, PER_DELIVERY):
        seqs = range(first, first + PER_DELIVERY)
        receipt = await sink.write(Delivery([event(seq) for seq in seqs]), ctx)
        values = (seqs[-1], json.dumps(receipt))
        state.execute("INSERT OR REPLACE INTO sink VALUES (1, ?, ?)", values)
    await sink.close()


if __name__ == "__main__":
    asyncio.run(be_the_victim(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
