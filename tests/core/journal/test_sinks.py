import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from core.doubles import CollectingSink, ScriptedSource, event, events, names, settings
from levada import Batch, Event, Json, Partition, StateError
from levada.journal import Cursor, Journal, Outstanding
from levada.setup import SinkSetup, SourceSetup

RUN = Partition("run-1")


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with Journal(settings(tmp_path)) as journal:
        await keep(journal, events(1, 10))
        yield journal


@pytest.fixture
async def cursor(journal: Journal) -> Cursor:
    return await entered(journal)


async def keep(journal: Journal, found: list[Event]) -> None:
    state = await journal.source(SourceSetup.of(ScriptedSource()), accept_identity_change=False)
    await state.keep(RUN, Batch(found))


async def entered(journal: Journal, *, place: str = "here", accept: bool = False) -> Cursor:
    setup = SinkSetup.of(CollectingSink(place=place), name="archive")
    return await journal.cursor(setup, accept_identity_change=accept)


async def planned(cursor: Cursor, *sizes: int, filtered: int = 0) -> list[Outstanding]:
    """Plan deliveries of the next events, after passing over some."""
    found = cursor.next_events(sum(sizes) + filtered, 1 << 30)
    rest = iter(found[filtered:])
    groups = [[next(rest) for _ in range(size)] for size in sizes]
    return await cursor.plan(groups, found[-1].seq or 0, filtered)


def accounts(journal: Journal, cursor: Cursor) -> tuple[int, int]:
    """Return what a sink was to get, and what became of it."""
    ((since, *counts),) = journal.read(
        "SELECT since, delivered, dead, dropped, filtered FROM sink WHERE name = 'archive'"
    )
    return journal.last_seq - since, sum(counts) + cursor.pending()


async def test_a_new_sink_starts_at_the_oldest_event_that_is_left(journal: Journal) -> None:
    await journal.write(lambda connection: connection.execute("DELETE FROM event WHERE seq < 4"))

    cursor = await entered(journal)

    assert names(cursor.next_events(2, 9999)) == names(events(4, 5))


async def test_a_new_sink_of_an_emptied_journal_starts_with_what_comes_next(
    journal: Journal,
) -> None:
    await journal.write(lambda connection: connection.execute("DELETE FROM event"))
    cursor = await entered(journal)

    await keep(journal, events(11, 12))

    assert names(cursor.next_events(9, 9999)) == names(events(11, 12))


async def test_planning_moves_the_cursor(cursor: Cursor) -> None:
    await planned(cursor, 3, 4)

    assert cursor.seq == 7
    assert names(cursor.next_events(9, 9999)) == names(events(8, 10))


async def test_a_sink_is_caught_up_when_everything_is_planned(cursor: Cursor) -> None:
    before = cursor.caught_up()
    await planned(cursor, 10)

    assert (before, cursor.caught_up()) == (False, True)


async def test_what_was_planned_and_not_done_survives_a_restart(tmp_path: Path) -> None:
    hour = timedelta(hours=1)
    async with Journal(settings(tmp_path)) as journal:
        await keep(journal, events(1, 10))
        cursor = await entered(journal)
        first, done, last = await planned(cursor, 3, 3, 4)
        await cursor.done(done, None, {})
        last.attempts, last.reason = 2, "503 from https://x.test"
        await cursor.failed(last, wait=hour, everywhere=False)

    async with Journal(settings(tmp_path)) as journal:
        found = (await entered(journal)).outstanding()
        assert [names(each.events) for each in found] == [names(first.events), names(last.events)]

    assert [(each.attempts, each.reason) for each in found] == [
        (0, ""),
        (2, "503 from https://x.test"),
    ]
    assert found[0].due == 0.0
    assert 3590 < found[1].due - time.monotonic() <= 3600


async def test_a_delivery_keeps_its_members_though_others_lie_between(
    journal: Journal, cursor: Cursor
) -> None:
    found = cursor.next_events(10, 9999)

    await cursor.plan([found[::2], found[1::2]], 10, 0)

    again = await entered(journal)
    assert [[each.seq for each in one.events] for one in again.outstanding()] == [
        [1, 3, 5, 7, 9],
        [2, 4, 6, 8, 10],
    ]


async def test_a_receipt_comes_back_after_a_restart(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        await keep(journal, events(1, 10))
        cursor = await entered(journal)
        (delivery,) = await planned(cursor, 10)
        await cursor.done(delivery, {"offset": 312}, {})

    async with Journal(settings(tmp_path)) as journal:
        again = await entered(journal)

        assert (again.receipt, again.seq, again.outstanding()) == ({"offset": 312}, 10, [])


async def test_a_delivery_without_a_receipt_leaves_the_last_one(
    journal: Journal, cursor: Cursor
) -> None:
    first, second = await planned(cursor, 5, 5)
    await cursor.done(first, 5, {})

    await cursor.done(second, None, {})

    assert (await entered(journal)).receipt == 5


@pytest.mark.parametrize("receipt", [0, "", [], {}, False], ids=repr)
async def test_an_empty_receipt_is_a_receipt(
    journal: Journal, cursor: Cursor, receipt: Json
) -> None:
    (delivery,) = await planned(cursor, 10)

    await cursor.done(delivery, receipt, {})

    assert (await entered(journal)).receipt == receipt


async def test_what_can_never_be_written_becomes_a_dead_letter(
    journal: Journal, cursor: Cursor
) -> None:
    (delivery,) = await planned(cursor, 10)
    delivery.attempts = 2

    await cursor.done(delivery, None, {("run-1", "evt-4"): "422 from https://x.test"})

    dead = journal.read("SELECT sink, connector, account, event, seq, reason, attempts FROM dead")
    assert dead == [("archive", "scripted", "acme", "evt-4", 4, "422 from https://x.test", 3)]


async def test_everything_is_accounted_for_whatever_became_of_it(
    journal: Journal, cursor: Cursor
) -> None:
    done, dying, cut, _ = await planned(cursor, 1, 2, 2, 2, filtered=2)
    await cursor.done(done, None, {})
    await cursor.done(dying, None, {("run-1", "evt-4"): "too old"})

    await cursor.cut(cut, 1)

    ((delivered, dead, filtered),) = journal.read("SELECT delivered, dead, filtered FROM sink")
    assert (delivered, dead, filtered, cursor.pending()) == (3, 1, 2, 4)
    assert accounts(journal, cursor) == (10, 10)


async def test_a_sink_that_came_late_is_accountable_from_then_on(journal: Journal) -> None:
    await journal.write(lambda connection: connection.execute("DELETE FROM event WHERE seq < 4"))
    cursor = await entered(journal)

    await planned(cursor, 2)

    assert accounts(journal, cursor) == (7, 7)


async def test_a_split_delivery_becomes_two_in_order(journal: Journal, cursor: Cursor) -> None:
    (delivery,) = await planned(cursor, 5)
    delivery.attempts = 1

    await cursor.split(delivery)

    halves = (await entered(journal)).outstanding()
    assert [names(each.events) for each in halves] == [names(events(1, 2)), names(events(3, 5))]
    assert [each.attempts for each in halves] == [1, 1]


async def test_what_a_closed_sink_had_not_written_stays_outstanding(
    journal: Journal, cursor: Cursor
) -> None:
    (delivery,) = await planned(cursor, 5)

    await cursor.cut(delivery, 2)

    (rest,) = (await entered(journal)).outstanding()
    assert names(rest.events) == names(events(3, 5))


async def test_a_delivery_cut_at_its_end_is_over(journal: Journal, cursor: Cursor) -> None:
    (delivery,) = await planned(cursor, 10)

    await cursor.cut(delivery, 10)

    assert (await entered(journal)).outstanding() == []
    assert accounts(journal, cursor) == (10, 10)


async def test_a_disabled_sink_stays_so_over_restarts(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        await (await entered(journal)).disable("410 Gone from https://x.test")

    async with Journal(settings(tmp_path)) as journal:
        assert (await entered(journal)).disabled == "410 Gone from https://x.test"


async def test_a_sink_that_writes_elsewhere_under_its_old_name_is_refused(
    journal: Journal, cursor: Cursor
) -> None:
    first, _ = await planned(cursor, 3, 3)
    await cursor.done(first, None, {})

    with pytest.raises(StateError) as caught:
        await entered(journal, place="there")

    assert str(caught.value) == (
        "sink 'archive' wrote to collecting here and is now collecting there;"
        " give it another name, or run once with --accept-identity-change"
    )


async def test_a_sink_that_never_wrote_anything_may_go_elsewhere(
    journal: Journal, cursor: Cursor
) -> None:
    await planned(cursor, 3, 3)

    moved = await entered(journal, place="there")

    assert (moved.seq, len(moved.outstanding())) == (6, 2)
    assert (await entered(journal, place="there")).seq == 6


async def test_a_sink_told_to_write_elsewhere_keeps_its_place_but_not_its_receipt(
    journal: Journal, cursor: Cursor
) -> None:
    first, _ = await planned(cursor, 3, 3)
    await cursor.done(first, {"offset": 3}, {})

    moved = await entered(journal, place="there", accept=True)

    assert (moved.seq, moved.receipt, len(moved.outstanding())) == (6, None, 1)
    assert (await entered(journal, place="there")).seq == 6


async def test_a_sink_that_holds_more_than_the_journal_knows_gets_only_the_rest(
    journal: Journal, cursor: Cursor
) -> None:
    await planned(cursor, 3, 3, 4)

    await cursor.skip_to(6)

    (rest,) = (await entered(journal)).outstanding()
    assert names(rest.events) == names(events(7, 10))
    assert accounts(journal, cursor) == (10, 10)


async def test_a_sink_that_holds_half_a_delivery_gets_the_other_half(
    journal: Journal, cursor: Cursor
) -> None:
    await planned(cursor, 4, 6)

    await cursor.skip_to(6)

    (rest,) = (await entered(journal)).outstanding()
    assert names(rest.events) == names(events(7, 10))
    assert accounts(journal, cursor) == (10, 10)


async def test_a_sink_cannot_hold_what_it_was_never_given(cursor: Cursor) -> None:
    await planned(cursor, 4)

    with pytest.raises(StateError, match="holds event 9, but the journal gave it only 4"):
        await cursor.skip_to(9)


async def test_dead_letters_of_two_accounts_do_not_replace_each_other(
    tmp_path: Path,
) -> None:
    async with Journal(settings(tmp_path, retention=timedelta(0))) as journal:
        for account in ("acme", "umbrella"):
            setup = SourceSetup.of(ScriptedSource(account=account), name=account)
            state = await journal.source(setup, accept_identity_change=False)
            await state.keep(RUN, Batch([event(1)]))
        cursor = await entered(journal)

        for delivery in await planned(cursor, 1, 1):
            await cursor.done(delivery, None, {("run-1", "evt-1"): "422"})

        assert journal.read("SELECT account FROM dead ORDER BY id") == [("acme",), ("umbrella",)]
