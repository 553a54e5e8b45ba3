import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import evolve

from core.doubles import START, CollectingSink, ScriptedSource, event, events, names, settings
from levada import Batch, Checkpoint, Event, Partition, Rejected, StateError
from levada.journal import Cursor, Journal, SourceState, seen
from levada.setup import SinkSetup, SourceSetup

RUN = Partition("run-1")
EVERYTHING = 10_000

Dead = tuple[str, str, str]


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with Journal(settings(tmp_path, max_event_bytes=2048)) as journal:
        yield journal


@pytest.fixture
async def state(journal: Journal) -> SourceState:
    return await entered(journal)


@pytest.fixture
def kept(journal: Journal) -> Callable[[], list[Event]]:
    return lambda: journal.events_after(0, EVERYTHING, 1 << 30)


@pytest.fixture
def dead(journal: Journal) -> Callable[[], list[Dead]]:
    return lambda: journal.read("SELECT sink, partition, reason FROM dead ORDER BY id")


async def entered(
    journal: Journal, *, name: str = "runs", account: str = "acme", accept: bool = False
) -> SourceState:
    setup = SourceSetup.of(ScriptedSource(), name=name, account=account)
    return await journal.source(setup, accept_identity_change=accept)


async def sink_of(journal: Journal) -> Cursor:
    return await journal.cursor(SinkSetup.of(CollectingSink()), accept_identity_change=False)


async def test_events_are_kept_in_the_order_they_came(
    state: SourceState, kept: Callable[[], list[Event]]
) -> None:
    await state.keep(RUN, Batch(events(1, 3)))
    await state.keep(RUN, Batch(events(4, 5)))

    assert [(each.id, each.seq) for each in kept()] == [(f"evt-{n}", n) for n in range(1, 6)]


async def test_a_kept_event_knows_where_it_came_from(
    state: SourceState, kept: Callable[[], list[Event]]
) -> None:
    run = Partition("run-1", uri="https://api.example.com/runs/run-1")

    await state.keep(run, Batch([event(1)]))

    (found,) = kept()
    assert found == evolve(event(1), seq=1, origin=SourceSetup.of(ScriptedSource()).origin(run))


async def test_a_batch_brings_the_position_along(state: SourceState) -> None:
    await state.keep(RUN, Batch(events(1, 2), position={"after": "evt-2"}))

    tracked = state.tracked("run-1")
    assert tracked is not None
    assert tracked.position == {"after": "evt-2"}


async def test_a_batch_without_a_position_does_not_move_it(state: SourceState) -> None:
    await state.keep(RUN, Batch(events(1, 2), position=2))

    await state.keep(RUN, Batch(events(3, 4)))

    tracked = state.tracked("run-1")
    assert tracked is not None
    assert tracked.position == 2


async def test_an_event_read_twice_is_kept_once(
    state: SourceState, kept: Callable[[], list[Event]]
) -> None:
    await state.keep(RUN, Batch(events(1, 3)))

    found = await state.keep(RUN, Batch(events(2, 5)))

    assert found.new == 2
    assert names(kept()) == names(events(1, 5))


async def test_an_event_twice_in_a_batch_is_kept_once_at_its_first_place(
    state: SourceState, kept: Callable[[], list[Event]]
) -> None:
    found = await state.keep(RUN, Batch([event(1), event(2), event(1)]))

    assert found.new == 2
    assert names(kept()) == names(events(1, 2))


async def test_an_event_read_again_after_a_restart_is_kept_once(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        await (await entered(journal)).keep(RUN, Batch(events(1, 3)))

    async with Journal(settings(tmp_path)) as journal:
        found = await (await entered(journal)).keep(RUN, Batch(events(1, 4)))

        assert found.new == 1
        assert names(journal.events_after(0, 9, 9999)) == names(events(1, 4))


async def test_the_same_id_in_another_partition_is_another_event(
    state: SourceState, kept: Callable[[], list[Event]]
) -> None:
    await state.keep(RUN, Batch([event(1)]))
    await state.keep(Partition("run-2"), Batch([event(1, "run-2")]))

    assert names(kept()) == [("run-1", "evt-1"), ("run-2", "evt-1")]


async def test_the_same_id_in_another_account_is_another_event(
    journal: Journal, kept: Callable[[], list[Event]]
) -> None:
    for account in ("acme", "umbrella"):
        state = await entered(journal, name=account, account=account)
        await state.keep(RUN, Batch([event(1)]))

    assert [each.origin.account for each in kept() if each.origin] == ["acme", "umbrella"]


async def test_two_sources_at_one_account_keep_an_event_once(
    journal: Journal, kept: Callable[[], list[Event]]
) -> None:
    for name in ("one", "other"):
        await (await entered(journal, name=name)).keep(RUN, Batch([event(1)]))

    assert names(kept()) == [("run-1", "evt-1")]


async def test_known_tells_which_ids_were_read(state: SourceState) -> None:
    await state.keep(RUN, Batch(events(1, 3)))

    assert state.known("run-1", ["evt-2", "evt-9"]) == {"evt-2"}
    assert state.known("run-2", ["evt-2"]) == set()


async def test_count_tells_how_many_events_were_read(state: SourceState) -> None:
    await state.keep(RUN, Batch(events(1, 3)))
    await state.keep(RUN, Batch(events(3, 4)))

    assert (state.count("run-1"), state.count("run-2")) == (4, 0)


async def test_a_partition_being_read_is_unfinished(state: SourceState) -> None:
    await state.keep(RUN, Batch([event(1)]))

    assert list(state.unfinished()) == ["run-1"]


@pytest.mark.parametrize("stage", ["closed", "gone"])
async def test_a_closed_partition_is_finished_and_remembers_its_version(
    state: SourceState, stage: str
) -> None:
    run = Partition("run-1", version="v7", final=True)
    await state.keep(run, Batch([event(1)], position=1))

    await state.settle(run, "closed" if stage == "closed" else "gone")

    tracked = state.tracked("run-1")
    assert tracked is not None
    assert (tracked.partition.version, tracked.stage) == ("v7", stage)
    assert state.unfinished() == {}


async def test_what_is_tracked_survives_a_restart(tmp_path: Path) -> None:
    run = Partition(
        "run-1",
        version=[1, "a"],
        final=True,
        changed=START,
        uri="https://x.test/1",
        memo={"workflow": "w"},
    )
    async with Journal(settings(tmp_path)) as journal:
        state = await entered(journal)
        await state.keep(run, Batch([event(1)], position="p"))
        await state.settle(run, "lingering")

    async with Journal(settings(tmp_path)) as journal:
        (tracked,) = (await entered(journal)).unfinished().values()

    assert (tracked.partition, tracked.position, tracked.stage) == (run, "p", "lingering")


async def test_an_unfinished_partition_that_closes_later_can_be_forgotten(
    state: SourceState,
) -> None:
    run = Partition("run-1", order=START)
    await state.keep(run, Batch([event(1)]))
    await state.settle(run, "open")

    await state.settle(state.unfinished()["run-1"].partition, "closed")
    await state.checkpoint(Checkpoint(1, settled=START + timedelta(days=1)))

    assert state.known("run-1", ["evt-1"]) == set()


async def test_a_checkpoint_survives_a_restart(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        state = await entered(journal)
        before = state.position
        await state.checkpoint(Checkpoint({"page": 3}))

    async with Journal(settings(tmp_path)) as journal:
        after = (await entered(journal)).position

    assert (before, after) == (None, {"page": 3})


@pytest.mark.parametrize(
    ("old", "settled", "young"),
    [
        (START, START + timedelta(hours=1), START + timedelta(hours=2)),
        (9, 10, 11),
        ("2026-01-01", "2026-01-02", "2026-01-03"),
    ],
    ids=["moments", "numbers", "texts"],
)
async def test_settling_forgets_the_ids_of_older_closed_partitions_only(
    state: SourceState, old: object, settled: object, young: object
) -> None:
    for key, order, stage in (
        ("old", old, "closed"),
        ("old but open", old, "open"),
        ("young", young, "closed"),
    ):
        run = Partition(key, version=1, order=order)  # type: ignore[arg-type]  # one of three kinds
        await state.keep(run, Batch([event(1, key)]))
        await state.settle(run, "closed" if stage == "closed" else "open")

    await state.checkpoint(Checkpoint(1, settled=settled))  # type: ignore[arg-type]  # as above

    known = {key for key in ("old", "old but open", "young") if state.known(key, ["evt-1"])}
    assert known == {"old but open", "young"}


async def test_a_closed_partition_keeps_the_ids_of_its_newest_events(state: SourceState) -> None:
    await state.keep(RUN, Batch(events(1, 150)))
    await state.keep(RUN, Batch(events(151, 250)))
    everything = [each.id for each in events(1, 250)]
    await state.settle(RUN, "open")
    assert len(state.known("run-1", everything)) == 250

    await state.settle(RUN, "closed")

    assert state.known("run-1", everything) == {each.id for each in events(151, 250)}
    assert state.count("run-1") == 250


async def test_more_partitions_are_forgotten_than_fit_in_one_transaction(
    journal: Journal, state: SourceState
) -> None:
    for number in range(seen.AT_ONCE + 100):
        run = Partition(str(number), order=number)
        await asyncio.gather(
            state.keep(run, Batch([event(1, run.key)])), state.settle(run, "closed")
        )

    await state.checkpoint(Checkpoint(1, settled=seen.AT_ONCE + 90))

    assert journal.read("SELECT count(*) FROM seen") == [(10,)]


async def test_a_new_partition_does_not_inherit_the_name_of_a_forgotten_one(
    journal: Journal, state: SourceState
) -> None:
    old = Partition("old", order=1)
    await state.keep(old, Batch([event(1, "old")]))
    await state.settle(old, "closed")
    assert names(journal.events_between(1, 1)) == [("old", "evt-1")]
    await state.checkpoint(Checkpoint(1, settled=2))
    await journal.prune_early()

    await state.keep(Partition("new"), Batch([event(1, "new")]))

    assert names(journal.events_between(2, 2)) == [("new", "evt-1")]


async def test_a_forgotten_partition_that_comes_back_is_tracked_again(
    journal: Journal, state: SourceState
) -> None:
    old = Partition("old", order=1)
    await state.settle(old, "closed")
    await state.checkpoint(Checkpoint(1, settled=2))

    await state.keep(old, Batch([event(1, "old")]))
    await journal.prune_early()

    assert list(state.unfinished()) == ["old"]


async def test_a_closed_partition_that_comes_back_is_unfinished_until_read(
    state: SourceState,
) -> None:
    run = Partition("run-1", version=1, final=True)
    await state.settle(run, "closed")

    await state.keep(Partition("run-1", version=2), Batch([event(1)]))

    assert list(state.unfinished()) == ["run-1"]


async def test_a_lingering_partition_lingers_until_it_is_read_to_its_end(
    state: SourceState,
) -> None:
    await state.settle(RUN, "lingering")

    await state.keep(RUN, Batch([event(1)]))

    assert state.unfinished()["run-1"].stage == "lingering"


async def test_what_cannot_be_an_event_is_dead_lettered_once(
    state: SourceState, dead: Callable[[], list[Dead]], kept: Callable[[], list[Event]]
) -> None:
    rejected = [Rejected(b"[1,2", reason="not JSON"), Rejected(b"{}", reason="it has no id")]

    first = await state.keep(RUN, Batch([event(1)], rejected=rejected))
    again = await state.keep(RUN, Batch([], rejected=rejected))

    assert (first.rejected, again.rejected) == (2, 0)
    assert dead() == [("", "run-1", "not JSON"), ("", "run-1", "it has no id")]
    assert names(kept()) == [("run-1", "evt-1")]


async def test_the_same_rejected_bytes_of_another_account_are_another_dead_letter(
    journal: Journal, dead: Callable[[], list[Dead]]
) -> None:
    for account in ("acme", "umbrella"):
        state = await entered(journal, name=account, account=account)
        await state.keep(RUN, Batch([], rejected=[Rejected(b"{}", reason="no id")]))

    assert len(dead()) == 2


async def test_an_event_that_is_too_large_is_dead_lettered_and_the_rest_kept(
    state: SourceState, dead: Callable[[], list[Dead]], kept: Callable[[], list[Event]]
) -> None:
    long = evolve(event(4), id="4" * 3000)
    batch = Batch([event(1), event(2, size=2049), event(3, size=2048), long], position=3)

    found = await state.keep(RUN, batch)

    assert (found.new, found.rejected) == (2, 2)
    assert names(kept()) == [("run-1", "evt-1"), ("run-1", "evt-3")]
    assert dead() == [
        ("", "run-1", "the event has 2049 bytes; max_event_bytes is 2048"),
        ("", "run-1", "the event has 3000 bytes; max_event_bytes is 2048"),
    ]


async def test_a_source_that_reads_elsewhere_under_its_old_name_is_refused(
    journal: Journal,
) -> None:
    await entered(journal, account="acme")

    with pytest.raises(StateError) as caught:
        await entered(journal, account="umbrella")

    assert str(caught.value) == (
        "source 'runs' was scripted at 'acme' and is now scripted at 'umbrella';"
        " give it another name, or run once with --accept-identity-change"
    )


async def test_a_source_may_read_elsewhere_when_told_so_and_starts_afresh(
    journal: Journal,
) -> None:
    state = await entered(journal, account="acme")
    await state.checkpoint(Checkpoint(7))

    state = await entered(journal, account="umbrella", accept=True)

    assert state.position is None
    assert (await entered(journal, account="umbrella")).position is None
