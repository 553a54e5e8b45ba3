"""Journals with something in them, and what a crash or another program makes of them."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from core.doubles import CollectingSink, ScriptedSource, event
from levada import Batch, Partition
from levada.journal import Journal
from levada.setup import SinkSetup, SourceSetup

EVENTS = 100
LONG = "INSERT INTO meta VALUES ('long', randomblob(6000000)) ON CONFLICT DO UPDATE SET value = 1"


async def fill(journal: Journal) -> None:
    state = await journal.source(SourceSetup.of(ScriptedSource()), accept_identity_change=False)
    sink = SinkSetup.of(CollectingSink(), name="sink")
    await journal.cursor(sink, accept_identity_change=False)
    batch = Batch([event(number, size=2000) for number in range(EVENTS)])
    await state.keep(Partition("run-1"), batch)


def flipped(whole: bytes, *bits: int) -> bytes:
    changed = bytearray(whole)
    for bit in bits:
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def changed(path: Path, statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.executescript(statements)


async def at_rest(journal: Journal) -> None:
    """Wait until nothing is written any more: its log may be put into its file after a write."""
    work = journal._writer._work
    if work is not None:
        await work


def left(path: Path, copy: Path) -> Path:
    """Leave what a crash would."""
    shutil.rmtree(copy, ignore_errors=True)
    copy.parent.mkdir(exist_ok=True)
    shutil.copytree(path.parent, copy)
    return copy / path.name
