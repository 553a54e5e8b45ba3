"""A log that a crash left behind, and one that was damaged since."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from core.doubles import ScriptedSource, event, settings
from levada import Batch, Partition, StateError
from levada.journal import Journal, opening, wal
from levada.journal.repair import repair
from levada.journal.status import status
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


def contents(folder: Path) -> dict[str, bytes]:
    """Return what is in a state folder, but for what is shared by those who have it open."""
    aside = {"state.lock", "state.db-shm"}
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.name not in aside}


def change(path: Path, how: Callable[[bytes], bytes]) -> None:
    path.write_bytes(how(path.read_bytes()))


def make(path: Path, mode: int) -> None:
    path.touch()
    path.chmod(mode)


def refused(path: Path, why: str = r"damaged \(its log, state\.db-wal, has changed\)") -> None:
    """Let the journal be refused, and left as it is."""
    before = contents(path.parent)
    with pytest.raises(StateError, match=why):
        Journal(settings(path.parent.parent))
    assert contents(path.parent) == before


def refused_to_all(path: Path) -> None:
    """Let the journal be refused to those who only look at it, too."""
    refused(path)
    before = contents(path.parent)
    with pytest.raises(StateError, match=r"its log, state\.db-wal, has changed"):
        status(path.parent, max_bytes=1)
    assert contents(path.parent) == before


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
        refused_to_all(path)

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
        refused_to_all(path)

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


@pytest.mark.parametrize("length", [1, HEADER - 1, HEADER, HEADER + 23])
def test_a_log_that_is_cut_before_its_first_frame_counts_as_missing(
    left: Path, log: bytes, length: int
) -> None:
    path = restored(left, log[:length])

    refused(path, r"its log, state\.db-wal, is missing")


@pytest.mark.parametrize("reading", [False, True])
async def test_a_journal_that_was_read_only_for_a_while_is_usable_afterwards(
    tmp_path: Path, crashed: Path, monkeypatch: pytest.MonkeyPatch, *, reading: bool
) -> None:
    async with Journal(settings(tmp_path)):
        pass
    monkeypatch.setattr("os.access", lambda path, _: Path(path).stat().st_mode & 0o200)
    make(crashed, 0o400)
    if reading:
        opening.connect_to_read(crashed).close()
    refused(crashed, r"state\.db cannot be written to by user \d+; change its mode")
    assert {each.name for each in crashed.parent.iterdir()} == {
        "state.db",
        "state.db.sums",
        "state.lock",
    }
    make(crashed, 0o600)
    make(crashed.with_name("state.db-wal"), 0o400)

    async with Journal(settings(tmp_path)) as journal:
        assert journal.last_seq == BATCHES * EVENTS


@pytest.fixture
async def crashed(tmp_path: Path, left: Path, log: bytes) -> Path:
    """Return a journal that was opened, and then not closed, with a log that has no header in it."""
    restored(left, log)
    async with Journal(settings(tmp_path)):
        pass
    async with Journal(settings(tmp_path)):
        shutil.copytree(tmp_path / "state", left.parent, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "state")
    shutil.copytree(left.parent, tmp_path / "state")
    return tmp_path / "state" / "state.db"


@pytest.mark.parametrize("place", [3, 17, 18, 19, 21, 60, 63])
async def test_a_header_that_changed_since_a_crash_is_noticed_and_put_right(
    tmp_path: Path, crashed: Path, place: int
) -> None:
    crashed.with_name("state.db.sums").unlink()  # with them a single bit is turned back
    change(crashed, lambda whole: flipped(whole, place * 8 + 2))
    refused(crashed, r"state\.db is damaged \(it")

    found = repair(crashed.parent)
    assert found.structure
    assert not found.lost
    async with Journal(settings(tmp_path)) as journal:
        assert journal.last_seq == BATCHES * EVENTS


def test_a_file_that_was_cut_after_a_crash_is_left_as_it_is(crashed: Path) -> None:
    change(crashed, lambda whole: whole[:4096])

    refused(crashed, "damaged")


async def test_the_checksums_of_a_journal_that_is_gone_are_noticed(
    tmp_path: Path, crashed: Path
) -> None:
    async with Journal(settings(tmp_path)):
        pass
    shutil.move(crashed, tmp_path)

    refused(crashed, r"state\.db is missing, but not state\.db\.sums; restore it")


async def test_a_journal_that_somebody_else_is_writing_to_keeps_its_checksums(
    tmp_path: Path, crashed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Journal(settings(tmp_path)):
        pass
    monkeypatch.setattr(opening, "PRAGMAS", opening.PRAGMAS.replace("5000", "50"))
    with closing(sqlite3.connect(crashed, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StateError, match="another program has locked it; close it"):
            Journal(settings(tmp_path))

        assert crashed.with_name("state.db.sums").exists()


async def test_a_copy_that_sqlite_made_is_as_good(tmp_path: Path, crashed: Path) -> None:
    with closing(sqlite3.connect(crashed)) as connection:
        connection.execute("VACUUM INTO ?", (str(tmp_path / "copy"),))
    shutil.rmtree(crashed.parent)
    crashed.parent.mkdir(mode=0o700)
    shutil.move(tmp_path / "copy", crashed)

    async with Journal(settings(tmp_path)) as journal:
        assert journal.last_seq == BATCHES * EVENTS
