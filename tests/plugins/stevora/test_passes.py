"""What passes of the source `stevora` cost, one after the other, and that they find everything.

The formulas are those of docs/how-to/stevora.md.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from datetime import timedelta
from math import ceil
from pathlib import Path
from typing import Any, Final

import pytest

from levada import SourceError
from levada.sandbox import StevoraQuirks, StevoraWorld
from levada.sandbox.stevora.data import StevoraRun
from plugins.desk import not_found
from plugins.stevora.servers import DAY, HOUR, MINUTE, SECOND, Stage, ids, staged


@pytest.fixture
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    """Forty runs of twelve events that ended days ago, ten on a page; parameters are options."""
    options: dict[str, Any] = {"page_size": 10} | getattr(request, "param", {})
    quirks = StevoraQuirks(**options.pop("quirks", {}))
    world = StevoraWorld.sample(runs=options.pop("runs", 40), events=12, open=0)
    start = world.now + 5 * DAY
    async with staged(tmp_path, world, quirks=quirks, start=start, **options) as stage:
        yield stage


def begin(stage: Stage, *statuses: str, hidden: bool = True) -> list[StevoraRun]:
    """Let runs start now and come to a status; *hidden* by a page of others that start later."""
    world = stage.world
    runs = [world.add_run(events=0, created_at=stage.clock.now + 0 * SECOND) for _ in statuses]
    for run, status in zip(runs, statuses, strict=True):
        world.add_events(run.id, 5)
        run.status = status  # type: ignore[assignment]  # a literal
    if hidden:
        for _ in range(10):
            other = world.add_run(events=2, created_at=stage.clock.now + SECOND)
            world.end(other.id, "CANCELLED")
    return runs


def change(run: StevoraRun, status: str) -> None:
    """Change a run's row and nothing else."""
    run.status = status  # type: ignore[assignment]  # a literal
    run.version += 1


def lists(made: Iterable[str]) -> list[str]:
    return [each for each in made if not each.startswith(("events", "run "))]


async def calm(stage: Stage) -> None:
    """Read everything, and look once more at what lingers."""
    await stage.look()
    await stage.look(5 * MINUTE)


def reads(made: Iterable[str]) -> int:
    return sum(each.startswith("events") for each in made)


# ── what a pass costs ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stage", [{"runs": 47}, {"page_size": 100}], indirect=True)
async def test_the_first_pass_is_each_page_of_the_list_and_of_every_run(stage: Stage) -> None:
    size = stage.options["page_size"]

    made = await stage.look()

    runs = stage.world.runs.values()
    assert len(lists(made)) == ceil(len(runs) / size)
    assert reads(made) == sum(ceil(len(run.events) / size) for run in runs)
    stage.assert_complete()


async def test_an_idle_pass_is_one_request(stage: Stage) -> None:
    await stage.look()

    assert await stage.looks(3) == ["runs 1"] * 3
    assert set(stage.stages().values()) == {"closed"}


@pytest.mark.parametrize("new", [1, 9, 10, 34])
async def test_new_runs_cost_the_pages_they_are_on_and_a_read_each(stage: Stage, new: int) -> None:
    await stage.look()
    for _ in range(new):
        stage.world.end(stage.world.add_run(events=3, created_at=stage.clock.now).id)

    made = await stage.look()

    assert lists(made) == [f"runs {n + 1}" for n in range(new // 10 + 1)]
    assert reads(made) == new
    stage.assert_complete()


async def test_open_runs_that_show_among_the_newest_cost_no_list(stage: Stage) -> None:
    begin(stage, "RUNNING", "WAITING", "PAUSED", "PENDING", hidden=False)
    await calm(stage)

    assert await stage.look() == ["runs 1", "events 1"]  # the one that is running


async def test_hidden_runs_cost_a_list_for_each_of_their_statuses(stage: Stage) -> None:
    begin(stage, "RUNNING", "RUNNING", "WAITING")
    await calm(stage)

    made = await stage.look()

    assert sorted(made) == ["RUNNING 1", "WAITING 1", "events 1", "events 1", "runs 1"]


@pytest.mark.parametrize("stage", [{"runs": 5}], indirect=True)
async def test_the_rest_of_a_short_list_is_read_if_that_is_cheaper(stage: Stage) -> None:
    begin(stage, "RUNNING", "WAITING", "PAUSED")
    await calm(stage)

    assert await stage.look() == ["runs 1", "runs 2", "events 1"]


async def test_a_run_that_changed_costs_the_pages_of_what_is_new(stage: Stage) -> None:
    run, _ = begin(stage, "WAITING", "WAITING")
    await calm(stage)
    stage.world.add_events(run.id, 30)
    change(run, "WAITING")

    made = await stage.look()

    assert made == ["runs 1", "WAITING 1", "events 1", "events 2", "events 3", "events 4"]
    stage.assert_complete()
    assert "events 4" not in await stage.look()


async def test_what_models_do_shows_though_the_run_does_not_change(stage: Stage) -> None:
    (run,) = begin(stage, "RUNNING")
    await stage.look()
    stage.world.add_event(run.id, "LLM_CALL_COMPLETED")

    await stage.look()

    stage.assert_complete()


@pytest.mark.parametrize("stage", [{"quirks": {"bare_runs": True}}], indirect=True)
async def test_a_run_that_shows_no_change_is_read_until_it_is_over(stage: Stage) -> None:
    (run,) = begin(stage, "WAITING", hidden=False)
    await stage.look()
    assert await stage.looks(2) == ["runs 1", "events 1"] * 2
    stage.world.end(run.id, created_at=stage.clock.now)

    made = await stage.looks(12)

    assert reads(made) == 2  # with its end, and once more after the linger
    assert stage.stages()[run.id] == "closed"
    stage.assert_complete()


# ── runs that lists do not show any more ────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", ["RUNNING", "WAITING"])
async def test_a_hidden_run_that_ends_costs_two_reads(stage: Stage, status: str) -> None:
    (run,) = begin(stage, status)
    await calm(stage)
    stage.world.end(run.id, created_at=stage.clock.now)

    assert await stage.look() == ["runs 1", f"{status} 1", "events 1"]
    assert await stage.looks(5) == ["runs 1"] * 5
    assert await stage.look(MINUTE) == ["runs 1", "events 1"]
    assert await stage.look() == ["runs 1"]
    assert stage.stages()[run.id] == "closed"
    stage.assert_complete()


async def test_a_run_that_went_on_to_another_status_is_asked_for_once(stage: Stage) -> None:
    (run,) = begin(stage, "WAITING")
    await calm(stage)
    change(run, "PAUSED")

    assert await stage.look() == ["runs 1", "WAITING 1", "events 1"]
    assert await stage.look() == ["runs 1", "run", "events 1"]
    assert await stage.look() == ["runs 1", "PAUSED 1"]


async def test_of_many_that_went_on_all_lists_are_asked_for(stage: Stage) -> None:
    runs = begin(stage, *["WAITING"] * 6)
    await calm(stage)
    for run in runs:
        change(run, "PAUSED")
    await stage.look()

    made = await stage.look()

    assert lists(made) == ["runs 1", "RUNNING 1", "WAITING 1", "PAUSED 1", "PENDING 1"]
    assert lists(await stage.look()) == ["runs 1", "PAUSED 1"]


@pytest.mark.parametrize("stage", [{"quirks": {"no_detail": True}}], indirect=True)
async def test_where_a_run_cannot_be_asked_for_the_lists_are(stage: Stage) -> None:
    (run,) = begin(stage, "WAITING")
    await calm(stage)
    change(run, "PAUSED")
    await stage.look()

    assert "run" in await stage.look()
    assert stage.follower.reports == {"stevora: route.missing": 1}
    assert stage.position["has_detail"] is False
    made = await stage.look()
    assert lists(made) == ["runs 1", "RUNNING 1", "WAITING 1", "PAUSED 1", "PENDING 1"]
    assert await stage.look() == ["runs 1", "PAUSED 1"]


async def test_a_run_that_was_deleted_is_closed(stage: Stage) -> None:
    (run,) = begin(stage, "WAITING")
    await calm(stage)
    stage.world.delete(run.id)

    made = await stage.looks(12)

    assert stage.stages()[run.id] == "gone"
    assert [each for each in made if each != "runs 1"] == [
        "WAITING 1",
        "events 1",
        *("run", "events 1"),  # whether there is such a route at all
        "events 1",
    ]
    assert stage.follower.reports == {"stevora: partition.gone": 2}


async def test_an_unknown_status_is_taken_to_go_on(stage: Stage) -> None:
    (run,) = begin(stage, "HIBERNATING", hidden=False)
    await calm(stage)
    assert await stage.look() == ["runs 1"]
    stage.world.add_events(run.id, 3)
    change(run, "DREAMING")

    await stage.look()

    stage.assert_complete()


# ── runs that failed ────────────────────────────────────────────────────────────────────────────


async def fail(stage: Stage, *, hidden: bool = True) -> StevoraRun:
    """Let a run fail, and be read."""
    (run,) = begin(stage, "RUNNING", hidden=hidden)
    stage.world.end(run.id, "FAILED", created_at=stage.clock.now)
    await stage.look()
    return run


async def test_a_failed_run_is_looked_at_six_times_and_then_closed(stage: Stage) -> None:
    run = await fail(stage, hidden=False)

    made = [await stage.look(5 * MINUTE) for _ in range(24 * 12 + 2)]

    looks = [n for n, each in enumerate(made, 1) if reads(each)]
    assert looks == [1, 6, 24, 60, 288]  # the first of six came together with the second
    assert sum(map(len, made)) == len(made) + len(looks)
    assert stage.stages()[run.id] == "closed"


async def test_a_hidden_failed_run_costs_the_list_of_running_ones(stage: Stage) -> None:
    await fail(stage)
    await stage.look(2 * MINUTE)

    assert await stage.looks(2) == ["runs 1", "RUNNING 1"] * 2


async def test_a_failed_run_that_is_retried_is_read_on(stage: Stage) -> None:
    run = await fail(stage)
    await stage.look(10 * MINUTE)
    stage.world.retry(run.id, created_at=stage.clock.now)
    stage.world.add_events(run.id, 3, created_at=stage.clock.now)

    await stage.look()

    stage.assert_complete()


async def test_a_retry_that_no_pass_has_seen_is_found(stage: Stage) -> None:
    run = await fail(stage)
    await stage.look(10 * MINUTE)
    stage.world.retry(run.id, created_at=stage.clock.now)
    stage.world.end(run.id, created_at=stage.clock.now)

    made = await stage.looks(4, 10 * MINUTE)

    assert reads(made) == 1  # the look that was due
    assert stage.stages()[run.id] == "closed"
    stage.assert_complete()


@pytest.mark.parametrize("stage", [{"page_size": 100}], indirect=True)
async def test_a_failed_run_that_was_closed_is_read_on_from_its_count(stage: Stage) -> None:
    run = stage.world.add_run(events=250, created_at=stage.clock.now)
    stage.world.end(run.id, "FAILED", created_at=stage.clock.now)
    await stage.look()
    await stage.looks(8, 5 * HOUR)
    assert stage.stages()[run.id] == "closed"
    stage.world.retry(run.id, created_at=stage.clock.now)
    stage.world.add_events(run.id, 120, created_at=stage.clock.now)

    made = await stage.look()

    assert made == ["runs 1", "events 3", "events 4"]
    stage.assert_complete()
    assert stage.kept(run.id) == ids(run.events)


# ── the end of a run ────────────────────────────────────────────────────────────────────────────


async def test_what_shows_after_the_end_is_found_within_the_linger(stage: Stage) -> None:
    (run,) = begin(stage, "RUNNING", hidden=False)
    await stage.look()
    now = stage.clock.now
    stage.world.end(run.id, created_at=now, visible_at=now + 55 * SECOND)

    made = await stage.looks(12)

    assert reads(made) == 2
    stage.assert_complete()


TEN_MINUTES: Final = timedelta(minutes=10)


@pytest.mark.parametrize("status", ["RUNNING", "WAITING", "new"])
@pytest.mark.parametrize(
    "stage",
    [
        {"quirks": {"bare_runs": is_bare, "skew": skew}}
        for is_bare in (False, True)
        for skew in (timedelta(0), TEN_MINUTES, -TEN_MINUTES)
    ],
    indirect=True,
    ids=lambda given: ", ".join(f"{name} {value}" for name, value in given["quirks"].items()),
)
async def test_an_end_lingers_whatever_is_known_of_its_time(stage: Stage, status: str) -> None:
    begun = begin(stage, status, hidden=False) if status != "new" else []
    await stage.looks(2)
    (run,) = begun or begin(stage, "RUNNING", hidden=False)
    now = stage.clock.now
    if status == "WAITING":
        stage.world.end(run.id, created_at=now, visible_at=now + 45 * SECOND)
    else:
        stage.world.add_event(run.id, "LATE", created_at=now, visible_at=now + 45 * SECOND)
        stage.world.end(run.id, created_at=now)

    made = await stage.looks(16)

    assert reads(made) <= 4
    stage.assert_complete()


@pytest.mark.parametrize(
    "stage",
    [{"quirks": {"skew": skew}} for skew in (timedelta(0), TEN_MINUTES, -TEN_MINUTES)],
    indirect=True,
    ids=str,
)
async def test_the_end_of_a_given_run_lingers(stage: Stage) -> None:
    (run,) = begin(stage, "RUNNING", hidden=False)
    stage.options["runs"] = [run.id]
    await stage.looks(2)
    now = stage.clock.now
    stage.world.add_event(run.id, "LATE", created_at=now, visible_at=now + 45 * SECOND)
    stage.world.end(run.id, created_at=now)

    await stage.looks(16)

    assert set(stage.kept(run.id)) == set(ids(run.events))
    assert await stage.looks(3) == []


async def test_old_runs_are_read_once_though_their_rows_have_no_times(stage: Stage) -> None:
    stage.stevora.quirks.bare_runs = True

    assert reads(await stage.look()) == 80
    assert reads(await stage.looks(12)) == 0


async def test_late_runs_and_late_events_are_found(stage: Stage) -> None:
    await stage.look()
    world, now = stage.world, stage.clock.now
    world.at(now + 3 * MINUTE, lambda: world.add_run(events=3, created_at=now - HOUR))

    await stage.looks(20)

    stage.assert_complete()


@pytest.mark.parametrize("status", ["RUNNING", "WAITING"])
async def test_a_run_that_a_list_shows_is_read_however_long_it_is_not_found(
    stage: Stage, status: str
) -> None:
    (run,) = begin(stage, status)
    with not_found(stage.stevora, run.id):
        assert reads(await stage.looks(5, 2 * MINUTE)) >= 5
    assert stage.stages()[run.id] == "open"

    await stage.look(2 * MINUTE)

    assert stage.kept(run.id) == ids(run.events)


# ── what was asked for by name ──────────────────────────────────────────────────────────────────


async def test_given_runs_are_read_once_a_pass_until_they_have_ended(stage: Stage) -> None:
    running, waiting = begin(stage, "RUNNING", "WAITING")
    done = next(iter(stage.world.runs.values()))
    stage.options["runs"] = [done.id, running.id, waiting.id, running.id]

    assert Counter(await stage.look()) == {"events 1": 3, "events 2": 1}
    assert await stage.looks(2, MINUTE) == ["events 1"] * 4
    stage.world.end(waiting.id, created_at=stage.clock.now)
    assert await stage.look() == ["events 1"] * 2
    assert await stage.look(2 * MINUTE) == ["events 1"] * 2
    assert await stage.looks(2) == ["events 1"] * 2
    assert {stage.stages()[each.id] for each in (done, waiting)} == {"closed"}
    assert stage.kept(waiting.id) == ids(waiting.events)


@pytest.mark.parametrize("ends", [False, True])
async def test_a_given_run_is_read_however_long_it_is_not_found(stage: Stage, ends: bool) -> None:
    (running,) = begin(stage, "RUNNING")
    stage.options["runs"] = [running.id]
    await stage.look()
    with not_found(stage.stevora, running.id):
        for _ in range(5):
            stage.world.add_event(running.id, "UNHEARD", created_at=stage.clock.now)
            await stage.look(2 * MINUTE)
        if ends:
            stage.world.end(running.id, created_at=stage.clock.now)

    await stage.looks(2, 2 * MINUTE)
    last = await stage.look(2 * MINUTE)

    assert stage.kept(running.id) == ids(running.events)
    assert bool(last) is not ends


@pytest.mark.parametrize("stage", [{"same_process": True}], indirect=True)
async def test_a_given_run_that_failed_is_looked_at_as_any_other(stage: Stage) -> None:
    run, other = begin(stage, "RUNNING", "RUNNING")
    stage.options["runs"] = [run.id, other.id]
    await stage.look()
    stage.world.end(run.id, "FAILED", created_at=stage.clock.now)
    await stage.look()

    made = await stage.looks(13, 2 * HOUR)

    assert reads(made) == 13 + 3  # and the other one every time
    assert stage.stages()[run.id] == "closed"
    assert await stage.looks(3) == ["events 1"] * 3


@pytest.mark.parametrize("stage", [{"same_process": True}], indirect=True)
async def test_a_run_that_somebody_hints_at_is_read_at_once(stage: Stage) -> None:
    await stage.look()
    old, new = next(iter(stage.world.runs)), stage.world.add_run(events=3)
    stage.world.add_event(old, "LATE", created_at=stage.clock.now)
    await stage.follower.hint(old)
    await stage.follower.hint(new.id)

    made = await stage.look()

    assert reads(made) == 3  # of the old one, which had ended, the last two pages
    stage.assert_complete()
    urls = {event.origin.uri for event in stage.follower.events() if event.origin}
    assert all(url.startswith(stage.stevora.url) for url in urls)


@pytest.mark.parametrize("stage", [{"same_process": True}], indirect=True)
async def test_a_hint_at_nothing_costs_two_requests(stage: Stage) -> None:
    await stage.look()
    await stage.follower.hint("wfrun_nothing")

    assert await stage.look() == ["runs 1", "events 1"]
    assert await stage.look(2 * MINUTE) == ["runs 1", "events 1"]
    assert await stage.look() == ["runs 1"]


# ── trouble ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [1, 2, 5, 20])
async def test_an_answer_without_success_loses_nothing(stage: Stage, number: int) -> None:
    stage.stevora.quirks.failing_request = number
    with suppress(SourceError):  # of a list it ends the pass
        await stage.look()
    await stage.look()

    stage.assert_complete()


async def test_what_was_closed_long_ago_is_forgotten(stage: Stage) -> None:
    await stage.look()
    stage.clock.advance(timedelta(days=8))
    stage.world.end(stage.world.add_run(events=3, created_at=stage.clock.now).id)
    await stage.looks(10)

    assert await stage.look() == ["runs 1"]
    assert Counter(stage.stages().values()) == {"settled": 40, "closed": 1}
    stage.assert_complete()
