"""What becomes of a journal's log: with a crash, beside other programs, and where it is missing."""

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.doubles import ScriptedSource, event, settings
from core.journal.states import EVENTS, LONG, at_rest, changed, fill, flipped, left
from crash.test_kill_in_migration import BACK_TO_1
from levada import Batch, Partition, StateError
from levada.journal import Journal, checksums, opening, upkeep, wal
from levada.journal.files import log_of
from levada.journal.repair import repair
from levada.journal.status import status
from levada.setup import SourceSetup


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


async def test_what_a_crash_leaves_at_any_time_is_right(tmp_path: Path) -> None:
    path = tmp_path / "state" / "state.db"
    async with Journal(settings(tmp_path, max_journal_bytes=1024 * 1024)) as journal:
        state = await journal.source(SourceSetup.of(ScriptedSource()), accept_identity_change=False)
        logs, sizes = set[int](), list[int]()
        for number in range(60):
            await state.keep(Partition("run-1"), Batch([event(number, size=9_000)]))
            if number % 20 == 19:
                await journal.prune_early()
                await journal.write(lambda it: it.execute("PRAGMA incremental_vacuum").fetchall())
            await at_rest(journal)
            crashed = left(path, tmp_path / "copy" / "state")
            held = wal.held(crashed)
            logs.update([held.number] if held else [])
            sizes.append(crashed.stat().st_size)
            assert checksums.path_of(crashed).exists()
            assert not checksums.change(crashed)
            half_put_in(crashed, random.Random(number))  # noqa: S311  # the same each time
            assert not checksums.change(crashed)
            assert status(path.parent, max_bytes=1) is not None
    assert len(logs) > 5
    assert sizes != sorted(sizes), "it was never cut"
    assert not checksums.change(path)


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
    blocks = range(0, len(chance.choice([before, after])), checksums.BLOCK)
    parts = [
        (after if it // checksums.BLOCK + 1 in held.pages and chance.random() < 0.5 else before)[
            it : it + checksums.BLOCK
        ]
        for it in blocks
    ]
    whole = [
        part or longer[it : it + checksums.BLOCK] for it, part in zip(blocks, parts, strict=True)
    ]
    path.write_bytes(b"".join(whole))


async def test_a_crash_between_two_logs_that_a_program_has_looked_at_is_repaired(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state" / "state.db"
    async with Journal(settings(tmp_path)) as journal:
        await fill(journal)
        await at_rest(journal)
        journal._writing.execute(upkeep._SAY, (upkeep._OPENED,))
        journal._upkeep._checkpoint()
        crashed = left(path, tmp_path / "copy" / "state")
        changed(path, "PRAGMA wal_checkpoint(TRUNCATE)")
        assert status(path.parent, max_bytes=1) is not None  # it is still in use
    changed(crashed, "SELECT * FROM meta")  # takes the log away, as the last to close it

    with pytest.raises(StateError, match=r"\(its log, state\.db-wal, is missing\).*levada repair"):
        Journal(settings(tmp_path / "copy"))
    found = repair(crashed.parent)

    assert found.structure == "its log, state.db-wal, was missing"
    assert (found.damaged, found.lost, found.reset) == (0, {}, {})
    async with Journal(settings(tmp_path / "copy")) as journal:
        assert journal.last_seq == EVENTS


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
            assert not checksums.change(left(path, tmp_path / "copy" / "state"))
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

    assert not checksums.change(crashed)
    crashed.write_bytes(flipped(crashed.read_bytes(), checksums.BLOCK * 8 * 40))
    assert checksums.change(crashed).bits == {40: 0}


async def test_somebody_who_reads_keeps_it_from_being_noted_only_for_a_while(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state" / "state.db"
    async with Journal(settings(tmp_path)) as journal:
        await fill(journal)
        with closing(opening.connect_to_read(path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM meta").fetchone()
            await journal.write(lambda connection: connection.execute(LONG))
        for _ in range(200):
            await journal.write(lambda it: it.execute("UPDATE sink SET moves = moves + 1"))
        await at_rest(journal)
        crashed = left(path, tmp_path / "copy" / "state")

    assert not checksums.change(crashed)
    held = wal.held(crashed)
    assert held
    assert len(held.pages) < 10
    crashed.write_bytes(flipped(crashed.read_bytes(), checksums.BLOCK * 8 * 1000))
    assert checksums.change(crashed).bits == {1000: 0}


@pytest.mark.parametrize("how", ["SELECT * FROM meta", "UPDATE sink SET moves = moves + 1"])
async def test_a_program_that_puts_the_log_in_before_it_is_opened_does_no_harm(
    tmp_path: Path, how: str
) -> None:
    async with Journal(settings(tmp_path)) as journal:
        await fill(journal)
        crashed = left(tmp_path / "state" / "state.db", tmp_path / "copy" / "state")
    found = upkeep.found(crashed)
    changed(crashed, how)

    with closing(opening.connect(crashed)) as connection:
        it = upkeep.Upkeep(connection, crashed, log_pages=1_000, found=found)
        it.end()

    assert not checksums.change(crashed)


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


async def test_what_is_brought_up_to_date_is_noted_as_it_then_is(
    tmp_path: Path, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state = await journal.source(SourceSetup.of(ScriptedSource()), accept_identity_change=False)
        for run in range(3):  # more than a log that SQLite would put in by itself
            batch = Batch([event(number, size=1_000) for number in range(3_000)])
            await state.keep(Partition(f"run-{run + 2}"), batch)
    changed(path, BACK_TO_1)
    checksums.forget(path)

    for _ in range(2):
        async with Journal(settings(tmp_path)) as journal:
            await at_rest(journal)
            assert not checksums.change(left(path, tmp_path / "copy" / "state"))
        assert not checksums.change(path)
    assert "was changed" not in caplog.text
