"""What a journal notices that was changed or cut while nobody was writing to it."""

import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from core.doubles import ScriptedSource, event, settings
from core.journal.states import EVENTS, at_rest, changed, fill, flipped, left
from levada import Batch, Partition, StateError
from levada.host import Finding
from levada.journal import Journal, checksums, wal
from levada.journal.repair import repair
from levada.journal.status import status
from levada.setup import SourceSetup

ROUNDS = 40


def refused(path: Path, look: Callable[[], object]) -> None:
    """Let somebody refuse the journal, and leave it as it is."""
    before = path.read_bytes()
    with pytest.raises(StateError, match=r"state\.db is damaged \(.*see what `levada repair`"):
        look()
    assert path.read_bytes() == before


@pytest.mark.parametrize("flips", [1, 3])
def test_flipped_bits_are_noticed_wherever_they_are_and_turned_back(
    tmp_path: Path, path: Path, flips: int
) -> None:
    whole = path.read_bytes()
    chance = random.Random(flips)  # noqa: S311  # the same bits each time
    header, blocks = range(100), range(1, len(whole) // checksums.BLOCK)
    for number in range(ROUNDS):
        places = [block * checksums.BLOCK for block in chance.sample(blocks, flips)]
        bits = [place * 8 + chance.randrange(checksums.BLOCK * 8) for place in places]
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
    for start in range(checksums.BLOCK, len(whole), checksums.BLOCK * 7):
        path.write_bytes(whole[:start] + bytes(512) + whole[start + 512 :])
        refused(path, lambda: Journal(settings(tmp_path)))

        found = repair(path.parent)

        assert found.structure
        assert found.turned == 0
        path.with_name("state.db.sums").unlink()
        path.write_bytes(whole)
        checksums.note(path)


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_file_that_was_cut_is_noticed(tmp_path: Path, path: Path, kept: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])

    refused(path, lambda: Journal(settings(tmp_path)))

    assert repair(path.parent).structure


@pytest.mark.parametrize("cut", [1, 2300, 4095, 4096, 6000])
async def test_one_that_was_cut_after_a_crash_can_be_used_after_its_repair(
    tmp_path: Path, cut: int
) -> None:
    async with Journal(settings(tmp_path)) as journal:
        await fill(journal)
        await at_rest(journal)
        path = left(tmp_path / "state" / "state.db", tmp_path / "copy" / "state")
    size = path.stat().st_size
    os.truncate(path, size - cut)
    repair(path.parent)

    for _ in range(3):
        async with Journal(settings(tmp_path / "copy")) as journal:
            state = await journal.source(
                SourceSetup.of(ScriptedSource()), accept_identity_change=True
            )
            await state.keep(Partition("run-2"), Batch([event(1, size=9_000)]))


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

    assert not checksums.change(path)


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


def contents(path: Path) -> list[str]:
    """Return all that a journal says, but for whether it is closed."""
    with closing(sqlite3.connect(path)) as connection:
        return [line for line in connection.iterdump() if "'closed'" not in line]


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
        block = chance.randrange(1, len(whole) // checksums.BLOCK)
        again.write_bytes(
            flipped(whole, (block * checksums.BLOCK * 8) + chance.randrange(checksums.BLOCK * 8))
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


async def test_while_it_is_in_use_nobody_else_in_the_process_opens_its_file(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(path: Path) -> None:
        raise AssertionError(path)

    async with Journal(settings(tmp_path)):
        monkeypatch.setattr(checksums, "of", never)
        assert status(path.parent, max_bytes=1) is not None

    assert path.with_name("state.db.sums").stat().st_mode & 0o777 == 0o600


def test_checksums_of_another_time_are_not_believed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = path.read_bytes()
    path.write_bytes(flipped(whole, 5000))
    look = checksums.of

    def opened_and_closed(path: Path) -> object:
        monkeypatch.undo()
        found = look(path)
        path.write_bytes(whole)
        checksums.note(path)
        return found

    monkeypatch.setattr(checksums, "of", opened_and_closed)

    assert not checksums.change(path)


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
