import asyncio
import json
import logging
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from core.doubles import CollectingSink, ScriptedSource, event, events, names, settings
from levada import Batch, Partition, Rejected, StateError
from levada.journal import Cursor, Journal, SourceState, checksums, dead_letters, pruning
from levada.journal.dead_letters import Choice
from levada.journal.status import status
from levada.setup import SinkSetup, SourceSetup

MIB = 1024 * 1024
RUN = Partition("run-1")
WRITER = Path(__file__).parents[1] / "keep_for_ever.py"


async def opened(journal: Journal, *sinks: str) -> tuple[SourceState, list[Cursor]]:
    state = await journal.source(SourceSetup.of(ScriptedSource()), accept_identity_change=False)
    setups = [SinkSetup.of(CollectingSink(), name=name) for name in sinks]
    return state, [await journal.cursor(each, accept_identity_change=False) for each in setups]


async def delivered(cursor: Cursor, count: int) -> None:
    """Let a sink get its next *count* events."""
    found = cursor.next_events(count, 1 << 30)
    for delivery in await cursor.plan([found], found[-1].seq or 0, 0):
        await cursor.done(delivery, None, {})


def room_taken(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.iterdir() if each.suffix != ".db-shm")


def left(journal: Journal) -> list[int]:
    return [seq for (seq,) in journal.read("SELECT seq FROM event ORDER BY seq")]


def changed(folder: Path, statement: str, *values: Any) -> None:
    """Change the journal behind Levada's back."""
    with closing(sqlite3.connect(folder / "state" / "state.db", isolation_level=None)) as other:
        other.execute(statement, values)
    checksums.forget(folder / "state" / "state.db")


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


async def test_only_the_owner_may_look_into_the_state(tmp_path: Path, usual_umask: None) -> None:
    async with Journal(settings(tmp_path)) as journal:
        await opened(journal, "archive")
        folder = tmp_path / "state"
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = {"state.db", "state.db-wal", "state.db-shm", "state.db.sums", "state.lock"}
    assert modes == dict.fromkeys(files, 0o600)


async def test_a_folder_that_cannot_be_made_is_an_error_of_the_state(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")

    with pytest.raises(StateError, match="cannot be made: File exists"):
        Journal(settings(tmp_path))


@pytest.mark.parametrize("suffix", ["-wal", "-journal", ".sums"])
async def test_a_folder_in_the_place_of_what_is_kept_beside_it_is_refused(
    tmp_path: Path, suffix: str
) -> None:
    async with Journal(settings(tmp_path)):
        pass
    beside = tmp_path / "state" / f"state.db{suffix}"
    beside.unlink(missing_ok=True)
    beside.mkdir()

    with pytest.raises(StateError, match=f"state.db{suffix} is not a file; move it away"):
        Journal(settings(tmp_path))


async def test_a_refused_journal_is_let_go_of(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "state.db").write_bytes(b"garbage" * 1000)

    for _ in range(2):
        with pytest.raises(StateError, match="file is not a database"):
            Journal(settings(tmp_path))

    assert (tmp_path / "state" / "state.db").read_bytes() == b"garbage" * 1000


async def test_one_state_serves_one_pipeline_at_a_time(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)):
        with pytest.raises(StateError, match=f"in use by process {os.getpid()};"):
            Journal(settings(tmp_path))


async def test_a_journal_keeps_its_name_over_restarts(tmp_path: Path) -> None:
    uuids = set()
    for _ in range(2):
        async with Journal(settings(tmp_path)) as journal:
            uuids.add(journal.uuid)

    assert len(uuids) == 1


async def test_reads_stop_at_the_bytes_they_may_have(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state, _ = await opened(journal)
        await state.keep(RUN, Batch([event(number, size=1000) for number in range(1, 9)]))

        found = journal.events_after(2, 100, 2500)

    assert names(found) == names(events(3, 5))


async def test_a_damaged_event_is_named_and_never_given_out(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state, _ = await opened(journal)
        await state.keep(RUN, Batch(events(1, 3)))
    changed(tmp_path, "UPDATE event SET raw = ? WHERE seq = 2", b'{"n":7}')

    async with Journal(settings(tmp_path)) as journal:
        with pytest.raises(StateError, match="event 2 in the journal is damaged"):
            journal.events_after(0, 10, 10_000)


async def test_a_damaged_file_is_an_error_of_the_state(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state, _ = await opened(journal)
        await state.keep(RUN, Batch([event(number, size=3000) for number in range(1, 100)]))
    path = tmp_path / "state" / "state.db"
    whole = path.read_bytes()
    damaged = whole[: 20 * 4096] + os.urandom(len(whole) - 20 * 4096)
    path.write_bytes(damaged)

    with pytest.raises(StateError, match=r"state\.db is damaged .*; nothing was changed"):
        Journal(settings(tmp_path))

    assert path.read_bytes() == damaged


async def test_the_file_gives_back_what_it_will_not_need_for_long(tmp_path: Path) -> None:
    def pages(journal: Journal) -> int:
        ((count,),) = journal.read("PRAGMA page_count")
        return int(count)

    async with Journal(settings(tmp_path, retention=timedelta(seconds=-2))) as journal:
        state, (cursor,) = await opened(journal, "file")
        for first in range(1, 400, 100):
            large = [event(n, size=40_000) for n in range(first, first + 100)]
            await state.keep(RUN, Batch(large))
        full = pages(journal)
        await delivered(cursor, 400)

        await journal.prune()

        assert left(journal) == []
        assert full > 1.2 * pruning.SPARE_PAGES
        assert pages(journal) <= pruning.SPARE_PAGES + 100


async def test_numbers_go_on_after_everything_was_pruned(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path, retention=timedelta(0))) as journal:
        state, _ = await opened(journal)
        await state.keep(RUN, Batch(events(1, 5)))
        await journal.prune_early()
        assert left(journal) == []

    async with Journal(settings(tmp_path)) as journal:
        state, _ = await opened(journal)
        await state.keep(RUN, Batch(events(6, 7)))

        assert left(journal) == [6, 7]


async def test_delivered_events_stay_until_their_retention_is_over(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path, retention=timedelta(hours=24))) as journal:
        state, (archive,) = await opened(journal, "archive")
        await state.keep(RUN, Batch(events(1, 3)))
        await delivered(archive, 3)
        changed(tmp_path, "UPDATE event SET kept_at = ? WHERE seq < 3", time.time() - 25 * 3600)

        pruned = await journal.prune()

        assert (pruned, left(journal)) == (2, [3])


async def test_where_room_is_needed_events_of_a_time_to_come_go_as_well(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state, (archive,) = await opened(journal, "archive")
        await state.keep(RUN, Batch(events(1, 3)))
        await delivered(archive, 3)
        changed(tmp_path, "UPDATE event SET kept_at = ?", time.time() + 365 * 86_400)

        await journal.prune_early()

        assert left(journal) == []


async def test_pruning_waits_for_the_slowest_sink(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state, (fast, slow) = await opened(journal, "fast", "slow")
        await state.keep(RUN, Batch(events(1, 5)))
        await delivered(fast, 5)
        await delivered(slow, 2)

        await journal.prune_early()

        assert left(journal) == [3, 4, 5]


async def test_a_delivery_under_way_keeps_its_events_and_no_others(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state, (archive,) = await opened(journal, "archive")
        await state.keep(RUN, Batch(events(1, 9)))
        found = archive.next_events(9, 10_000)
        done, first, second = await archive.plan(
            [found[:2], [found[2], found[5]], found[6:8]], 8, 0
        )
        await archive.done(done, None, {})

        await journal.prune_early()
        assert left(journal) == [3, 6, 7, 8, 9]
        assert [each.seq for each in first.events] == [3, 6]

        await archive.done(first, None, {})
        await journal.prune_early()
        assert left(journal) == [7, 8, 9]
        await archive.done(second, None, {})
        await journal.prune_early()
        assert left(journal) == [9]


async def test_a_new_sink_counts_what_has_gone_of_what_it_begins_with_as_dropped(
    tmp_path: Path,
) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state, (archive,) = await opened(journal, "archive")
        await state.keep(RUN, Batch(events(1, 9)))
        found = archive.next_events(9, 10_000)
        _, done = await archive.plan([found[2:4], found[4:8]], 8, 0)
        await archive.done(done, None, {})
        await journal.prune_early()

    async with Journal(settings(tmp_path)) as journal:
        late = await journal.cursor(
            SinkSetup.of(CollectingSink(), name="late"), accept_identity_change=False
        )

        assert [event.seq for event in late.next_events(9, 10_000)] == [3, 4, 9]
        rows = journal.read("SELECT since, dropped FROM sink WHERE name = 'late'")
        assert rows == [(2, 4)]


async def test_a_sink_that_was_removed_holds_nothing_back(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state, _ = await opened(journal, "removed")
        await state.keep(RUN, Batch(events(1, 5)))

    async with Journal(settings(tmp_path)) as journal:
        _, (archive,) = await opened(journal, "archive")
        await delivered(archive, 5)
        await journal.prune_early()

        assert left(journal) == []


async def fill(state: SourceState) -> Batch:
    """Keep batches until there is no room for another; return that."""
    for number in count(1, 5):
        batch = Batch([event(each, size=50_000) for each in range(number, number + 5)])
        try:
            await asyncio.wait_for(state.room(batch), 0.05)
        except TimeoutError:
            return batch
        await state.keep(RUN, batch)
    raise AssertionError


async def test_a_full_journal_makes_room_of_what_was_delivered(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path, max_journal_bytes=MIB)) as journal:
        state, (archive,) = await opened(journal, "archive")
        batch = await fill(state)
        await delivered(archive, 5)

        await asyncio.wait_for(state.room(batch), 1)

        assert left(journal) == [6, 7, 8, 9, 10]


async def test_a_full_journal_makes_sources_wait_until_a_sink_moves_on(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path, max_journal_bytes=MIB)) as journal:
        state, (archive,) = await opened(journal, "archive")
        batch = await fill(state)
        waiting = asyncio.create_task(state.room(batch))
        await asyncio.wait([waiting], timeout=0.1)
        assert not waiting.done()

        await delivered(archive, 10)

        await asyncio.wait_for(waiting, 2)


async def refused(cursor: Cursor, count: int) -> None:
    """Let a sink's next *count* events become dead letters."""
    found = cursor.next_events(count, 1 << 30)
    for delivery in await cursor.plan([found], found[-1].seq or 0, 0):
        await cursor.done(delivery, None, {(each.partition, each.id): "422" for each in found})


def dropped(choice: Choice, connection: sqlite3.Connection) -> int:
    return dead_letters.drop(connection, dead_letters.chosen(connection, choice))


def sizes(journal: Journal) -> tuple[int, int]:
    found = status(journal.settings.state, max_bytes=MIB)
    assert found is not None
    return found.size, found.dead_letters_size


async def test_dead_letters_take_room_until_they_are_dropped(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state, (archive,) = await opened(journal, "archive")
        await state.keep(RUN, Batch([event(each, size=50_000) for each in range(3)]))
        await state.keep(RUN, Batch([], rejected=[Rejected(b"x" * 50_000, reason="no id")]))
        await refused(archive, 3)
        assert await journal.prune_early() == 3

        size, letters = sizes(journal)

        assert 200_000 < letters == size < 220_000
        await journal.write(lambda it: dead_letters.drop(it, dead_letters.chosen(it, Choice())))
        assert sizes(journal) == (0, 0)


async def test_letters_of_one_event_share_its_record(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state, sinks = await opened(journal, "a", "b", "c")
        await state.keep(RUN, Batch([event(each, size=50_000) for each in range(3)]))
        for cursor in sinks:
            await refused(cursor, 3)
        await journal.prune_early()

        assert 150_000 < sizes(journal)[0] < 170_000
        for name in ("a", "c"):
            drop = partial(dropped, Choice(sink=name))
            await journal.write(drop)
            left = dead_letters.letters(journal.settings.state, Choice(), with_raw=True)
            assert [len(each.raw or b"") > 49_000 for each in left] == [True] * len(left)
            assert 150_000 < sizes(journal)[0] < 170_000
        await journal.write(lambda it: dead_letters.retry(it, dead_letters.chosen(it, Choice())))
        assert len(sinks[1].outstanding()) == 3
        assert all(each.events[0].raw for each in sinks[1].outstanding())
        assert sizes(journal)[1] == 0


async def test_a_retried_letter_gives_its_room_to_its_event(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state, (archive,) = await opened(journal, "archive")
        await state.keep(RUN, Batch([event(1, size=50_000)]))
        before = sizes(journal)
        await refused(archive, 1)
        await journal.prune_early()

        await journal.write(lambda it: dead_letters.retry(it, dead_letters.chosen(it, Choice())))

        assert sizes(journal) == before
        await journal.prune_early()
        assert sizes(journal) == before  # it is pending


async def test_what_is_dead_twice_takes_the_room_of_one(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state, _ = await opened(journal, "archive")
        batch = Batch([], rejected=[Rejected(b"x" * 50_000, reason="no id")])
        await state.keep(RUN, batch)
        once = sizes(journal)

        await state.keep(RUN, batch)

        assert sizes(journal) == once


async def test_sources_wait_where_dead_letters_fill_the_journal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Journal(settings(tmp_path, max_journal_bytes=2 * MIB)) as journal:
        state, (archive,) = await opened(journal, "archive")
        batches = [Batch([event(n, size=100_000) for n in (m, m + 1)]) for m in range(0, 12, 2)]
        for batch in batches:
            await asyncio.wait_for(state.room(batch), 1)
            await state.keep(RUN, batch)
            await refused(archive, 2)
        waiting = asyncio.create_task(state.room(batches[0]))
        await asyncio.wait([waiting], timeout=0.1)
        assert not waiting.done()

        await journal.write(lambda it: dead_letters.drop(it, dead_letters.chosen(it, Choice())))

        await asyncio.wait_for(waiting, 2)
    assert (
        "too full for what comes next; most of it is dead letters: see `levada dead list`"
        in caplog.text
    )


async def test_a_few_dead_letters_are_no_reason_for_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state, (archive,) = await opened(journal, "archive")
        await state.keep(RUN, Batch(events(1, 3)))
        await refused(archive, 3)
        await journal.prune_early()

        await state.room(Batch(events(4, 5)))

    assert caplog.messages == []


async def test_a_letter_does_not_keep_out_a_batch_that_is_larger_than_the_journal(
    tmp_path: Path,
) -> None:
    async with Journal(settings(tmp_path, max_journal_bytes=MIB)) as journal:
        state, (archive,) = await opened(journal, "archive")
        await state.keep(RUN, Batch([event(1)]))
        await refused(archive, 1)

        large = Batch([event(each, size=900_000) for each in (2, 3)])

        await asyncio.wait_for(state.room(large), 1)


async def test_an_item_too_large_for_the_journal_is_kept_in_part(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path, max_journal_bytes=MIB)) as journal:
        state, _ = await opened(journal, "archive")

        items = [Rejected(b"x" * 5 * MIB, reason="no id"), Rejected(b"y" * 1000, reason="no id")]
        await state.keep(RUN, Batch([], rejected=items))

        found = journal.read("SELECT length(raw), reason FROM dead ORDER BY id")
        assert found == [
            (MIB // 8, "no id; of its 5242880 bytes the first 131072 are kept"),
            (1000, "no id"),
        ]


async def test_a_reason_without_end_is_cut(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state, (archive,) = await opened(journal, "archive")
        await state.keep(RUN, Batch([event(1)]))
        (delivery,) = await archive.plan([archive.next_events(1, 1)], 1, 0)

        await archive.done(delivery, None, {("run-1", "evt-1"): "no " * 1_000_000})

        ((length,),) = journal.read("SELECT length(reason) FROM dead")
        assert length < 10_000


async def test_long_names_take_room_too(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state, (archive,) = await opened(journal, "archive")
        await state.keep(RUN, Batch([evolve(event(1), subject="\u00e9" * 100_000)]))

        size, _ = sizes(journal)

        assert 200_000 < size < 220_000
        await delivered(archive, 1)
        await journal.prune_early()
        assert sizes(journal) == (0, 0)


async def test_a_small_journal_has_a_small_log(tmp_path: Path) -> None:
    largest = 0
    async with Journal(settings(tmp_path, max_journal_bytes=2 * MIB)) as journal:
        state, _ = await opened(journal, "slow")
        for first in range(0, 1_500, 50):
            numbers = range(first, first + 50)
            await state.keep(RUN, Batch([event(number, size=500) for number in numbers]))
            largest = max(largest, room_taken(tmp_path / "state"))

    assert largest <= 2 * MIB


async def test_a_filling_journal_names_the_sink_that_holds_it_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Journal(settings(tmp_path, max_journal_bytes=2 * MIB)) as journal:
        state, (fast, _) = await opened(journal, "fast", "slow")
        with caplog.at_level(logging.WARNING):
            await state.keep(RUN, Batch([event(each, size=100_000) for each in range(12)]))
            await delivered(fast, 12)
            await state.room(Batch(()))
            await state.room(Batch(()))

    (record,) = caplog.records
    assert record.getMessage().endswith("sink 'slow' holds it back")


def keep_until_killed(folder: Path) -> None:
    """Let another process keep events, and kill it at any moment after the first."""
    with subprocess.Popen(
        [sys.executable, str(WRITER), str(folder)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(random.uniform(0, 0.08))  # noqa: S311  # any moment will do
        writer.send_signal(signal.SIGKILL)


async def test_events_and_position_are_there_together_or_not_at_all(tmp_path: Path) -> None:
    for _ in range(8):
        await asyncio.to_thread(keep_until_killed, tmp_path)

        async with Journal(settings(tmp_path)) as journal:
            ((kept, position),) = journal.read(
                "SELECT (SELECT count(*) FROM event), position FROM partition"
            )
            (checkpoint,) = journal.read("SELECT position FROM source")
            assert json.loads(position) == kept
            assert json.loads(checkpoint[0]) <= kept


async def test_events_whose_keeper_did_not_wait_are_not_passed_over(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state, (archive,) = await opened(journal, "archive")
        await state.keep(RUN, Batch(events(1, 2)))
        abandoned = asyncio.ensure_future(state.keep(RUN, Batch(events(3, 4))))
        abandoned.cancel()
        await state.keep(RUN, Batch(events(5, 6)))

        found = archive.next_events(100, MIB)

    assert names(found) == names(events(1, 6))


async def test_a_group_that_failed_leaves_nothing_for_sinks(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state, (archive,) = await opened(journal, "archive")
        await state.keep(RUN, Batch(events(1, 2)))
        lost = state.keep(RUN, Batch(events(3, 4)))
        broken = journal.write(lambda connection: connection.execute("INSERT INTO nothing"))
        await asyncio.gather(lost, broken, return_exceptions=True)
        state, _ = await opened(journal)  # that one keeps nothing more
        await state.keep(RUN, Batch(events(5, 6)))

        found = archive.next_events(100, MIB)

    assert [(each.id, each.seq) for each in found] == [
        ("evt-1", 1),
        ("evt-2", 2),
        ("evt-5", 3),
        ("evt-6", 4),
    ]
