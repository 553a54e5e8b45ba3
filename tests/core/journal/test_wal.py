"""A log that a crash left behind, and one that was damaged since."""

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from core.doubles import ScriptedSource, event, settings
from levada import Batch, Partition, StateError
from levada.journal import Journal, wal
from levada.journal.repair import repair
from levada.setup import SourceSetup

BATCHES = 8
EVENTS = 10
HEADER, FRAME = 32, 24 + 4096


@pytest.fixture
async def left(tmp_path: Path) -> Path:
    """Return the log of a journal that was not closed."""
    copy = tmp_path / "left"
    async with Journal(settings(tmp_path)) as journal:
        state = await journal.source(SourceSetup.of(ScriptedSource()), accept_identity_change=False)
        for batch in range(BATCHES):
            numbers = range(batch * EVENTS, batch * EVENTS + EVENTS)
            await state.keep(Partition("run-1"), Batch([event(it, size=900) for it in numbers]))
        shutil.copytree(tmp_path / "state", copy)
    shutil.rmtree(tmp_path / "state")
    return copy / "state.db-wal"


@pytest.fixture
def log(left: Path) -> bytes:
    return left.read_bytes()


def restored(left: Path, log: bytes) -> Path:
    """Put the journal back as it was left, but for its log; return its file."""
    folder = left.parent.with_name("state")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(left.parent, folder)
    (folder / left.name).write_bytes(log)
    return folder / "state.db"


def events_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    ((found,),) = connection.execute("SELECT count(*) FROM event")
    connection.close()
    return int(found)


def flipped(log: bytes, bit: int) -> bytes:
    changed = bytearray(log)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def refused(path: Path) -> None:
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    with pytest.raises(StateError, match=r"damaged \(its log, state\.db-wal, has changed\)"):
        Journal(settings(path.parent.parent))
    after = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    assert after | {"state.lock": b""} == before | {"state.lock": b""}


async def test_a_flipped_bit_is_noticed_wherever_it_is_and_no_event_is_lost(
    left: Path, log: bytes
) -> None:
    chance = random.Random(4)  # noqa: S311  # the same bits each time
    frames = (len(log) - HEADER) // FRAME
    turned = 0
    for number in range(24):
        frame = HEADER + chance.randrange(frames) * FRAME
        place = (chance.randrange(HEADER), frame + chance.randrange(24), frame + 24)[number % 3]
        bit = place * 8 + chance.randrange(8 if place != frame + 24 else 4096 * 8)
        path = restored(left, flipped(log, bit))
        refused(path)

        found = repair(path.parent)

        assert found.copy
        if found.turned:
            assert (found.turned, found.structure, found.damaged) == (1, "", 0)
            turned += 1
        assert found.turned or found.structure or found.damaged
        async with Journal(settings(path.parent.parent)):
            assert events_of(path) + found.damaged == BATCHES * EVENTS
    assert turned >= 16


async def test_lost_sectors_before_the_last_transaction_are_noticed(left: Path, log: bytes) -> None:
    frames = (len(log) - HEADER) // FRAME
    for frame in range(2, frames // 2, 9):
        start = HEADER + frame * FRAME + 512
        if not any(log[start : start + 512]):
            continue
        path = restored(left, log[:start] + bytes(512) + log[start + 512 :])
        refused(path)

        found = repair(path.parent)

        assert found.structure
        async with Journal(settings(path.parent.parent)):
            assert events_of(path) + found.damaged == BATCHES * EVENTS


def test_what_a_crash_leaves_is_no_damage(left: Path, log: bytes) -> None:
    chance = random.Random(5)  # noqa: S311  # the same ends each time
    for rest in (b"", bytes(9000), chance.randbytes(9000)):
        for end in [len(log), *(chance.randrange(HEADER, len(log)) for _ in range(8))]:
            path = restored(left, log[:end] + rest)
            assert wal.damage(path) is None


async def test_what_an_earlier_log_left_behind_the_end_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE it (value)")
    for size in (300_000, 100_000, 20_000):
        connection.execute("INSERT INTO it VALUES (randomblob(?))", (size,))
        connection.execute("INSERT INTO it VALUES (randomblob(?))", (size,))
        assert wal.damage(path) is None
        connection.execute("PRAGMA wal_checkpoint(RESTART)")
    connection.close()


@pytest.mark.parametrize("log", [b"", bytes(5000), b"garbage" * 1000])
def test_a_log_that_is_none_counts_as_missing(left: Path, log: bytes) -> None:
    path = restored(left, log)

    with pytest.raises(StateError, match=r"its log, state\.db-wal, is missing"):
        Journal(settings(path.parent.parent))

    assert repair(path.parent).structure == "its log, state.db-wal, was missing"
