import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.doubles import CollectingSink, ScriptedSource, event, events, settings
from levada import Batch, Partition, StateError
from levada.journal import Cursor, Journal, checksums, opening, values
from levada.journal.dead_letters import Choice, letters
from levada.journal.repair import repair
from levada.journal.status import SinkStatus, status
from levada.setup import SinkSetup, SourceSetup

RUN = Partition("run-1")
EVENTS = 300
DELIVERED = 100
FLIPS = 60

FILLED = """
UPDATE source SET position = '7';
UPDATE partition SET position = '7', version = '7', memo = '7', sorting = 'a',
    changed = '2026-01-02T00:00:00+00:00';
UPDATE delivery SET due = 1.5, wait = 1.5, reason = 'x';
UPDATE sink SET due = 1.5, wait = 1.5, reason = 'x', receipt = '7';
UPDATE sink SET dead = 1, delivered = delivered - 1 WHERE name = 'fast';
INSERT INTO dead VALUES (1, 'fast', 'c', 'a', 'p', 'e', 5, x'7b', 'why', 1,
    '2026-01-02T00:00:00+00:00', 'u', 't', '2026-01-02T00:00:00+00:00', 's', 'k');
INSERT INTO diagnostic VALUES ('c', 'w', '{}', 1, '2026-01-02T00:00:00+00:00',
    '2026-01-02T00:00:00+00:00');
"""
"""Gives every column of every table a value."""


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """Return the state of a pipeline with 300 events, of which the sink "fast" has 100.

    Nothing tells how it was left: as after a crash.
    """
    async with Journal(settings(tmp_path)) as journal:
        setup = SourceSetup.of(ScriptedSource())
        state = await journal.source(setup, accept_identity_change=False)
        sinks = [SinkSetup.of(CollectingSink(), name=name) for name in ("fast", "slow")]
        fast, slow = [await journal.cursor(each, accept_identity_change=False) for each in sinks]
        for first in range(1, EVENTS, 50):
            await state.keep(RUN, Batch([event(n, size=2000) for n in range(first, first + 50)]))
        found = fast.next_events(DELIVERED, 1 << 30)
        for delivery in await fast.plan([found], DELIVERED, 0):
            await fast.done(delivery, None, {})
        await slow.plan([slow.next_events(20, 1 << 30)], 20, 0)
    checksums.forget(tmp_path / "state" / "state.db")
    return tmp_path / "state"


def sinks(folder: Path) -> dict[str, SinkStatus]:
    found = status(folder, max_bytes=1)
    assert found is not None
    for sink in found.sinks:
        counts = (sink.delivered, sink.pending, sink.dead, sink.dropped, sink.filtered)
        assert sink.fetched == sum(counts), sink
    return {sink.name: sink for sink in found.sinks}


async def cursor(journal: Journal, name: str) -> Cursor:
    setup = SinkSetup.of(CollectingSink(), name=name)
    return await journal.cursor(setup, accept_identity_change=True)


async def deliver_all(cursor: Cursor) -> None:
    for delivery in cursor.outstanding():
        assert delivery.events
        await cursor.done(delivery, None, {})
    while found := cursor.next_events(100, 1 << 30):
        for delivery in await cursor.plan([found], found[-1].seq or 0, 0):
            await cursor.done(delivery, None, {})


async def use(tmp_path: Path) -> None:
    """Let a source and both sinks work with the journal."""
    async with Journal(settings(tmp_path)) as journal:
        state = await journal.source(SourceSetup.of(ScriptedSource()), accept_identity_change=True)
        assert state.position in {None, 7}
        state.unfinished()
        state.known(RUN.key, ["evt-1"])
        await state.keep(RUN, Batch([event(n, size=2000) for n in range(EVENTS - 1, EVENTS + 2)]))
        for name in ("fast", "slow"):
            sink = await cursor(journal, name)
            await deliver_all(sink)
            assert sink.caught_up()
            assert sink.pending() == 0


def values_broken(folder: Path) -> dict[str, int]:
    with closing(opening.connect(folder / "state.db")) as connection:
        return values.broken(connection)


def changed(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "state.db", isolation_level=None)) as other:
        other.executescript(statement)


def test_a_whole_journal_is_left_alone(folder: Path) -> None:
    before = (folder / "state.db").read_bytes()

    assert repair(folder).copy is None

    assert (folder / "state.db").read_bytes() == before
    sqlites = {"state.db-wal", "state.db-shm"}  # empty; who only reads cannot remove them
    found = {path.name for path in folder.iterdir()} - sqlites
    assert found == {"state.db", "state.db.sums", "state.lock"}


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE event SET raw = CAST(replace(raw, '5', '6') AS BLOB) WHERE seq = 15",
        "UPDATE event SET type = 'step_failed' WHERE seq = 15",
        "UPDATE event SET time = '2026-01-02T00:00:16+00:00' WHERE seq = 15",
        "UPDATE event SET id = 'evt-16' WHERE seq = 15",
        "UPDATE event SET raw = 5, subject = 7.5, kind = x'ff' WHERE seq = 15",
    ],
    ids=["raw", "type", "time", "id", "types"],
)
async def test_a_damaged_event_is_a_dead_letter_of_those_who_had_not_got_it(
    tmp_path: Path, folder: Path, damage: str
) -> None:
    changed(folder, damage)
    async with Journal(settings(tmp_path)) as journal:
        with pytest.raises(StateError, match=r"event 15 in the journal is damaged.*levada repair"):
            journal.events_after(0, EVENTS, 1 << 30)

    found = repair(folder)

    assert (found.damaged, found.structure) == (1, "")
    assert found.copy is not None
    after = sinks(folder)
    assert (after["fast"].dead, after["slow"].dead) == (0, 1)
    assert (after["fast"].pending, after["slow"].pending) == (EVENTS - DELIVERED, EVENTS - 1)
    (letter,) = letters(folder, Choice())
    assert (letter.sink, letter.seq) == ("slow", 15)
    assert "damaged on this machine's disk" in letter.reason
    async with Journal(settings(tmp_path)) as journal:
        assert len(journal.events_after(0, EVENTS, 1 << 30)) == EVENTS - 1


async def test_an_event_whose_text_is_none_any_more_is_damaged(folder: Path) -> None:
    changed(folder, "UPDATE event SET time = CAST(x'32ff' AS TEXT) WHERE seq = 15")

    found = repair(folder)

    assert (found.damaged, found.structure) == (1, "")
    (letter,) = letters(folder, Choice())
    assert (letter.sink, letter.seq) == ("slow", 15)


@pytest.mark.parametrize("keep", [0.9, 0.6])
async def test_of_a_file_that_was_cut_what_can_be_read_is_kept(
    tmp_path: Path, folder: Path, keep: float
) -> None:
    path = folder / "state.db"
    whole = path.read_bytes()
    pages = int(len(whole) // 4096 * keep)
    path.write_bytes(whole[: pages * 4096])
    with pytest.raises(StateError, match="is damaged"):
        Journal(settings(tmp_path))

    found = repair(folder)

    assert found.structure
    assert found.copy is not None
    assert found.copy.read_bytes() == whole[: pages * 4096]
    sinks(folder)
    async with Journal(settings(tmp_path)) as journal:
        kept = journal.events_after(0, EVENTS, 1 << 30)
        assert 0 < len(kept) < EVENTS
    whole_status = status(folder, max_bytes=1)
    assert whole_status is not None
    assert whole_status.last_seq == EVENTS


async def test_garbage_in_the_middle_is_survived(tmp_path: Path, folder: Path) -> None:
    path = folder / "state.db"
    whole = path.read_bytes()
    middle = len(whole) // 8192 * 4096
    path.write_bytes(whole[:middle] + b"\xa5" * 8192 + whole[middle + 8192 :])

    repair(folder)

    sinks(folder)
    async with Journal(settings(tmp_path)) as journal:
        state = await journal.source(SourceSetup.of(ScriptedSource()), accept_identity_change=False)
        await state.keep(Partition("run-2"), Batch(events(1, 3, "run-2")))
        assert journal.last_seq == EVENTS + 3


async def test_sinks_end_though_the_newest_event_was_damaged(tmp_path: Path, folder: Path) -> None:
    changed(folder, f"UPDATE event SET type = 'another' WHERE seq = {EVENTS}")

    repair(folder)

    async with Journal(settings(tmp_path)) as journal:
        slow = await cursor(journal, "slow")
        await deliver_all(slow)
        assert slow.caught_up()
    assert sinks(folder)["slow"].dead == 1


async def test_events_of_a_partition_that_was_lost_are_dead_letters(
    tmp_path: Path, folder: Path
) -> None:
    changed(folder, "DELETE FROM partition")
    async with Journal(settings(tmp_path)) as journal:
        with pytest.raises(StateError, match=r"event 1 in the journal is damaged.*levada repair"):
            journal.events_after(0, EVENTS, 1 << 30)

    repair(folder)

    await use(tmp_path)
    assert sinks(folder)["slow"].dead == EVENTS


TORN = "CAST(x'ff41' AS TEXT)"
"""Text that is none, in any encoding that SQLite knows."""


@pytest.mark.parametrize("rule", values.RULES, ids=lambda rule: rule.name)
async def test_a_value_that_cannot_be_read_is_named_and_put_right(
    tmp_path: Path, folder: Path, rule: values.Rule
) -> None:
    changed(folder, FILLED)
    assert not values_broken(folder)
    changed(folder, f"UPDATE {rule.table} SET {rule.column} = {TORN} || {rule.column}")

    found = repair(folder)

    assert rule.name in found.reset
    assert found.copy is not None
    assert not values_broken(folder)
    await use(tmp_path)
    sinks(folder)


@pytest.mark.parametrize("damage", ["members = '[[1,20'", "sink = 'slov'", "members = x'ff'"])
async def test_a_delivery_that_cannot_be_read_is_made_again_from_what_is_left(
    folder: Path, damage: str
) -> None:
    before = sinks(folder)["slow"]
    changed(folder, f"PRAGMA foreign_keys = OFF; UPDATE delivery SET {damage}")

    repair(folder)

    assert sinks(folder)["slow"] == before


async def test_what_lies_behind_a_page_that_cannot_be_read_is_kept(folder: Path) -> None:
    path = folder / "state.db"
    with closing(sqlite3.connect(path)) as other:
        ((page,),) = (
            other.execute(
                "SELECT pageno FROM dbstat WHERE name = 'event' AND pagetype = 'leaf'"
                " ORDER BY path LIMIT 1 OFFSET 50"
            )
            if "ENABLE_DBSTAT_VTAB" in str(other.execute("PRAGMA compile_options").fetchall())
            else ((0,),)
        )
    if not page:
        pytest.skip("this SQLite does not tell where its tables are")
    whole = path.read_bytes()
    at = (page - 1) * 4096
    path.write_bytes(whole[:at] + b"\xa5" * 4096 + whole[at + 4096 :])

    found = repair(folder)

    assert found.lost == {"event": 1}
    assert 0 < sinks(folder)["slow"].dropped <= 2


async def test_one_sink_whose_place_is_lost_gets_what_it_had_yet_to_get(
    tmp_path: Path, folder: Path
) -> None:
    changed(folder, f"UPDATE sink SET seq = {EVENTS} WHERE name = 'slow'")

    assert repair(folder).reset == {"sink.accounts": 1}

    assert sinks(folder)["slow"].pending == EVENTS
    assert sinks(folder)["slow"].dropped == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"CREATE TABLE event", b"CREATE TIBLE event"),
        (b"tablesinksink", b"tablesinosink"),
        (b"    attempts INTEGER NOT NULL,", b"    attempts INTEGER \xceOT NULL,"),
        (b"REFERENCES sink", b"REFERENCES sinj"),
        (b"event_time TEXT", b"evdnt_time TEXT"),
    ],
)
async def test_what_defines_the_tables_is_put_back(
    tmp_path: Path, folder: Path, old: bytes, new: bytes
) -> None:
    path = folder / "state.db"
    assert path.read_bytes().count(old) == 1
    path.write_bytes(path.read_bytes().replace(old, new))

    found = repair(folder)

    assert found.structure
    assert (found.lost, found.damaged, found.reset) == ({}, 0, {})
    await use(tmp_path)
    assert sinks(folder)["slow"].delivered == EVENTS + 1


async def test_after_any_flipped_bit_it_works_again_or_says_that_it_cannot(
    tmp_path: Path, folder: Path
) -> None:
    whole = (folder / "state.db").read_bytes()
    chance = random.Random(1)  # noqa: S311  # the same bits each time
    refused = 0
    for _ in range(FLIPS):
        at = chance.choice([at for at in chance.sample(range(100, len(whole)), 50) if whole[at]])
        flipped = whole[at] ^ 1 << chance.randrange(8)
        (folder / "state.db").write_bytes(whole[:at] + bytes([flipped]) + whole[at + 1 :])
        checksums.forget(folder / "state.db")
        try:
            repair(folder)
        except StateError as error:
            assert "restore a copy" in str(error)  # noqa: PT017  # one of several is enough
            refused += 1
        else:
            await use(tmp_path)
            sinks(folder)
    assert refused <= FLIPS // 20


async def test_a_journal_in_use_is_left_alone(tmp_path: Path, folder: Path) -> None:
    async with Journal(settings(tmp_path)):
        with pytest.raises(StateError, match="in use by process"):
            repair(folder)


def test_without_a_journal_there_is_nothing_to_repair(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="nothing to repair"):
        repair(tmp_path)


def test_what_is_no_journal_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a journal" * 400)

    with pytest.raises(StateError, match="file is not a database"):
        repair(tmp_path)

    assert (tmp_path / "state.db").read_bytes() == b"not a journal" * 400


def lose(path: Path, pages: list[int]) -> None:
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * 4096)
            file.write(bytes(4096))


async def test_events_that_are_lost_with_the_sinks_that_had_yet_to_get_them_are_read_again(
    tmp_path: Path, folder: Path
) -> None:
    roots = "SELECT rootpage FROM sqlite_schema WHERE name IN ('sink', 'event')"
    with closing(sqlite3.connect(folder / "state.db", isolation_level=None)) as connection:
        pages = [page for (page,) in connection.execute(roots)]
    lose(folder / "state.db", pages)

    found = repair(folder)

    assert {"sink", "event"} <= found.lost.keys()
    assert found.forgets_positions
    async with Journal(settings(tmp_path)) as journal:
        setup = SourceSetup.of(ScriptedSource())
        state = await journal.source(setup, accept_identity_change=False)
        again = await state.keep(RUN, Batch(events(1, EVENTS)))
        assert again.new == EVENTS
        assert state.count(RUN.key) == EVENTS
