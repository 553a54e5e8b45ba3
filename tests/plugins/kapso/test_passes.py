"""What passes of the source `kapso` cost, one after the other, and that they find everything.

The formulas are those of docs/how-to/kapso.md.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from levada import Secret, SourceError
from levada.sandbox import Fault, KapsoQuirks, KapsoServer, KapsoWorld, VirtualClock
from levada_kapso.source import KapsoSource
from plugins.desk import not_found
from plugins.follower import Follower, following

MINUTE = timedelta(minutes=1)


@define
class Stage:
    """A Kapso, what happens in it, and a follower."""

    clock: VirtualClock
    world: KapsoWorld
    kapso: KapsoServer
    follower: Follower

    async def after(self, time: timedelta) -> list[str]:
        """Let time pass, and make a pass."""
        self.clock.advance(time)
        return await self.follower.cycle()

    def complete(self) -> bool:
        ids = self.follower.ids()
        return sorted(ids) == sorted(event.id for event in self.world.events)


@pytest.fixture
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    """Three workflows with four executions each, one of them open; parameters are options."""
    options: dict[str, Any] = dict(getattr(request, "param", {}))
    quirks = KapsoQuirks(**options.pop("quirks", {}))
    world = KapsoWorld.sample(workflows=3, executions=12, open=options.pop("open", 3), events=8)
    clock = VirtualClock(world.now + 10 * MINUTE)
    async with KapsoServer(world, now=clock, quirks=quirks) as kapso:

        def make() -> KapsoSource:
            return KapsoSource(base_url=kapso.url, api_key=Secret("sandbox"), **options)

        async with following(make, kapso, tmp_path / "state", same_process=False) as follower:
            yield Stage(clock, world, kapso, follower)


def lists(made: list[str]) -> int:
    return sum(each.startswith("/workflows/") for each in made)


def reads(made: list[str]) -> int:
    return sum(each.startswith("/workflow_executions/") for each in made)


async def test_the_first_pass_is_a_list_for_each_workflow_and_a_read_for_each_execution(
    stage: Stage,
) -> None:
    made = await stage.after(MINUTE)

    assert len(made) == 1 + 3 + 12
    assert stage.complete()


@pytest.mark.parametrize("stage", [{"open": 0}], indirect=True)
async def test_an_idle_pass_without_open_executions_is_one_request(stage: Stage) -> None:
    await stage.after(MINUTE)
    await stage.after(2 * MINUTE)  # lists once more what may show late

    assert await stage.after(MINUTE) == ["/workflows"]


async def test_an_idle_pass_lists_each_workflow_that_has_open_executions(stage: Stage) -> None:
    await stage.after(MINUTE)
    await stage.after(2 * MINUTE)
    open_in = {each.workflow.id for each in stage.world.open_executions}

    made = await stage.after(MINUTE)

    assert len(made) == 1 + len(open_in)
    assert reads(made) == 0


async def test_each_execution_that_changed_is_one_request_more_and_one_after_the_linger(
    stage: Stage,
) -> None:
    await stage.after(MINUTE)
    await stage.after(2 * MINUTE)
    idle = len(await stage.after(MINUTE))
    changed = stage.world.open_executions[:2]
    for execution in changed:
        stage.world.add_events(execution.id, 3, created_at=stage.clock())

    assert len(await stage.after(timedelta(seconds=10))) == idle + 2
    assert len(await stage.after(timedelta(seconds=10))) == idle
    assert len(await stage.after(MINUTE)) == idle + 2
    assert len(await stage.after(MINUTE)) == idle
    assert stage.complete()


async def test_an_execution_that_ended_is_read_twice_however_often_its_list_shows_it(
    stage: Stage,
) -> None:
    await stage.after(MINUTE)
    stage.world.end(stage.world.open_executions[0].id, created_at=stage.clock())
    key = next(iter(e.id for e in stage.world.executions.values() if e.ended_at == stage.clock()))

    made = [each for _ in range(30) for each in await stage.after(timedelta(seconds=10))]

    assert len([each for each in made if key in each]) == 2


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_workflow_whose_list_is_broken_hides_no_other(stage: Stage, place: int) -> None:
    broken = list(stage.world.workflows)[place]
    fault = Fault.body(b"<html>")
    stage.kapso.faults = lambda request: fault if f"/{broken}/exec" in request.path else None

    with pytest.raises(SourceError, match="is not the JSON that was expected"):
        await stage.after(MINUTE)

    others = [each for each in stage.world.executions.values() if each.workflow.id != broken]
    assert sorted(stage.follower.ids()) == sorted(
        event.id for execution in others for event in execution.events
    )
    stage.kapso.faults = []
    await stage.after(MINUTE)
    assert stage.complete()


async def test_a_new_execution_is_found_in_its_workflow_alone(stage: Stage) -> None:
    await stage.after(MINUTE)
    await stage.after(2 * MINUTE)
    for execution in stage.world.open_executions:
        stage.world.end(execution.id)
    await stage.after(MINUTE)
    await stage.after(2 * MINUTE)
    assert await stage.after(MINUTE) == ["/workflows"]

    new = stage.world.add_execution(events=5)
    made = await stage.after(timedelta(seconds=10))

    assert made == [
        "/workflows",
        f"/workflows/{new.workflow.id}/executions",
        f"/workflow_executions/{new.id}/events",
    ]
    assert stage.complete()


async def test_an_execution_that_shows_after_a_later_one_is_found(stage: Stage) -> None:
    await stage.after(MINUTE)
    now = stage.clock()
    stage.world.add_execution(events=2, started_at=now)
    await stage.after(timedelta(seconds=10))

    stage.world.add_execution(events=2, started_at=now - timedelta(seconds=30))
    await stage.after(timedelta(seconds=10))

    assert stage.complete()


@pytest.mark.parametrize("stage", [{"page_size": 2}], indirect=True)
async def test_where_the_list_is_long_open_executions_are_listed_by_status(stage: Stage) -> None:
    await stage.after(MINUTE)
    workflow = next(iter(stage.world.workflows))
    old = stage.world.open_executions[0]
    for _ in range(20):
        stage.world.end(stage.world.add_execution(old.workflow.id, events=3).id)
    await stage.after(2 * MINUTE)
    await stage.after(5 * MINUTE)

    await stage.after(MINUTE)

    asked = [each.query.get("status") for each in stage.follower.requests[-1]]
    assert old.status in asked
    assert lists([each.path for each in stage.follower.requests[-1]]) <= 4 or workflow
    assert stage.complete()


@pytest.mark.parametrize("stage", [{"page_size": 2}], indirect=True)
async def test_an_execution_that_left_its_status_list_is_looked_up_and_closed(
    stage: Stage,
) -> None:
    await stage.after(MINUTE)
    old = stage.world.open_executions[0]
    for _ in range(20):
        stage.world.end(stage.world.add_execution(old.workflow.id, events=3).id)
    await stage.after(2 * MINUTE)
    await stage.after(5 * MINUTE)

    stage.world.end(old.id)
    made = await stage.after(MINUTE)
    assert made.count(f"/workflow_executions/{old.id}") == 1
    await stage.after(2 * MINUTE)

    assert stage.complete()
    made = await stage.after(MINUTE)
    assert [each for each in made if old.id in each] == []


@pytest.mark.parametrize("stage", [{"quirks": {"bare_workflows": True}}], indirect=True)
async def test_without_counters_each_workflow_is_listed_from_its_newest_execution_on(
    stage: Stage,
) -> None:
    await stage.after(MINUTE)

    made = await stage.after(2 * MINUTE)

    assert (len(made), lists(made)) == (1 + 3, 3)
    queries = [each.query for each in stage.follower.requests[-1] if "limit" in each.query]
    assert all("created_after" in query for query in queries)


async def test_an_execution_that_closed_reopens_when_its_row_changes(stage: Stage) -> None:
    await stage.after(MINUTE)
    new = stage.world.add_execution(events=5)
    stage.world.end(new.id)
    await stage.after(2 * MINUTE)
    await stage.after(2 * MINUTE)

    stage.world.add_event(new.id, "afterthought")
    stage.world.add_execution(new.workflow.id, events=1)  # so that the list is looked at
    await stage.after(MINUTE)

    assert stage.complete()


async def test_an_execution_that_its_list_shows_is_read_however_long_it_is_not_found(
    stage: Stage,
) -> None:
    await stage.after(MINUTE)
    running = stage.world.open_executions[0]
    with not_found(stage.kapso, running.id):
        for _ in range(5):
            stage.world.add_event(running.id, "unheard", created_at=stage.clock())
            made = await stage.after(2 * MINUTE)
            assert made.count(f"/workflow_executions/{running.id}/events") == 1

    await stage.after(2 * MINUTE)

    assert stage.complete()


async def test_an_execution_that_ends_while_it_is_not_found_is_read_to_its_end(
    stage: Stage,
) -> None:
    await stage.after(MINUTE)
    running = stage.world.open_executions[0]
    with not_found(stage.kapso, running.id):
        await stage.after(MINUTE)
        stage.clock.advance(MINUTE)
        stage.world.end(running.id, created_at=stage.clock())
        await stage.after(MINUTE)

    await stage.after(2 * MINUTE)

    assert stage.complete()


async def test_an_execution_that_was_deleted_is_looked_at_twice_more(stage: Stage) -> None:
    await stage.after(MINUTE)
    await stage.after(2 * MINUTE)
    deleted = stage.world.open_executions[0].id
    stage.world.delete(deleted)

    looks = [each for _ in range(5) for each in await stage.after(2 * MINUTE) if deleted in each]

    path = f"/workflow_executions/{deleted}"
    assert looks == [path, f"{path}/events"] * 2


@pytest.mark.parametrize("ends", [False, True])
async def test_a_given_execution_is_read_however_long_it_is_not_found(
    stage: Stage, ends: bool
) -> None:
    running = stage.world.open_executions[0]
    stage.follower.make = lambda: KapsoSource(
        base_url=stage.kapso.url, api_key=Secret("sandbox"), executions=[running.id]
    )
    await stage.after(MINUTE)
    with not_found(stage.kapso, running.id):
        for _ in range(5):
            stage.world.add_event(running.id, "unheard", created_at=stage.clock())
            await stage.after(2 * MINUTE)
        if ends:
            stage.world.end(running.id, created_at=stage.clock())

    await stage.after(2 * MINUTE)
    last = await stage.after(2 * MINUTE)

    assert stage.follower.ids() == [event.id for event in running.events]
    assert bool(last) is not ends


async def test_what_closed_long_ago_is_forgotten_and_never_read_again(stage: Stage) -> None:
    await stage.after(MINUTE)
    stage.world.add_execution(events=1, started_at=stage.clock() + timedelta(hours=2))
    await stage.after(timedelta(hours=2))
    assert stage.follower.journal.read(
        "SELECT count(*) FROM partition WHERE state IN ('closed', 'gone')"
    ) == [(0,)]

    old = [each.id for each in stage.world.executions.values() if each.is_final]
    stage.world.add_execution(events=1, started_at=stage.clock())
    made = await stage.after(MINUTE)

    assert [each for each in made if any(key in each for key in old)] == []
    assert stage.complete()


async def test_history_costs_nothing_on_the_second_pass(tmp_path: Path) -> None:
    world = KapsoWorld.sample(workflows=2, executions=1000, events=2, open=0)
    clock = VirtualClock(world.now + MINUTE)
    async with KapsoServer(world, now=clock) as kapso:

        def make() -> KapsoSource:
            return KapsoSource(base_url=kapso.url, api_key=Secret("sandbox"))

        async with following(make, kapso, tmp_path / "state", same_process=False) as follower:
            first = await follower.cycle()
            clock.advance(2 * MINUTE)
            second = await follower.cycle()
            third = await follower.cycle()

    assert len(first) == 1 + 2 * 5 + 1000
    assert len(second) == 1 + 2
    assert len(third) == 1


async def test_a_hinted_execution_costs_one_request(stage: Stage) -> None:
    await stage.after(MINUTE)
    idle = await stage.after(2 * MINUTE)
    await stage.after(2 * MINUTE)
    execution = stage.world.open_executions[0]
    stage.world.add_event(execution.id, "unlisted")
    execution.last_event_at = execution.events[0].created_at  # as if its row lagged behind

    await stage.follower.hint(execution.id)
    made = await stage.after(timedelta(seconds=5))

    assert reads(made) >= 1
    assert len(made) <= len(idle) + 1
    assert stage.complete()


async def test_a_hinted_execution_that_was_forgotten_does_not_come_twice(stage: Stage) -> None:
    await stage.after(MINUTE)
    old = next(each for each in stage.world.executions.values() if each.is_final)
    stage.world.add_execution(events=1, started_at=stage.clock() + timedelta(hours=2))
    await stage.after(timedelta(hours=2))
    await stage.follower.journal.prune_early()
    before = stage.follower.journal.last_seq

    await stage.follower.hint(old.id)
    await stage.after(MINUTE)

    assert stage.follower.journal.last_seq == before
    assert "kapso: execution.forgotten" in stage.follower.reports


async def test_a_hinted_execution_that_was_never_heard_of_is_read(stage: Stage) -> None:
    await stage.follower.hint(stage.world.open_executions[0].id)

    await stage.after(MINUTE)

    assert stage.complete()
    sources = {each.origin.uri for each in stage.follower.events() if each.origin}
    assert all(source.startswith(stage.kapso.base_url) for source in sources)


@pytest.mark.parametrize(
    "stage", [{"log_search": True, "quirks": {"log_search": "available"}}], indirect=True
)
async def test_with_the_log_search_an_idle_pass_is_one_request(stage: Stage) -> None:
    await stage.after(MINUTE)

    assert await stage.after(timedelta(minutes=5)) == ["/log_search"]


@pytest.mark.parametrize(
    "stage", [{"log_search": True, "quirks": {"log_search": "available"}}], indirect=True
)
async def test_the_log_search_tells_of_open_and_of_new_executions(stage: Stage) -> None:
    await stage.after(MINUTE)
    await stage.after(5 * MINUTE)
    known = stage.world.open_executions[0]
    stage.world.add_events(known.id, 2, created_at=stage.clock())
    new = stage.world.add_execution(events=4, started_at=stage.clock())

    made = await stage.after(timedelta(seconds=10))

    assert sorted(made) == sorted(
        [
            "/log_search",
            f"/workflow_executions/{known.id}/events",
            f"/workflow_executions/{new.id}",
        ]
    )
    assert stage.complete()


@pytest.mark.parametrize(
    "stage", [{"log_search": True, "quirks": {"log_search": "available"}}], indirect=True
)
async def test_now_and_then_the_lists_are_looked_at_all_the_same(stage: Stage) -> None:
    await stage.after(MINUTE)
    stage.kapso.quirks.log_search_lag = timedelta(hours=10)
    stage.world.add_event(stage.world.open_executions[0].id, "unseen", created_at=stage.clock())
    assert await stage.after(5 * MINUTE) == ["/log_search"]
    assert not stage.complete()

    made = await stage.after(15 * MINUTE)

    assert "/workflows" in made
    assert stage.complete()


@pytest.mark.parametrize("mode", ["absent", "unavailable", "failing"])
@pytest.mark.parametrize(
    "stage", [{"log_search": True, "quirks": {"log_search": "available"}}], indirect=True
)
async def test_a_log_search_that_says_nothing_leaves_it_to_the_lists(
    stage: Stage, mode: Any
) -> None:
    await stage.after(MINUTE)
    stage.kapso.quirks.log_search = mode
    stage.world.add_event(stage.world.open_executions[0].id, "x", created_at=stage.clock())

    made = await stage.after(MINUTE)

    assert made[:2] == ["/log_search", "/workflows"]
    assert stage.complete()
    again = await stage.after(MINUTE)
    assert ("/log_search" in again) == (mode != "absent")
