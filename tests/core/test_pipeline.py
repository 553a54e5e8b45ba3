import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve

from core.doubles import (
    CollectingSink,
    ScriptedSource,
    by_partition,
    event,
    events,
    names,
    settings,
    setup,
)
from levada import (
    Checkpoint,
    Closed,
    ConfigError,
    Delivery,
    Disable,
    Fatal,
    Json,
    Partition,
    Pipeline,
    PluginError,
    Report,
    Retry,
    Setup,
    SinkContext,
    SourceError,
    StateError,
)
from levada.setup import SinkSetup, SourceSetup

TESTS = Path(__file__).parents[1]


def source_of(runs: int = 3, each: int = 20, **options: Any) -> ScriptedSource:
    keys = [f"run-{number}" for number in range(runs)]
    return ScriptedSource(runs={key: events(1, each, key) for key in keys}, **options)


def everything(source: ScriptedSource) -> dict[str, list[str]]:
    return by_partition(each for run in source.runs.values() for each in run)


async def until(true: Callable[[], object], limit_s: float = 5) -> None:
    async with asyncio.timeout(limit_s):
        while not true():  # noqa: ASYNC110  # any condition
            await asyncio.sleep(0.001)


async def run_of(*args: Any, at: Path, **changes: Any) -> Report:
    return await Pipeline(setup(*args, at=at, **changes)).run()


async def test_a_run_carries_everything_and_ends(tmp_path: Path) -> None:
    source, sink = source_of(), CollectingSink()

    report = await run_of(source, sink, at=tmp_path)

    assert by_partition(sink.got) == everything(source)
    assert report.ending == "done"
    assert (report.sources[0].events, report.sinks[0].delivered) == (60, 60)
    assert report.sinks[0].pending == 0
    assert report.errors == []


async def test_every_event_says_where_it_came_from_and_its_place(tmp_path: Path) -> None:
    sink = CollectingSink()

    await run_of(source_of(), sink, at=tmp_path)

    assert [each.seq for each in sink.got] == list(range(1, 61))
    origins = {each.origin.uri for each in sink.got if each.origin}
    assert origins == {f"urn:levada:scripted:acme:run-{number}" for number in range(3)}


async def test_a_second_run_asks_for_nothing_and_writes_nothing(tmp_path: Path) -> None:
    await run_of(source_of(), CollectingSink(), at=tmp_path)
    source, sink = source_of(), CollectingSink()

    report = await run_of(source, sink, at=tmp_path)

    assert (source.positions, sink.deliveries) == ([], [])
    assert (report.ending, report.sources[0].events, report.sinks[0].delivered) == ("done", 0, 0)


async def test_a_second_run_carries_only_what_is_new(tmp_path: Path) -> None:
    source, sink = source_of(), CollectingSink()
    await run_of(source, CollectingSink(), at=tmp_path)

    source = source_of(each=22)
    await run_of(source, sink, at=tmp_path)

    assert by_partition(sink.got) == {key: ["evt-21", "evt-22"] for key in source.runs}
    assert {position for _, position in source.positions} == {20}


async def test_what_was_opened_is_closed(tmp_path: Path) -> None:
    source, sink = source_of(), CollectingSink()

    await run_of(source, sink, at=tmp_path)

    assert (source.closed, sink.closed) == (1, 1)


async def test_an_empty_source_is_no_trouble(tmp_path: Path) -> None:
    report = await run_of(ScriptedSource(), CollectingSink(), at=tmp_path)

    assert (report.ending, report.sinks[0].delivered) == ("done", 0)


async def test_a_sink_that_always_fails_does_not_slow_the_others(tmp_path: Path) -> None:
    failing, working = CollectingSink(always=Retry("503")), CollectingSink(pause_s=0.001)

    report = await asyncio.wait_for(run_of(source_of(), failing, working, at=tmp_path), 2)

    assert len(working.got) == 60
    assert [(each.condition, each.pending) for each in report.sinks] == [
        ("failing", 60),
        ("active", 0),
    ]


async def test_a_run_gives_up_on_a_failing_sink_and_the_next_one_delivers_the_rest(
    tmp_path: Path,
) -> None:
    source = source_of()
    first = CollectingSink(batch_size=7, script=[None, None, *[Retry("503")] * 99])
    report = await run_of(source, first, at=tmp_path)
    delivered, pending = report.sinks[0].delivered, report.sinks[0].pending
    assert (report.ending, delivered, pending) == ("gave up", len(first.got), 60 - delivered)
    assert 0 < delivered <= 14  # of two deliveries, the first of which may be short

    second = CollectingSink(batch_size=7)
    report = await run_of(source_of(), second, at=tmp_path)

    assert names([*first.got, *second.got]) == names(sorted_by_seq(first, second))
    assert (report.ending, len(first.got) + len(second.got)) == ("done", 60)


async def test_a_run_does_not_wait_for_attempts_that_are_due_much_later(tmp_path: Path) -> None:
    hour = timedelta(hours=1)
    sink = CollectingSink(batch_size=1, script=[Retry("503", after=hour)], width=4)

    async with asyncio.timeout(5):
        report = await run_of(source_of(), sink, at=tmp_path, give_up_after=timedelta(minutes=1))

    assert (report.ending, report.sinks[0].delivered, report.sinks[0].pending) == (
        "gave up",
        40,
        20,
    )


async def test_a_run_gives_up_though_every_attempt_takes_its_time(tmp_path: Path) -> None:
    sink = CollectingSink(always=Retry("timed out"), pause_s=0.2)

    async with asyncio.timeout(5):
        report = await run_of(source_of(), sink, at=tmp_path, give_up_after=timedelta(seconds=1))

    assert report.ending == "gave up"


async def test_one_delivery_that_is_due_much_later_does_not_end_the_run_for_the_others(
    tmp_path: Path,
) -> None:
    script: list[Exception | None] = [Retry("503", after=timedelta(hours=1)), *[Retry("503")] * 3]
    sink = CollectingSink(batch_size=1, script=script, width=4)

    report = await run_of(source_of(), sink, at=tmp_path, give_up_after=timedelta(seconds=20))

    assert (report.ending, report.sinks[0].delivered) == ("gave up", 40)


@pytest.mark.parametrize(("persist", "rest"), [(True, 0), (False, 20)], ids=["kept", "forgotten"])
async def test_a_new_process_waits_only_for_what_was_to_outlast_the_old_one(
    tmp_path: Path, persist: bool, rest: int
) -> None:
    failure = Retry("refused", after=timedelta(hours=1), persist=persist)
    await run_of(source_of(1), CollectingSink(batch_size=20, script=[failure]), at=tmp_path)

    second = CollectingSink(batch_size=20)
    await run_of(source_of(1), second, at=tmp_path)

    assert len(second.got) == rest


async def test_a_listing_that_fails_for_a_moment_is_asked_for_again(tmp_path: Path) -> None:
    runs = {"a": events(1, 3, "a")}
    source = ScriptedSource(runs=runs, found=[[Retry("half a page")], [Partition("a")]])

    report = await run_of(source, CollectingSink(), at=tmp_path, give_up_after=timedelta(minutes=1))

    assert (report.ending, report.errors, report.sinks[0].delivered) == ("done", [], 3)


def sorted_by_seq(*sinks: CollectingSink) -> list[Any]:
    return sorted((each for sink in sinks for each in sink.got), key=lambda each: each.seq or 0)


async def test_a_run_waits_for_a_failing_sink_as_long_as_it_is_told(tmp_path: Path) -> None:
    sink = CollectingSink(script=[Retry("503", after=timedelta(milliseconds=50))])

    report = await run_of(source_of(), sink, at=tmp_path, give_up_after=timedelta(seconds=5))

    assert (report.ending, len(sink.got)) == ("done", 60)


@pytest.mark.parametrize("after", [0, 1, 3, 7, 20, 55])
async def test_a_stopped_run_goes_on_where_it_was_each_event_once(
    tmp_path: Path, after: int
) -> None:
    source, first = source_of(page=3), CollectingSink(batch_size=2, pause_s=0.001)
    pipeline = Pipeline(setup(source, first, at=tmp_path))
    running = asyncio.create_task(pipeline.run())
    await until(lambda: len(first.got) >= after or running.done())

    pipeline.stop()
    stopped = await running
    second = CollectingSink()
    await run_of(source_of(), second, at=tmp_path)

    assert stopped.ending == "stopped"
    assert stopped.sinks[0].delivered == len(first.got)
    assert by_partition([*first.got, *second.got]) == everything(source)


async def test_a_cancelled_run_goes_on_where_it_was(tmp_path: Path) -> None:
    source, first = source_of(page=3), CollectingSink(batch_size=2, pause_s=0.001)
    running = asyncio.create_task(Pipeline(setup(source, first, at=tmp_path)).run())
    await until(lambda: len(first.got) > 5)

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    second = CollectingSink()
    await run_of(source_of(), second, at=tmp_path)

    assert running.cancelled()
    assert by_partition([*first.got, *second.got]) == everything(source)
    assert (source.closed, first.closed) == (1, 1)


async def test_a_stop_before_the_start_ends_the_run(tmp_path: Path) -> None:
    pipeline = Pipeline(setup(source_of(), CollectingSink(), at=tmp_path))
    pipeline.stop()

    report = await asyncio.wait_for(pipeline.run(), 2)

    assert report.ending == "stopped"


async def test_a_write_that_does_not_end_is_cancelled_after_the_grace(tmp_path: Path) -> None:
    sink = CollectingSink(pause_s=3600)
    changes = {"shutdown_timeout": timedelta(milliseconds=100)}
    pipeline = Pipeline(setup(source_of(), sink, at=tmp_path, **changes))
    running = asyncio.create_task(pipeline.run())
    await until(lambda: sink.writing)
    started = time.monotonic()

    pipeline.stop()
    report = await running

    assert time.monotonic() - started < 1
    assert (report.sinks[0].pending, sink.closed) == (60, 1)


async def test_a_limit_ends_the_reading_after_the_batch_that_reaches_it(tmp_path: Path) -> None:
    source, sink = source_of(runs=1, each=1000, page=10), CollectingSink()

    report = await Pipeline(setup(source, sink, at=tmp_path)).run(limit=25)

    assert report.ending == "done"
    assert 30 <= len(sink.got) < 1000
    assert (
        by_partition(sink.got)["run-0"]
        == [each.id for each in source.runs["run-0"]][: len(sink.got)]
    )


async def test_what_a_limit_left_is_carried_by_the_next_run(tmp_path: Path) -> None:
    source, first, second = source_of(each=100), CollectingSink(), CollectingSink()
    await Pipeline(setup(source, first, at=tmp_path)).run(limit=25)

    await run_of(source_of(each=100), second, at=tmp_path)

    assert by_partition([*first.got, *second.got]) == everything(source)


async def test_following_picks_up_what_comes_later(tmp_path: Path) -> None:
    source, sink = source_of(each=3), CollectingSink()
    pipeline = Pipeline(setup(source, sink, at=tmp_path))
    running = asyncio.create_task(pipeline.run(follow=True))
    await until(lambda: len(sink.got) == 9)

    source.runs["run-1"].append(event(4, "run-1"))
    source.runs["run-9"] = events(1, 2, "run-9")
    await until(lambda: len(sink.got) == 12)
    pipeline.stop()
    report = await running

    assert by_partition(sink.got) == everything(source)
    assert report.ending == "stopped"


async def test_following_outlives_an_upstream_that_fails_for_the_moment(tmp_path: Path) -> None:
    source, sink = source_of(), CollectingSink()
    source.found = [[Retry("503")], [Retry("503")], [Partition(key) for key in source.runs]]
    pipeline = Pipeline(setup(source, sink, at=tmp_path))
    running = asyncio.create_task(pipeline.run(follow=True))

    await until(lambda: len(sink.got) == 60)
    pipeline.stop()

    assert (await running).errors == []


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (Retry("503 at the list"), SourceError),
        (Fatal("401: check the key"), SourceError),
        (ValueError("a bug"), PluginError),
    ],
    ids=["retry", "fatal", "crash"],
)
async def test_a_source_that_fails_does_not_stop_the_others(
    tmp_path: Path, failure: Exception, error: type[Exception]
) -> None:
    broken = SourceSetup.of(ScriptedSource(found=[[failure]]), name="broken")
    working, sink = source_of(), CollectingSink()
    both = evolve(setup(working, sink, at=tmp_path), sources=[broken, SourceSetup.of(working)])

    report = await Pipeline(both).run()

    assert by_partition(sink.got) == everything(working)
    (found,) = report.errors
    assert isinstance(found, error)
    assert report.sources[0].error is report.errors[0]
    assert report.ending == "done"


async def test_runs_that_could_not_be_read_are_named(tmp_path: Path) -> None:
    source = source_of(failures={"run-1": [Retry("503 at its events")] * 3}, each=60)

    report = await run_of(source, CollectingSink(), at=tmp_path)

    assert report.sources[0].failures == {"run-1": "503 at its events"}


@pytest.mark.parametrize(
    ("end", "condition"),
    [
        (Closed("the reader went away"), "closed"),
        (Disable("410 Gone"), "disabled"),
        (Fatal("the disk failed"), "stopped"),
    ],
    ids=["closed", "disable", "fatal"],
)
async def test_a_run_ends_when_no_sink_is_left_to_write_to(
    tmp_path: Path, end: Exception, condition: str
) -> None:
    sinks = CollectingSink(always=end), CollectingSink(script=[None, end], batch_size=5)
    pipeline = Pipeline(setup(source_of(), *sinks, at=tmp_path))

    report = await asyncio.wait_for(pipeline.run(follow=True), 5)

    assert [each.condition for each in report.sinks] == [condition, condition]
    assert sum(len(sink.got) for sink in sinks) == 5


async def test_a_sink_that_is_over_does_not_end_the_run_of_another(tmp_path: Path) -> None:
    closed, working = CollectingSink(always=Closed("gone")), CollectingSink()

    report = await run_of(source_of(), closed, working, at=tmp_path)

    assert len(working.got) == 60
    assert [each.condition for each in report.sinks] == ["closed", "active"]


async def test_a_sink_that_cannot_work_ends_the_run_before_any_request(tmp_path: Path) -> None:
    source, sink = source_of(), CollectingSink(opening=[Fatal("no such folder")])

    with pytest.raises(ConfigError) as caught:
        await run_of(source, CollectingSink(), sink, at=tmp_path)

    assert str(caught.value) == "sink 'sink-2': no such folder"
    assert (source.opened, source.asked) == (0, [])


async def test_state_in_use_ends_the_run_before_any_request(tmp_path: Path) -> None:
    source = source_of()
    running = asyncio.create_task(
        Pipeline(setup(source_of(), CollectingSink(pause_s=0.2), at=tmp_path)).run()
    )
    await asyncio.sleep(0.05)

    with pytest.raises(StateError, match="is in use by process"):
        await run_of(source, CollectingSink(), at=tmp_path)

    assert source.asked == []
    await running


async def test_another_destination_under_the_old_name_ends_the_run(tmp_path: Path) -> None:
    await run_of(source_of(), CollectingSink(place="here"), at=tmp_path)
    source, there = source_of(), CollectingSink(place="there")

    with pytest.raises(StateError, match="give it another name"):
        await run_of(source, there, at=tmp_path)
    report = await Pipeline(setup(source, there, at=tmp_path)).run(accept_identity_change=True)

    assert report.ending == "done"
    assert there.got == []


async def test_what_fails_while_a_run_is_ended_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise StateError("the journal cannot be written") from None

    pipeline = Pipeline(setup(source_of(), CollectingSink(), at=tmp_path))

    with pytest.raises(StateError, match="cannot be written"):
        await pipeline._until([work()], [asyncio.sleep(0.01)])

    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_damaged_event_stops_the_sink_that_it_is_for(tmp_path: Path) -> None:
    await run_of(source_of(), CollectingSink(always=Retry("503")), at=tmp_path)
    damage(tmp_path, "UPDATE event SET raw = X'7b7d' WHERE seq = 9")
    sink = CollectingSink()

    report = await asyncio.wait_for(run_of(source_of(), sink, at=tmp_path), 5)

    (stopped,) = report.sinks
    assert stopped.condition == "stopped"
    assert isinstance(stopped.error, StateError)
    assert "event 9 in the journal is damaged" in stopped.reason


def damage(folder: Path, statement: str) -> None:
    script = "import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None)"
    path = folder / "state" / "state.db"
    code = f"{script}.execute(sys.argv[2])"
    subprocess.run([sys.executable, "-c", code, str(path), statement], check=True)
    path.with_name("state.db.sums").unlink()  # with it the journal would not even be opened


async def test_a_new_sink_gets_what_the_journal_still_holds(tmp_path: Path) -> None:
    await run_of(source_of(), CollectingSink(), at=tmp_path)
    late = CollectingSink()

    report = await run_of(source_of(), CollectingSink(), late, at=tmp_path)

    assert len(late.got) == 60
    assert report.sinks[1].pending == 0


async def test_delivered_events_leave_the_journal_when_their_retention_is_over(
    tmp_path: Path,
) -> None:
    for _ in range(2):  # the second prunes what the first delivered last
        await run_of(source_of(), CollectingSink(), at=tmp_path, retention=timedelta(seconds=-2))
    late = CollectingSink()

    await run_of(source_of(), CollectingSink(), late, at=tmp_path)

    assert late.got == []


async def test_a_journal_that_is_full_makes_the_source_wait_and_loses_nothing(
    tmp_path: Path,
) -> None:
    runs = {"a": [event(number, "a", size=20_000) for number in range(200)]}
    source, sink = ScriptedSource(runs=runs, page=1), CollectingSink(batch_size=10, pause_s=0.002)

    changes = {"max_journal_bytes": 1024 * 1024, "give_up_after": timedelta(seconds=5)}

    report = await run_of(source, sink, at=tmp_path, **changes)

    assert by_partition(sink.got) == everything(source)
    assert report.ending == "done"
    size = (tmp_path / "state" / "state.db").stat().st_size
    assert size < 4 * 1024 * 1024


async def test_a_run_gives_up_when_a_dead_sink_keeps_the_journal_full(tmp_path: Path) -> None:
    runs = {"a": [event(number, "a", size=20_000) for number in range(200)]}
    source, dead = ScriptedSource(runs=runs, page=1), CollectingSink(always=Retry("503"))
    changes = {"max_journal_bytes": 1024 * 1024}

    report = await asyncio.wait_for(run_of(source, dead, at=tmp_path, **changes), 5)
    sink = CollectingSink()
    await run_of(ScriptedSource(runs=runs), sink, at=tmp_path)

    assert report.ending == "gave up"
    assert by_partition(sink.got) == everything(source)


async def test_a_checkpoint_is_not_stored_before_the_events_are_kept(tmp_path: Path) -> None:
    """A full journal holds the events back, and with them the checkpoint."""
    runs = {"a": [event(number, "a", size=20_000) for number in range(200)]}
    source = ScriptedSource(runs=runs, found=[[Partition("a"), Checkpoint("page 2")]], page=1)
    stuck = CollectingSink(pause_s=3600)
    changes = {
        "max_journal_bytes": 1024 * 1024,
        "shutdown_timeout": timedelta(milliseconds=100),
    }
    pipeline = Pipeline(setup(source, stuck, at=tmp_path, **changes))
    running = asyncio.create_task(pipeline.run())
    await until(lambda: stuck.writing)
    await asyncio.sleep(0.1)
    pipeline.stop()
    await running

    again, sink = ScriptedSource(runs=runs, found=source.found), CollectingSink()
    await run_of(again, sink, at=tmp_path)

    assert again.asked == [None]
    assert by_partition(sink.got) == everything(source)


async def test_what_a_connector_reports_is_in_the_report(tmp_path: Path) -> None:
    @define(slots=False, kw_only=True)
    class Talking(CollectingSink):
        async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
            ctx.report("event.odd", kind="x")
            return await super().write(delivery, ctx)

    sink = Talking(batch_size=20)

    report = await run_of(source_of(), sink, at=tmp_path)

    assert report.diagnostics == {"sink-1: event.odd": len(sink.deliveries)}


async def test_the_report_can_be_had_again_after_the_end(tmp_path: Path) -> None:
    pipeline = Pipeline(setup(source_of(), CollectingSink(), at=tmp_path))

    report = await pipeline.run()

    assert pipeline.report() == report


async def test_a_source_that_never_ends_needs_following(tmp_path: Path) -> None:
    class Live(ScriptedSource):
        live = True

    with pytest.raises(ConfigError, match="'scripted' never ends by itself; run with --follow"):
        await Pipeline(setup(Live(runs={}), CollectingSink(), at=tmp_path)).run()


async def test_a_sink_that_is_no_longer_in_the_pipeline_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = SinkSetup.of(CollectingSink(), name="old")
    new = SinkSetup.of(CollectingSink(), name="new")
    source = SourceSetup.of(source_of())
    await Pipeline(Setup([source], [old, new], settings(tmp_path))).run()

    await Pipeline(Setup([source], [new], settings(tmp_path))).run()

    assert "sink 'old' is no longer in the pipeline" in caplog.text


async def test_two_sinks_may_want_different_things(tmp_path: Path) -> None:
    runs = {"a": [event(1, "a"), event(2, "a", name="llm_call", kind="llm.completed")]}
    steps, calls = CollectingSink(), CollectingSink()
    sinks = [
        SinkSetup.of(steps, name="steps", only=["step.*"]),
        SinkSetup.of(calls, name="calls", excluded=["step.*"]),
    ]
    source = SourceSetup.of(ScriptedSource(runs=runs))

    report = await Pipeline(Setup([source], sinks, settings(tmp_path))).run()

    assert (names(steps.got), names(calls.got)) == ([("a", "evt-1")], [("a", "evt-2")])
    assert [(each.delivered, each.filtered) for each in report.sinks] == [(1, 1), (1, 1)]


async def test_two_sources_share_a_journal(tmp_path: Path) -> None:
    one, other, sink = source_of(), source_of(account="umbrella"), CollectingSink()
    sources = [SourceSetup.of(one, name="one"), SourceSetup.of(other, name="other")]

    await Pipeline(evolve(setup(one, sink, at=tmp_path), sources=sources)).run()

    accounts = [each.origin.account for each in sink.got if each.origin]
    assert (accounts.count("acme"), accounts.count("umbrella")) == (60, 60)


def test_a_file_holds_every_event_once_and_in_order_however_often_it_was_killed(
    tmp_path: Path,
) -> None:
    kills = 40
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("carry_and_kill.py")), tmp_path, str(kills)],
        env={"PYTHONPATH": str(TESTS)},
        check=True,
        capture_output=True,
    )
    killed, lines_by_then = map(int, done.stdout.split())

    lines = (tmp_path / "out.jsonl").read_bytes().split(b"\n")

    numbers: dict[str, list[int]] = {}
    for line in lines[:-1]:
        found = json.loads(line)
        numbers.setdefault(found["of"], []).append(found["n"])
    assert killed >= 20
    assert 0 < lines_by_then < 20_000
    assert lines[-1] == b""
    assert numbers == {f"run-{n}": list(range(1, 801)) for n in range(25)}
