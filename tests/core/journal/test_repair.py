import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.doubles import CollectingSink, ScriptedSource, event, events, settings
from levada import Batch, Partition, StateError
from levada.journal import Journal
from levada.journal.dead_letters import Choice, letters
from levada.journal.repair import repair
from levada.journal.status import SinkStatus, status
from levada.setup import SinkSetup, SourceSetup

RUN = Partition("run-1")
EVENTS = 300
DELIVERED = 100


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """Return the state of a pipeline with 300 events, of which the sink "fast" has 100."""
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
    return tmp_path / "state"


def sinks(folder: Path) -> dict[str, SinkStatus]:
    found = status(folder, max_bytes=1)
    assert found is not None
    for sink in found.sinks:
        counts = (sink.delivered, sink.pending, sink.dead, sink.dropped, sink.filtered)
        assert sink.fetched == sum(counts), sink
    return {sink.name: sink for sink in found.sinks}


def changed(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "state.db", isolation_level=None)) as other:
        other.execute(statement)


def test_a_whole_journal_is_left_alone(folder: Path) -> None:
    before = (folder / "state.db").read_bytes()

    assert repair(folder).copy is None

    assert (folder / "state.db").read_bytes() == before
    assert {path.name for path in folder.iterdir()} == {"state.db", "state.lock"}


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
        assert journal.last_seq == EVENTS


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
