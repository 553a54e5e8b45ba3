"""Kill -9 while an older journal is brought up to date: it is as it was, or it is up to date."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from crash import accounts
from crash.killing import Victim, needs_strace
from crash.order import CALLS, Disk
from crash.rounds import each_nth
from crash.suites import strike_all

pytestmark = needs_strace

BACK_TO_1: Final = """
ALTER TABLE partition DROP COLUMN memo;
ALTER TABLE dead DROP COLUMN uri;
ALTER TABLE dead DROP COLUMN event_type;
ALTER TABLE dead DROP COLUMN event_time;
ALTER TABLE dead DROP COLUMN subject;
ALTER TABLE dead DROP COLUMN kind;
ALTER TABLE seen DROP COLUMN seq;
DROP INDEX partition_closed;
DROP INDEX partition_settled;
DROP INDEX dead_seq;
DROP TABLE diagnostic;
ALTER TABLE sink DROP COLUMN due;
ALTER TABLE sink DROP COLUMN moves;
ALTER TABLE sink DROP COLUMN wait;
ALTER TABLE delivery DROP COLUMN wait;
UPDATE event SET crc = 0;
PRAGMA user_version = 1;
"""


@pytest.fixture
def victim(tmp_path: Path) -> Victim:
    """Return one whose journal is of the first schema, with all its events."""
    victim = Victim(tmp_path / "it", "journal")
    victim.finish()
    with closing(sqlite3.connect(victim.state / "state.db")) as state:
        state.executescript(BACK_TO_1)
    (victim.state / "state.db.sums").unlink()  # that version made none
    return victim


def copies(victim: Victim) -> list[Path]:
    """Return what calls are about while the copy is made; it is the first."""
    names = ("state.db.bak-v1", "state.db.bak-v1.new", "state.db.bak-v1.new-journal", "")
    return [victim.state / name for name in names]


def copied(victim: Victim) -> tuple[int, int]:
    """Return the version of the copy, and how many events it holds."""
    with closing(sqlite3.connect(copies(victim)[0])) as copy:
        ((version,),) = copy.execute("PRAGMA user_version")
        ((events,),) = copy.execute("SELECT count(*) FROM event")
    return version, events


@each_nth
@pytest.mark.parametrize("call", ["openat", "pwrite64", "fdatasync", "fsync", "rename"])
def test_while_it_is_copied(call: str, nths: Sequence[int], victim: Victim) -> None:
    before = 3 * victim.count

    strike_all(victim, call, nths, copies(victim))

    accounts.journal(victim)
    assert copied(victim) == (1, before)


@each_nth
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_while_its_tables_change(call: str, nths: Sequence[int], victim: Victim) -> None:
    before = 3 * victim.count

    strike_all(victim, call, nths, victim.log)

    accounts.journal(victim)
    assert copied(victim) == (1, before)


def test_the_copy_is_on_the_disk_before_the_tables_change(victim: Victim) -> None:
    trace = victim.trace(CALLS)

    assert "state.db.bak-v1" in trace
    Disk().replay(trace)
