"""What a journal notices that was changed, cut or robbed of its log while nobody was writing to it."""

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from core.doubles import CollectingSink, ScriptedSource, event, settings
from crash.test_kill_in_migration import BACK_TO_1
from levada import Batch, Partition, StateError
from levada.host import Finding
from levada.journal import Journal, rest, schema, wal
from levada.journal.files import log_of
from levada.journal.repair import repair
from levada.journal.status import status
from levada.setup import SinkSetup, SourceSetup

EVENTS = 100
ROUNDS = 40
LONG = "INSERT INTO meta VALUES ('long', randomblob(6000000)) ON CONFLICT DO UPDATE SET value = 1"


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Return a journal that was closed."""
    async with Journal(settings(tmp_path)) as journal:
        await fill(journal)
    return tmp_path / "state" / "state.db"


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


def refused(path: Path, look: Callable[[], object]) -> None:
    """Let somebody refuse the journal, and leave it as it is."""
    before = path.read_bytes()
    with pytest.raises(StateError, match=r"state\.db is damaged \(.*see what `levada repair`"):
        look()
    assert path.read_bytes() == before


def changed(path: Path, statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.executescript(statements)


@pytest.mark.parametrize("flips", [1, 3])
def test_flipped_bits_are_noticed_wherever_they_are_and_turned_back(
    tmp_path: Path, path: Path, flips: int
) -> None:
    whole = path.read_bytes()
    chance = random.Random(flips)  # noqa: S311  # the same bits each time
    header, blocks = range(100), range(1, len(whole) // rest.BLOCK)
    for number in range(ROUNDS):
        places = [block * rest.BLOCK for block in chance.sample(blocks, flips)]
        bits = [place * 8 + chance.randrange(rest.BLOCK * 8) for place in places]
        if number % 2:
            bits[0] = chance.choice(header) * 8 + chance.randrange(8)
        path.write_bytes(flipped(whole, *bits))
        refused(path, lambda: Journal(settings(tmp_path)))
        refused(path, lambda: status(path.parent, max_bytes=1))

        found = repair(path.parent)

        assert (found.turned, found.structure) == (flips, "")
        assert (found.damaged, found.reset) == (0, {})
        assert path.read_bytes() == whole


def test_sectors_that_are_lost_are_noticed(tmp_path: Path, path: Path) -> None:
    whole = path.read_bytes()
    for start in range(rest.BLOCK, len(whole), rest.BLOCK * 7):
        path.write_bytes(whole[:start] + bytes(512) + whole[start + 512 :])
        refused(path, lambda: Journal(settings(tmp_path)))

        found = repair(path.parent)

        assert found.structure
        assert found.turned == 0
        path.with_name("state.db.sums").unlink()
        path.write_bytes(whole)
        rest.note(path)


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_file_that_was_cut_is_noticed(tmp_path: Path, path: Path, kept: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])

    refused(path, lambda: Journal(settings(tmp_path)))

    assert repair(path.parent).structure


@pytest.mark.parametrize("missing", ["state.db.sums", "a file", "a byte of it", "all but its name"])
def test_without_checksums_that_can_be_trusted_nothing_is_known(path: Path, missing: str) -> None:
    sums = path.with_name("state.db.sums")
    if missing in {sums.name, "a file"}:
        sums.unlink()
        if missing == "a file":
            os.mkfifo(sums)
    else:
        sums.write_bytes(
            sums.read_bytes()[:-1] if missing == "a byte of it" else b"levada sums 2\n"
        )
    path.write_bytes(path.read_bytes().replace(b"run-1", b"run-2"))

    assert not rest.change(path)


async def test_what_another_program_did_with_sqlite_is_refused_until_it_is_looked_at(
    tmp_path: Path, path: Path
) -> None:
    changed(path, "UPDATE partition SET memo = '[7, 8]'")
    refused(path, lambda: Journal(settings(tmp_path)))
    refused(path, lambda: status(path.parent, max_bytes=1))

    found = repair(path.parent)

    assert (found.unexplained, found.turned, found.damaged, found.reset) == (1, 0, 0, {})
    assert found.copy
    assert found.structure == "1 of its blocks have changed since they were written"
    async with Journal(settings(tmp_path)) as journal:
        assert journal.read("SELECT memo FROM partition") == [("[7, 8]",)]

    changed(path, "UPDATE event SET raw = zeroblob(20) WHERE seq = 5")
    refused(path, lambda: Journal(settings(tmp_path)))
    assert repair(path.parent).damaged == 1

    changed(path, "DELETE FROM event WHERE seq = 7")
    refused(path, lambda: Journal(settings(tmp_path)))
    assert repair(path.parent).reset == {"sink.accounts": 1}

    changed(path, "PRAGMA user_version = 99")
    with pytest.raises(StateError, match="written by a newer Levada"):
        Journal(settings(tmp_path))


@pytest.mark.parametrize("closed", [False, True])
async def test_a_byte_that_looks_right_is_noticed(tmp_path: Path, *, closed: bool) -> None:
    path = tmp_path / "state" / "state.db"
    async with Journal(settings(tmp_path, max_journal_bytes=1024 * 1024)) as journal:
        await journal.note([(Finding("it", "seen", "[7, 8]"), 1)])
        await fill(journal)
        await at_rest(journal)
        path = path if closed else left(path, tmp_path / "copy" / "state")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"[7, 8]", b"[5, 9]"))
    assert path.read_bytes() != whole
    refused(path, lambda: Journal(settings(path.parent.parent)))
    refused(path, lambda: status(path.parent, max_bytes=1))

    found = repair(path.parent)

    assert found.unexplained
    assert not found.turned
    async with Journal(settings(path.parent.parent)) as journal:
        assert journal.last_seq == EVENTS


async def test_what_a_program_made_of_a_crashed_journal_is_checked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Journal(settings(tmp_path)) as journal:
        await fill(journal)
        crashed = left(tmp_path / "state" / "state.db", tmp_path / "copy" / "state")

    changed(crashed, "SELECT * FROM meta")  # puts the log in, as the last to close it

    async with Journal(settings(tmp_path / "copy")) as journal:
        assert journal.last_seq == EVENTS
    assert "was not closed by Levada and has no log" in caplog.text
    assert "was changed since Levada wrote it; what can be checked of it is right" in caplog.text


def contents(path: Path) -> list[str]:
    """Return all that a journal says, but for whether it is closed."""
    with closing(sqlite3.connect(path)) as connection:
        return [line for line in connection.iterdump() if "'closed'" not in line]


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


async def test_after_a_crash_it_is_noticed_too_and_nothing_comes_of_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "state.db"
    small = settings(tmp_path, max_journal_bytes=1024 * 1024)
    async with Journal(small) as journal:
        await fill(journal)  # more than the log may hold
        await journal.write(lambda connection: connection.execute("UPDATE partition SET memo = 7"))
        await at_rest(journal)
        crashed = left(path, tmp_path / "copy" / "state")
    whole, right = crashed.read_bytes(), contents(left(crashed, tmp_path / "look" / "state"))
    in_log = wal.held(crashed)
    assert in_log
    assert 0 < len(in_log.pages) < in_log.size // 2
    chance = random.Random(3)  # noqa: S311  # the same bits each time
    noticed = 0
    for _ in range(ROUNDS):
        again = left(crashed, tmp_path / "again" / "state")
        block = chance.randrange(1, len(whole) // rest.BLOCK)
        again.write_bytes(
            flipped(whole, (block * rest.BLOCK * 8) + chance.randrange(rest.BLOCK * 8))
        )
        if block + 1 not in in_log.pages:
            noticed += 1
            refused(again, partial(Journal, settings(tmp_path / "again")))
            refused(again, partial(status, again.parent, max_bytes=1))
            found = repair(again.parent)
            assert (found.turned, found.structure, found.damaged, found.reset) == (1, "", 0, {})

        async with Journal(settings(tmp_path / "again")):
            pass
        assert contents(again) == right
    assert noticed > ROUNDS // 2


async def test_what_a_crash_leaves_at_any_time_is_right(tmp_path: Path) -> None:
    path = tmp_path / "state" / "state.db"
    async with Journal(settings(tmp_path, max_journal_bytes=1024 * 1024)) as journal:
        state = await journal.source(SourceSetup.of(ScriptedSource()), accept_identity_change=False)
        logs, sizes = set[int](), list[int]()
        for number in range(60):
            await state.keep(Partition("run-1"), Batch([event(number, size=9_000)]))
            if number % 20 == 19:
                await journal.prune(early=True)
                await journal.write(lambda it: it.execute("PRAGMA incremental_vacuum").fetchall())
            await at_rest(journal)
            crashed = left(path, tmp_path / "copy" / "state")
            held = wal.held(crashed)
            logs.update([held.number] if held else [])
            sizes.append(crashed.stat().st_size)
            assert rest.sums_of(crashed).exists()
            assert not rest.change(crashed)
            half_put_in(crashed, random.Random(number))  # noqa: S311  # the same each time
            assert not rest.change(crashed)
            assert status(path.parent, max_bytes=1) is not None
    assert len(logs) > 5
    assert sizes != sorted(sizes), "it was never cut"
    assert not rest.change(path)


def half_put_in(path: Path, chance: random.Random) -> None:
    """Leave what a crash would that came while the log is put into the file."""
    log, before = log_of(path).read_bytes(), path.read_bytes()
    held = wal.held(path)
    changed(path, "PRAGMA wal_checkpoint(PASSIVE)")
    after = path.read_bytes()
    log_of(path).write_bytes(log)
    if held is None:
        return
    longer = max(before, after, key=len)
    blocks = range(0, len(chance.choice([before, after])), rest.BLOCK)
    parts = [
        (after if it // rest.BLOCK + 1 in held.pages and chance.random() < 0.5 else before)[
            it : it + rest.BLOCK
        ]
        for it in blocks
    ]
    whole = [part or longer[it : it + rest.BLOCK] for it, part in zip(blocks, parts, strict=True)]
    path.write_bytes(b"".join(whole))


async def test_a_program_that_puts_the_log_in_while_it_is_open_does_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state" / "state.db"
    async with Journal(settings(tmp_path)) as journal:
        for _ in range(3):
            await fill(journal)
            changed(path, "PRAGMA wal_checkpoint(PASSIVE)")
            await journal.write(lambda it: it.execute("UPDATE sink SET moves = moves + 1"))
            await at_rest(journal)
            assert not rest.change(left(path, tmp_path / "copy" / "state"))
        await journal.write(lambda connection: connection.execute(LONG))

    async with Journal(settings(tmp_path)):
        pass
    assert "was changed" not in caplog.text


def test_the_log_that_is_begun_after_it_was_closed_goes_with_what_was_noted(
    tmp_path: Path, path: Path
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as opened:
        opened.execute("UPDATE sink SET moves = moves + 1")
        crashed = left(path, tmp_path / "copy" / "state")

    assert not rest.change(crashed)
    crashed.write_bytes(flipped(crashed.read_bytes(), rest.BLOCK * 8 * 40))
    assert rest.change(crashed).bits == {40: 0}


async def test_somebody_who_reads_keeps_it_from_being_noted_only_for_a_while(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state" / "state.db"
    async with Journal(settings(tmp_path)) as journal:
        await fill(journal)
        with closing(schema.connect_to_read(path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM meta").fetchone()
            await journal.write(lambda connection: connection.execute(LONG))
        for _ in range(200):
            await journal.write(lambda it: it.execute("UPDATE sink SET moves = moves + 1"))
        await at_rest(journal)
        crashed = left(path, tmp_path / "copy" / "state")

    assert not rest.change(crashed)
    held = wal.held(crashed)
    assert held
    assert len(held.pages) < 10
    crashed.write_bytes(flipped(crashed.read_bytes(), rest.BLOCK * 8 * 1000))
    assert rest.change(crashed).bits == {1000: 0}


@pytest.mark.parametrize("how", ["SELECT * FROM meta", "UPDATE sink SET moves = moves + 1"])
async def test_a_program_that_puts_the_log_in_before_it_is_opened_does_no_harm(
    tmp_path: Path, how: str
) -> None:
    async with Journal(settings(tmp_path)) as journal:
        await fill(journal)
        crashed = left(tmp_path / "state" / "state.db", tmp_path / "copy" / "state")
    found = rest.found(crashed)
    changed(crashed, how)

    with closing(schema.connect(crashed)) as connection:
        upkeep = rest.Upkeep(connection, crashed, log_pages=1_000, found=found)
        upkeep.end()

    assert not rest.change(crashed)


async def test_while_it_is_in_use_nobody_else_in_the_process_opens_its_file(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(path: Path) -> None:
        raise AssertionError(path)

    async with Journal(settings(tmp_path)):
        monkeypatch.setattr(rest, "sums", never)
        assert status(path.parent, max_bytes=1) is not None

    assert path.with_name("state.db.sums").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("long", [False, True])
async def test_a_copy_without_its_log_is_noticed(tmp_path: Path, *, long: bool) -> None:
    copy = tmp_path / "copy" / "state" / "state.db"
    copy.parent.mkdir(parents=True, mode=0o700)
    async with Journal(settings(tmp_path)) as journal:
        await fill(journal)
        if long:  # SQLite puts it into the file, and begins another
            await journal.write(lambda connection: connection.execute(LONG))
            await fill(journal)
        await at_rest(journal)
        shutil.copy(tmp_path / "state" / "state.db", copy)

    with pytest.raises(StateError, match=r"damaged \(its log, state\.db-wal, is missing\)"):
        Journal(settings(tmp_path / "copy"))

    found = repair(copy.parent)

    assert found.structure
    assert long or found.structure == "its log, state.db-wal, was missing"
    async with Journal(settings(tmp_path / "copy")) as journal:
        await fill(journal)


async def test_a_copy_with_its_log_is_as_good_as_the_journal(tmp_path: Path) -> None:
    copy = tmp_path / "copy" / "state"
    async with Journal(settings(tmp_path)) as journal:
        await fill(journal)
        shutil.copytree(tmp_path / "state", copy)

    async with Journal(settings(tmp_path / "copy")) as journal:
        assert journal.last_seq == EVENTS


@pytest.mark.parametrize("full", [False, True])
async def test_somebody_who_reads_while_it_is_closed_does_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, full: bool
) -> None:
    path = tmp_path / "state" / "state.db"
    journal = Journal(settings(tmp_path))
    await fill(journal)
    with closing(sqlite3.connect(path)) as reader:  # which puts the log in, as the last to close it
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM meta").fetchone()
        if full:  # then it cannot even say that it is closed
            journal._writing.execute("PRAGMA max_page_count = 1")
        await journal.close()

    async with Journal(settings(tmp_path)) as journal:
        assert journal.last_seq == EVENTS
    assert "was changed" not in caplog.text


def test_checksums_of_another_time_are_not_believed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = path.read_bytes()
    path.write_bytes(flipped(whole, 5000))
    look = rest.sums

    def opened_and_closed(path: Path) -> object:
        monkeypatch.undo()
        found = look(path)
        path.write_bytes(whole)
        rest.note(path)
        return found

    monkeypatch.setattr(rest, "sums", opened_and_closed)

    assert not rest.change(path)


@pytest.mark.parametrize("name", ["state.db.sums", "state.db.sums-new"])
async def test_checksums_that_cannot_be_written_do_no_harm(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Journal(settings(tmp_path)) as journal:
        in_the_way = tmp_path / "state" / name
        in_the_way.unlink(missing_ok=True)
        in_the_way.mkdir()
        await fill(journal)

    in_the_way.rmdir()
    async with Journal(settings(tmp_path)) as journal:
        assert journal.last_seq == EVENTS
    assert caplog.text == ""


async def test_what_is_brought_up_to_date_is_noted_as_it_then_is(
    tmp_path: Path, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state = await journal.source(SourceSetup.of(ScriptedSource()), accept_identity_change=False)
        for run in range(3):  # more than a log that SQLite would put in by itself
            batch = Batch([event(number, size=1_000) for number in range(3_000)])
            await state.keep(Partition(f"run-{run + 2}"), batch)
    changed(path, BACK_TO_1)
    rest.forget(path)

    for _ in range(2):
        async with Journal(settings(tmp_path)) as journal:
            await at_rest(journal)
            assert not rest.change(left(path, tmp_path / "copy" / "state"))
        assert not rest.change(path)
    assert "was changed" not in caplog.text
