"""A simulated day: as large as it says, the same for the same seed, and full of traps."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from core.sandbox.asking import asking, rows
from levada.sandbox import (
    KapsoEvent,
    KapsoServer,
    KapsoWorld,
    StevoraEvent,
    StevoraServer,
    StevoraWorld,
    VirtualClock,
    simulate,
)

World = KapsoWorld | StevoraWorld
START = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
BOTH = pytest.mark.parametrize("make", [KapsoWorld, StevoraWorld], ids=["kapso", "stevora"])


def over(world: World, *, step: timedelta = timedelta(minutes=10), **options: Any) -> World:
    """Simulate a world until nothing is planned any more."""
    simulate(world, start=START, **options)
    now = START
    while world.next_at is not None:
        now += step
        world.catch_up(now)
    return world


def events_by_execution(world: World) -> list[list[KapsoEvent | StevoraEvent]]:
    if isinstance(world, KapsoWorld):
        return [[*execution.events] for execution in world.executions.values()]
    return [[*run.events] for run in world.runs.values()]


def lateness(world: World) -> list[timedelta]:
    return [event.visible_at - event.created_at for event in world.events]


@BOTH
def test_the_defaults_make_about_4900_events(make: Callable[[], World]) -> None:
    world = over(make())

    assert len(events_by_execution(world)) == 300
    assert 4_600 < len(world.events) < 5_200


@BOTH
def test_nothing_has_happened_before_the_start(make: Callable[[], World]) -> None:
    world = make()
    simulate(world, start=START)
    world.catch_up(START - SECOND)

    assert (world.events, world.next_at) != ([], None)
    assert world.next_at is not None
    assert world.next_at >= START


@BOTH
def test_the_seed_decides_and_the_steps_of_the_clock_do_not(make: Callable[..., World]) -> None:
    one, other_steps, other_seed = (
        over(make(seed=seed), executions=20, step=step)
        for seed, step in ((1, timedelta(hours=9)), (1, 7 * SECOND), (2, timedelta(hours=9)))
    )

    assert [event.json for event in one.events] == [event.json for event in other_steps.events]
    assert [event.json for event in one.events] != [event.json for event in other_seed.events]
    assert lateness(one) == lateness(other_steps)


@BOTH
def test_some_events_can_be_seen_only_later(make: Callable[[], World]) -> None:
    world = over(make(), ended_first=False)

    late = [each for each in lateness(world) if each > SECOND / 100]
    assert 0.03 < len(late) / len(world.events) < 0.12
    assert max(late) < 3.01 * SECOND


@BOTH
def test_nothing_is_late_unless_told(make: Callable[[], World]) -> None:
    world = over(make(), executions=50, late_share=0, ended_first=False)

    assert max(lateness(world)) < SECOND / 100


@BOTH
def test_some_events_have_the_same_time(make: Callable[[], World]) -> None:
    bursts = Counter(
        event.created_at for events in events_by_execution(over(make())) for event in events
    )

    assert set(bursts.values()) >= {1, 2, 3, 4}


@BOTH
def test_events_have_times_of_their_own_unless_told(make: Callable[[], World]) -> None:
    world = over(make(), executions=50, ties=False)

    alone = [
        event
        for events in events_by_execution(world)
        for event, count in Counter(each.created_at for each in events).items()
        if count == 1
    ]
    assert len(alone) > 0.8 * len(world.events)


@pytest.mark.parametrize("precision", [SECOND, SECOND / 1_000, SECOND / 1_000_000])
def test_times_are_as_precise_as_told(precision: timedelta) -> None:
    world = over(KapsoWorld(), executions=30, precision=precision)

    finest = max(event.created_at.microsecond % 1_000 for event in world.events)
    coarsest = {event.created_at.microsecond for event in world.events}
    assert (finest > 0) == (precision < SECOND / 1_000)
    assert (coarsest == {0}) == (precision == SECOND)


@BOTH
def test_an_execution_takes_minutes_and_pauses(make: Callable[[], World]) -> None:
    world = over(make())

    gaps = [
        later.created_at - earlier.created_at
        for events in events_by_execution(world)
        for earlier, later in pairwise(events)
    ]
    waits = [gap for gap in gaps if gap > 10 * SECOND]
    assert len(waits) > 100
    assert timedelta(minutes=30) < max(waits) < timedelta(minutes=62)
    assert max(gap for gap in gaps if gap <= 10 * SECOND) < 5 * SECOND


def test_kapsos_executions_end_fail_and_are_handed_off() -> None:
    world = KapsoWorld()
    seen: Counter[str] = Counter()
    simulate(world, start=START)
    now = START
    while world.next_at is not None:
        now += timedelta(minutes=1)
        world.catch_up(now)
        seen.update(execution.status for execution in world.executions.values())

    assert set(seen) == {"running", "waiting", "handoff", "ended", "failed"}
    assert world.open_executions == []


def test_stevoras_failed_runs_are_retried_later() -> None:
    world = over(StevoraWorld())
    assert isinstance(world, StevoraWorld)

    retried = [
        run
        for run in world.runs.values()
        if run.status == "COMPLETED"
        and "WORKFLOW_FAILED" in {event.event_type for event in run.events}
    ]
    assert {run.status for run in world.runs.values()} == {"COMPLETED", "FAILED", "CANCELLED"}
    assert len(retried) > 10


def test_an_execution_is_over_before_its_last_event_can_be_seen() -> None:
    world, clock = KapsoWorld(), VirtualClock(START)
    simulate(world, start=START, executions=20, workflows=1)
    early: set[str] = set()
    with asking(KapsoServer(world, now=clock)) as client:
        path = f"/workflows/{next(iter(world.workflows))}/executions"
        while world.next_at is not None:
            clock.now = world.next_at
            for each in rows(client, path, status="ended"):
                if "execution_ended" not in {
                    event.event_type for event in world.executions[each["id"]].events
                }:
                    early.add(each["id"])

    ended = {each.id for each in world.executions.values() if each.status == "ended"}
    assert early == ended


def test_llm_events_do_not_touch_a_run() -> None:
    world, clock = StevoraWorld(), VirtualClock(START)
    simulate(world, start=START, executions=5)
    untouched = 0
    with asking(StevoraServer(world, now=clock)) as client:
        shown: dict[str, tuple[int, str]] = {}
        counts: dict[str, int] = {}
        while world.next_at is not None:
            clock.now = world.next_at
            for each in rows(client, "/v1/workflow-runs"):
                row = (each["version"], each["updatedAt"])
                count = len(world.runs[each["id"]].events)
                untouched += shown.get(each["id"]) == row and count > counts[each["id"]]
                shown[each["id"]], counts[each["id"]] = row, count

    assert untouched > 10


@BOTH
def test_the_truth_of_a_moment_is_what_was_there_then(make: Callable[[], World]) -> None:
    world = make()
    simulate(world, start=START, executions=40, late_share=0.3)
    snapshots: dict[datetime, set[str]] = {}
    now = START
    while world.next_at is not None:
        now += 61 * SECOND
        world.catch_up(now)
        snapshots[now] = {event.id for event in world.events}

    assert len(snapshots) > 100
    assert snapshots == {at: {event.id for event in world.events_by(at)} for at in snapshots}


def test_an_execution_may_be_deleted_meanwhile() -> None:
    world = KapsoWorld()
    simulate(world, start=START, executions=5)
    world.catch_up(START + timedelta(hours=1))
    gone = next(iter(world.executions))
    world.delete(gone)

    world.catch_up(START + timedelta(hours=12))

    assert gone not in world.executions
    assert len(world.executions) == 4
