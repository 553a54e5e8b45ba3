"""Virtual time: what is planned happens when a server's clock has come that far, and not before."""

from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from functools import partial

import pytest

from core.sandbox.asking import asking, rows
from levada.sandbox import (
    KapsoServer,
    KapsoWorld,
    RateLimit,
    Sandbox,
    StevoraServer,
    StevoraWorld,
    VirtualClock,
)

SECOND = timedelta(seconds=1)
T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(T0)


@pytest.fixture
def world() -> KapsoWorld:
    return KapsoWorld()


def test_a_clock_stands_still_unless_it_is_moved(clock: VirtualClock) -> None:
    assert (clock(), clock()) == (T0, T0)
    assert clock.advance(SECOND) == T0 + SECOND
    assert clock.now == clock() == T0 + SECOND


def test_nothing_happens_before_its_time(world: KapsoWorld) -> None:
    world.at(T0 + SECOND, world.add_workflow)

    world.catch_up(T0)
    assert (len(world.workflows), world.next_at) == (0, T0 + SECOND)

    world.catch_up(T0 + SECOND)
    assert (len(world.workflows), world.next_at) == (1, None)


def test_things_happen_in_order_and_once(world: KapsoWorld) -> None:
    done: list[str] = []
    for name, seconds in (("c", 3), ("a", 1), ("b1", 2), ("b2", 2)):
        world.at(T0 + seconds * SECOND, partial(done.append, name))

    world.catch_up(T0 + 9 * SECOND)
    world.catch_up(T0 + 9 * SECOND)

    assert done == ["a", "b1", "b2", "c"]


def test_what_an_action_plans_happens_in_the_same_go_if_it_is_due(world: KapsoWorld) -> None:
    done: list[datetime | None] = []

    def again() -> None:
        done.append(world.present)
        world.at(T0 + len(done) * SECOND, again)

    world.at(T0, again)
    world.catch_up(T0 + 2 * SECOND)

    assert done == [T0, T0 + SECOND, T0 + 2 * SECOND]
    assert world.next_at == T0 + 3 * SECOND


def test_times_may_have_any_offset(world: KapsoWorld) -> None:
    world.at((T0 + SECOND).astimezone(timezone(timedelta(hours=5))), world.add_workflow)
    world.at(T0, world.add_workflow)

    assert world.next_at == T0


def test_the_present_never_goes_back(world: KapsoWorld) -> None:
    world.catch_up(T0)
    world.catch_up(T0 - SECOND)

    assert world.present == T0


@pytest.mark.parametrize("world", [KapsoWorld(), StevoraWorld()], ids=["kapso", "stevora"])
def test_undated_events_of_an_action_have_its_time(world: KapsoWorld | StevoraWorld) -> None:
    def start() -> None:
        if isinstance(world, KapsoWorld):
            world.add_execution(events=2)
        else:
            world.add_run(events=2)

    world.at(T0, start)
    world.catch_up(T0 + SECOND)

    first, second = (event.created_at for event in world.events)
    assert T0 <= first < second < T0 + timedelta(milliseconds=10)


def test_an_action_that_raises_is_not_tried_again(world: KapsoWorld) -> None:
    world.at(T0, [].pop)
    world.at(T0, world.add_workflow)

    with pytest.raises(IndexError):
        world.catch_up(T0)
    world.catch_up(T0)

    assert len(world.workflows) == 1


def test_kapso_catches_up_before_it_answers(clock: VirtualClock, world: KapsoWorld) -> None:
    world.at(T0 + SECOND, world.add_workflow)
    with asking(KapsoServer(world, now=clock)) as client:
        before = rows(client, "/workflows")
        clock.advance(SECOND)
        after = rows(client, "/workflows")

    assert (len(before), len(after)) == (0, 1)


def test_stevora_catches_up_before_it_answers(clock: VirtualClock) -> None:
    world = StevoraWorld()
    world.at(T0 + SECOND, world.add_run)
    with asking(StevoraServer(world, now=clock)) as client:
        before = rows(client, "/v1/workflow-runs")
        clock.advance(SECOND)
        after = rows(client, "/v1/workflow-runs")

    assert (len(before), len(after)) == (0, 1)


def test_date_and_rate_limit_go_by_the_same_clock(clock: VirtualClock, world: KapsoWorld) -> None:
    with asking(KapsoServer(world, now=clock, rate_limit=RateLimit(1))) as client:
        first, second = (client.get("/workflows") for _ in range(2))
        clock.advance(timedelta(minutes=1))
        third = client.get("/workflows")

    assert [answer.status_code for answer in (first, second, third)] == [200, 429, 200]
    assert parsedate_to_datetime(first.headers["Date"]) == T0
    assert parsedate_to_datetime(third.headers["Date"]) == T0 + timedelta(minutes=1)


def test_a_sandbox_has_one_clock_for_both(clock: VirtualClock) -> None:
    with Sandbox.in_thread(now=clock) as sandbox:
        servers = sandbox.kapso, sandbox.stevora

    assert [server.now() for server in servers] == [T0, T0]
