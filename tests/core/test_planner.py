import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.doubles import CollectingSink, ScriptedSource, by_partition, event, events, settings
from levada import Batch, Event, Partition
from levada.journal import Journal, Outstanding
from levada.planner import Planner, grouped
from levada.setup import SinkSetup, SourceSetup

MIXED = st.lists(st.sampled_from("abcdefg"), max_size=60).map(
    lambda keys: [event(number, key) for number, key in enumerate(keys)]
)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with Journal(settings(tmp_path)) as journal:
        yield journal


async def keep(journal: Journal, *runs: list[Event]) -> None:
    state = await journal.source(SourceSetup.of(ScriptedSource()), accept_identity_change=False)
    for run in runs:
        await state.keep(Partition(run[0].partition), Batch(run))


async def planner_of(journal: Journal, only: tuple[str, ...] = (), **options: Any) -> Planner:
    setup = SinkSetup.of(CollectingSink(**options), only=only)
    cursor = await journal.cursor(setup, accept_identity_change=False)
    return Planner(setup, cursor, lanes=setup.sink.lanes)


def plan(deliveries: list[Outstanding]) -> list[list[int]]:
    return [[each.seq or 0 for each in delivery.events] for delivery in deliveries]


async def test_deliveries_hold_as_many_events_as_the_sink_takes(journal: Journal) -> None:
    await keep(journal, events(1, 5))
    planner = await planner_of(journal, batch_size=2)

    await planner.top_up([], flush=True)

    assert plan(planner.waiting) == [[1, 2], [3, 4], [5]]


async def test_with_one_lane_deliveries_start_in_the_order_of_the_journal(journal: Journal) -> None:
    await keep(journal, events(1, 2, "a"), events(1, 2, "b"))
    planner = await planner_of(journal, batch_size=1)
    await planner.top_up([], flush=True)

    planner.waiting[0].due = time.monotonic() + 60

    assert planner.startable([], 4) == []


async def test_with_lanes_a_waiting_delivery_holds_only_its_own_partitions(
    journal: Journal,
) -> None:
    await keep(journal, events(1, 2, "a"), events(1, 2, "b"))
    planner = await planner_of(journal, batch_size=1, width=4)
    await planner.top_up([], flush=True)

    planner.waiting[0].due = time.monotonic() + 60

    assert plan(planner.startable([], 4)) == [[3]]


async def test_a_partition_that_is_being_written_is_not_started_again(journal: Journal) -> None:
    await keep(journal, events(1, 2, "a"), events(1, 2, "b"))
    planner = await planner_of(journal, batch_size=1, width=4)
    await planner.top_up([], flush=True)

    running = planner.waiting.pop(0)

    assert plan(planner.startable([running], 4)) == [[3]]


async def test_no_more_start_than_asked_for(journal: Journal) -> None:
    await keep(journal, *(events(1, 1, key) for key in "abcdef"))
    planner = await planner_of(journal, batch_size=1, width=4)
    await planner.top_up([], flush=True)

    assert plan(planner.startable([], 2)) == [[1], [2]]


async def test_what_is_put_back_takes_its_old_place(journal: Journal) -> None:
    await keep(journal, events(1, 4))
    planner = await planner_of(journal, batch_size=1)
    await planner.top_up([], flush=True)
    first = planner.waiting.pop(0)

    planner.put_back(first)

    assert plan(planner.waiting) == [[1], [2], [3], [4]]


async def test_planning_keeps_only_a_little_ahead(journal: Journal) -> None:
    await keep(journal, *(events(1, 100, str(key)) for key in range(30)))
    planner = await planner_of(journal, batch_size=10)

    await planner.top_up([], flush=True)
    await planner.top_up([], flush=True)

    assert len(planner.waiting) == 100  # one reading of a thousand events


@pytest.mark.parametrize("lanes", [1, 4])
async def test_one_long_partition_does_not_fill_the_memory(journal: Journal, lanes: int) -> None:
    await keep(journal, events(1, 20_000))
    planner = await planner_of(journal, batch_size=500, width=lanes)

    await planner.top_up([], flush=True)

    assert sum(len(each.events) for each in planner.waiting) <= 10_000


async def test_what_a_sink_does_not_want_is_counted_and_passed_over(journal: Journal) -> None:
    other = [event(number, name="llm_call", kind=None) for number in (2, 4)]
    await keep(journal, [event(1), other[0], event(3), other[1]])
    planner = await planner_of(journal, only=("step.*",))

    await planner.top_up([], flush=True)

    assert plan(planner.waiting) == [[1, 3]]
    assert planner.filtered == 2


async def test_nothing_is_left_when_the_last_events_are_not_wanted(journal: Journal) -> None:
    await keep(journal, events(1, 3))
    planner = await planner_of(journal, only=("run.*",))

    await planner.top_up([], flush=True)

    assert planner.empty
    assert planner.next_s() is None


async def test_a_delivery_waits_to_be_filled_up(journal: Journal) -> None:
    await keep(journal, events(1, 3))
    planner = await planner_of(journal, batch_size=4, batch_wait=timedelta(hours=1))
    await planner.top_up([], flush=False)
    early = plan(planner.waiting)

    await keep(journal, events(4, 4))
    await planner.top_up([], flush=False)

    assert (early, plan(planner.waiting)) == ([], [[1, 2, 3, 4]])


async def test_a_delivery_waits_only_so_long_to_be_filled_up(journal: Journal) -> None:
    await keep(journal, events(1, 3))
    planner = await planner_of(journal, batch_wait=timedelta(milliseconds=20))
    await planner.top_up([], flush=False)
    wait_s = planner.next_s()
    assert wait_s is not None
    assert 0 < wait_s <= 0.02

    await asyncio.sleep(0.025)
    await planner.top_up([], flush=False)

    assert plan(planner.waiting) == [[1, 2, 3]]


async def test_flushing_does_not_wait_for_a_delivery_to_fill_up(journal: Journal) -> None:
    await keep(journal, events(1, 3))
    planner = await planner_of(journal, batch_wait=timedelta(hours=1))
    await planner.top_up([], flush=False)

    await planner.top_up([], flush=True)

    assert plan(planner.waiting) == [[1, 2, 3]]
    assert planner.next_s() is None


async def test_a_flushed_planner_waits_again_for_what_comes_later(journal: Journal) -> None:
    await keep(journal, events(1, 3))
    planner = await planner_of(journal, batch_wait=timedelta(milliseconds=50))
    await planner.top_up([], flush=False)
    await planner.top_up([], flush=True)

    await asyncio.sleep(0.06)
    await keep(journal, events(4, 4))
    await planner.top_up([], flush=False)

    assert plan(planner.waiting) == [[1, 2, 3]]


async def test_the_next_attempt_is_known_ahead(journal: Journal) -> None:
    await keep(journal, events(1, 1))
    planner = await planner_of(journal)
    await planner.top_up([], flush=True)

    planner.waiting[0].due = time.monotonic() + 60

    wait_s = planner.next_s()
    assert wait_s is not None
    assert 59 < wait_s <= 60


@given(found=MIXED, size=st.integers(1, 8), lanes=st.integers(1, 5))
def test_grouping_covers_every_event_once(found: list[Event], size: int, lanes: int) -> None:
    groups = list(grouped(found, size, lanes))

    assert sorted(each.id for group in groups for each in group) == sorted(x.id for x in found)
    assert all(1 <= len(group) <= size for group in groups)


@given(found=MIXED, size=st.integers(1, 8), lanes=st.integers(1, 5))
def test_grouping_keeps_the_order_of_each_partition(
    found: list[Event], size: int, lanes: int
) -> None:
    groups = grouped(found, size, lanes)

    assert by_partition(each for group in groups for each in group) == by_partition(found)


@given(found=MIXED, size=st.integers(2, 8), lanes=st.integers(1, 5))
def test_deliveries_of_a_partition_start_in_the_order_they_are_planned(
    found: list[Event], size: int, lanes: int
) -> None:
    firsts: dict[str, list[int]] = {}
    order = {each.id: place for place, each in enumerate(found)}
    groups = sorted(grouped(found, size, lanes), key=lambda group: order[group[0].id])

    for group in groups:
        for each in group:
            firsts.setdefault(each.partition, []).append(order[each.id])

    assert all(places == sorted(places) for places in firsts.values())
