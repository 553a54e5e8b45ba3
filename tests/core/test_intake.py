import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve

from core.doubles import ScriptedSource, by_partition, event, events, names, settings
from levada import (
    Batch,
    Checkpoint,
    Fatal,
    Gone,
    Json,
    Partition,
    PluginError,
    Rejected,
    Retry,
    Source,
    SourceContext,
    SourceError,
)
from levada.host import Host
from levada.intake import Intake
from levada.journal import Journal, SourceState
from levada.setup import SourceSetup
from levada.state import Kept, Stage, Tracked

MIB = 1024 * 1024

Start = Callable[[Source], Awaitable[Intake]]


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with Journal(settings(tmp_path, concurrency=3)) as journal:
        yield journal


@pytest.fixture
def start(journal: Journal) -> Start:
    """Return a function that makes an intake of a source into the journal."""

    async def make(source: Source) -> Intake:
        return intake(source, await state_of(source, journal), journal)

    return make


async def state_of(source: Source, journal: Journal) -> SourceState:
    return await journal.source(SourceSetup.of(source), accept_identity_change=False)


def intake(source: Source, state: "SourceState | Slow", journal: Journal) -> Intake:
    return Intake(SourceSetup.of(source), state, Host(journal.settings))


def kept(journal: Journal) -> dict[str, list[str]]:
    return by_partition(journal.events_between(1, journal.last_seq))


def ids(first: int, last: int) -> list[str]:
    return [each.id for each in events(first, last)]


class Slow:
    """A state whose writes become durable when the test says so."""

    def __init__(self, state: SourceState) -> None:
        self._state = state
        self.gate = asyncio.Event()
        self.made: list[str] = []

    @property
    def position(self) -> Json:
        return self._state.position

    def tracked(self, key: str) -> Tracked | None:
        return self._state.tracked(key)

    def unfinished(self) -> Mapping[str, Tracked]:
        return self._state.unfinished()

    def known(self, key: str, ids: Iterable[str]) -> set[str]:
        return self._state.known(key, ids)

    def count(self, key: str) -> int:
        return self._state.count(key)

    async def room(self, batch: Batch) -> None:
        await self._state.room(batch)

    def keep(self, partition: Partition, batch: Batch) -> Awaitable[Kept]:
        return self._later("keep", lambda: self._state.keep(partition, batch))

    def settle(self, partition: Partition, stage: Stage) -> Awaitable[object]:
        return self._later("settle", lambda: self._state.settle(partition, stage))

    def checkpoint(self, checkpoint: Checkpoint) -> Awaitable[object]:
        return self._later("checkpoint", lambda: self._state.checkpoint(checkpoint))

    async def _later(self, what: str, write: Callable[[], Awaitable[Any]]) -> Any:
        self.made.append(what)
        await self.gate.wait()
        return await write()


async def test_everything_new_is_kept_run_by_run(start: Start, journal: Journal) -> None:
    source = ScriptedSource(runs={"a": events(1, 25, "a"), "b": events(1, 3, "b")})
    intake = await start(source)

    await intake.run()

    assert kept(journal) == {"a": ids(1, 25), "b": ids(1, 3)}
    assert (intake.counts.partitions, intake.counts.reads, intake.counts.events) == (2, 2, 28)


async def test_a_source_is_opened_once_and_closed_once(start: Start) -> None:
    source = ScriptedSource()
    intake = await start(source)

    await intake.run()
    await intake.run()
    await intake.close()

    assert (source.opened, source.closed) == (1, 1)


async def test_a_source_that_was_never_opened_is_not_closed(start: Start) -> None:
    source = ScriptedSource()
    intake = await start(source)

    await intake.close()

    assert source.closed == 0


async def test_a_run_whose_version_did_not_change_is_not_read(start: Start) -> None:
    source = ScriptedSource(runs={"a": events(1, 3, "a"), "b": events(1, 3, "b")})
    intake = await start(source)
    await intake.run()

    source.runs["b"].append(event(4, "b"))
    await intake.run()

    assert source.positions == [("a", None), ("b", None), ("b", 3)]


async def test_a_run_without_a_version_is_always_read(start: Start) -> None:
    source = ScriptedSource(runs={"a": events(1, 3, "a")}, found=[[Partition("a")]])
    intake = await start(source)

    await intake.run()
    await intake.run()

    assert source.positions == [("a", None), ("a", 3)]


async def test_a_run_found_twice_in_a_pass_is_read_once(start: Start) -> None:
    source = ScriptedSource(runs={"a": events(1, 3, "a")}, found=[[Partition("a"), Partition("a")]])
    intake = await start(source)

    await intake.run()

    assert source.positions == [("a", None)]


async def test_a_run_that_changed_lately_is_read_once_more_after_the_linger(start: Start) -> None:
    run = Partition("a", version=1, final=True, changed=datetime.now(UTC))
    source = ScriptedSource(runs={"a": events(1, 3, "a")}, found=[[run]], linger=timedelta(hours=1))
    intake = await start(source)
    await intake.run()
    await intake.run()

    source.linger = timedelta(0)  # as if an hour had passed
    await intake.run()
    await intake.run()

    assert source.positions == [("a", None), ("a", 3)]


async def test_a_lingering_run_is_read_though_discovery_does_not_show_it(start: Start) -> None:
    run = Partition("a", version=1, final=True, changed=datetime.now(UTC))
    source = ScriptedSource(
        runs={"a": events(1, 3, "a")}, found=[[run], []], linger=timedelta(hours=1)
    )
    intake = await start(source)
    await intake.run()

    source.linger = timedelta(0)
    source.runs["a"].append(event(4, "a"))
    await intake.run()
    await intake.run()

    assert source.positions == [("a", None), ("a", 3)]


async def test_an_open_run_is_read_though_discovery_does_not_show_it(start: Start) -> None:
    source = ScriptedSource(runs={"a": events(1, 3, "a")}, found=[[Partition("a", version=1)], []])
    intake = await start(source)
    await intake.run()

    source.runs["a"] += events(4, 5, "a")
    await intake.run()

    assert source.positions == [("a", None), ("a", 3)]


def gone_run(linger: timedelta) -> ScriptedSource:
    """Return a source whose run "a" is not there once, or for as long as it is asked for."""
    return ScriptedSource(
        runs={"a": events(1, 30, "a"), "b": events(1, 30, "b")},
        found=[[Partition("a", version=1), Partition("b", version=1, final=True)]],
        failures={"a": [Gone("404")] * 2},
        linger=linger,
    )


async def test_a_run_that_is_gone_waits_and_the_others_go_on(
    start: Start, journal: Journal
) -> None:
    source = gone_run(timedelta(hours=1))
    intake = await start(source)

    await intake.run()
    await intake.run()

    assert kept(journal) == {"a": ids(1, 10), "b": ids(1, 30)}
    assert source.positions == [("a", None), ("b", None)]


async def test_a_run_that_is_still_gone_after_the_linger_is_closed(start: Start) -> None:
    source = gone_run(timedelta(hours=1))
    intake = await start(source)
    await intake.run()

    source.linger = timedelta(0)
    await intake.run()
    await intake.run()

    assert source.positions == [("a", None), ("b", None), ("a", 10)]


async def test_a_run_that_was_gone_for_a_moment_is_read_to_its_end(
    start: Start, journal: Journal
) -> None:
    source = gone_run(timedelta(hours=1))
    source.failures["a"].pop()
    intake = await start(source)
    await intake.run()

    source.linger = timedelta(0)
    await intake.run()

    assert kept(journal)["a"] == ids(1, 30)


async def test_a_run_that_a_list_still_shows_is_read_in_every_pass(
    start: Start, journal: Journal
) -> None:
    source = gone_run(timedelta(0))
    source.failures["a"] = [Gone("404", listed=True)] * 4
    intake = await start(source)

    for _ in range(6):
        await intake.run()

    assert kept(journal)["a"] == ids(1, 30)
    assert [key for key, _ in source.positions if key == "a"] == ["a"] * 5


async def test_a_run_that_changed_while_it_was_gone_gets_another_look(
    start: Start, journal: Journal
) -> None:
    source = gone_run(timedelta(hours=1))
    b = Partition("b", version=1, final=True)
    shown = [Partition("a", version=n, final=n > 1) for n in (1, 2)]
    source.found = [[shown[0], b], [shown[1], b], [b]]
    intake = await start(source)
    await intake.run()
    await intake.run()

    source.linger = timedelta(0)
    await intake.run()

    assert kept(journal)["a"] == ids(1, 30)


async def test_a_hinted_run_is_read_whatever_its_version(start: Start, journal: Journal) -> None:
    run = Partition("a", version=1, final=True)
    source = ScriptedSource(runs={"a": events(1, 3, "a")}, found=[[run]])
    intake = await start(source)
    await intake.run()

    source.runs["a"].append(event(4, "a"))
    intake.hint("a")
    await intake.run()
    await intake.run()

    assert kept(journal) == {"a": ids(1, 4)}
    assert source.positions == [("a", None), ("a", 3)]


async def test_a_hinted_run_that_discovery_does_not_show_is_read(
    start: Start, journal: Journal
) -> None:
    source = ScriptedSource(runs={"a": events(1, 3, "a")}, found=[[]])
    intake = await start(source)

    intake.hint("a")
    await intake.run()

    assert kept(journal) == {"a": ids(1, 3)}


async def test_a_hint_outlives_a_pass_that_fails(start: Start, journal: Journal) -> None:
    source = ScriptedSource(runs={"a": events(1, 3, "a")}, found=[[Retry("503")], []])
    intake = await start(source)
    intake.hint("a")
    with pytest.raises(SourceError):
        await intake.run()

    await intake.run()

    assert kept(journal) == {"a": ids(1, 3)}


async def test_what_changed_longest_ago_is_read_first(start: Start) -> None:
    now = datetime.now(UTC)
    runs = [Partition(str(n), changed=now - timedelta(days=n), final=True) for n in (3, 1, 4, 2)]
    source = ScriptedSource(
        runs={run.key: [event(1, run.key)] for run in runs}, found=[[Partition("0"), *runs]]
    )
    source.runs["0"] = [event(1, "0")]
    intake = await start(source)
    intake._settings = evolve(intake._settings, concurrency=1)

    await intake.run()

    assert [key for key, _ in source.positions] == ["0", "4", "3", "2", "1"]


async def test_what_a_read_learnt_replaces_what_discovery_showed(start: Start) -> None:
    @define(slots=False, kw_only=True)
    class Learning(ScriptedSource):
        async def read(
            self, partition: Partition, position: Json, ctx: SourceContext
        ) -> AsyncIterator[Batch]:
            self.positions.append((partition.key, position))
            learnt = evolve(partition, version=2, final=True, memo={"seen": True})
            yield Batch(events(1, 2, "a"), position=2, partition=learnt)

    source = Learning(found=[[Partition("a")], [Partition("a", version=2)]])
    intake = await start(source)

    await intake.run()
    await intake.run()

    assert source.positions == [("a", None)]


async def test_a_batch_about_another_partition_breaks_the_contract(start: Start) -> None:
    @define(slots=False, kw_only=True)
    class Confused(ScriptedSource):
        async def read(
            self, partition: Partition, position: Json, ctx: SourceContext
        ) -> AsyncIterator[Batch]:
            yield Batch((), partition=Partition("b"))

    intake = await start(Confused(found=[[Partition("a")]]))

    with pytest.raises(PluginError, match="a batch about another partition than 'a'"):
        await intake.run()


async def test_a_source_that_could_not_be_opened_is_opened_again(start: Start) -> None:
    @define(slots=False, kw_only=True)
    class Slow(ScriptedSource):
        async def open(self, ctx: SourceContext) -> None:
            await super().open(ctx)
            if self.opened == 1:
                raise Retry("not yet")

    source = Slow(runs={"a": events(1, 1, "a")})
    intake = await start(source)
    with pytest.raises(SourceError, match="not yet"):
        await intake.run()

    await intake.run()

    assert source.opened == 2
    assert source.positions == [("a", None)]


async def test_a_fatal_read_stops_the_source(start: Start) -> None:
    source = ScriptedSource(
        runs={"a": events(1, 3, "a")}, failures={"a": [Fatal("401: check the key")]}
    )
    intake = await start(source)

    with pytest.raises(SourceError, match="source 'scripted': 401: check the key") as caught:
        await intake.run()

    assert not caught.value.retryable


async def test_a_run_that_fails_for_a_moment_is_read_in_the_same_pass(
    start: Start, journal: Journal
) -> None:
    source = ScriptedSource(runs={"a": events(1, 30, "a")}, failures={"a": [Retry("503")]})
    intake = await start(source)

    await intake.run()

    assert kept(journal) == {"a": ids(1, 30)}
    assert source.positions == [("a", None), ("a", 10)]
    assert intake.failures.reasons == {}


async def test_a_run_that_fails_because_of_the_whole_vendor_gets_no_second_chance_in_a_pass(
    start: Start, journal: Journal
) -> None:
    failure = Retry("429, 87 times in 90 s", everywhere=True)
    source = ScriptedSource(runs={"a": events(1, 30, "a")}, failures={"a": [failure]})
    intake = await start(source)

    await intake.run()

    assert intake.failures.reasons == {"a": "429, 87 times in 90 s"}
    await intake.run()
    assert kept(journal) == {"a": ids(1, 30)}


async def test_what_a_failed_read_yielded_stands_and_the_rest_follows(
    start: Start, journal: Journal
) -> None:
    source = ScriptedSource(runs={"a": events(1, 60, "a")}, failures={"a": [Retry("503")] * 3})
    intake = await start(source)
    await intake.run()
    assert kept(journal) == {"a": ids(1, 30)}
    assert intake.failures.reasons == {"a": "503"}

    await intake.run()

    assert kept(journal) == {"a": ids(1, 60)}
    assert source.positions == [("a", None), ("a", 10), ("a", 20), ("a", 30)]
    assert intake.failures.reasons == {}


async def test_a_source_all_of_whose_reads_fail_is_given_up(start: Start) -> None:
    runs = {f"run-{number}": events(1, 20, f"run-{number}") for number in range(200)}
    source = ScriptedSource(runs=runs, failures={key: [Retry("503")] * 9 for key in runs})
    intake = await start(source)

    with pytest.raises(SourceError, match="503") as caught:
        await intake.run()

    assert caught.value.retryable
    assert len(source.positions) < 60


@pytest.mark.parametrize("failure", [Retry("503"), ValueError("a bug")], ids=["retry", "crash"])
async def test_a_failing_run_is_tried_again_though_discovery_does_not_show_it(
    start: Start, journal: Journal, failure: Exception
) -> None:
    source = ScriptedSource(
        runs={"a": events(1, 30, "a"), "b": events(1, 30, "b")},
        found=[[Partition("a", version=1, final=True), Partition("b", version=1)], []],
        failures={"a": [failure]},
    )
    intake = await start(source)

    await intake.run()
    await intake.run()

    assert kept(journal) == {"a": ids(1, 30), "b": ids(1, 30)}


async def test_a_failing_run_does_not_hold_the_checkpoint_back(
    start: Start, journal: Journal
) -> None:
    source = ScriptedSource(
        runs={"a": events(1, 30, "a")},
        found=[[Partition("a", version=1), Checkpoint("page 2")]],
        failures={"a": [Retry("503")]},
    )
    intake = await start(source)

    await intake.run()
    await intake.run()

    assert source.asked == [None, "page 2"]


async def test_a_closed_run_that_fails_when_it_comes_back_is_tried_again(
    start: Start, journal: Journal
) -> None:
    first, second = (Partition("a", version=version, final=True) for version in (1, 2))
    source = ScriptedSource(runs={"a": events(1, 3, "a")}, found=[[first], [second], []])
    intake = await start(source)
    await intake.run()

    source.runs["a"] += events(4, 30, "a")
    source.failures["a"] = [Retry("503")]
    await intake.run()
    await intake.run()

    assert kept(journal) == {"a": ids(1, 30)}


async def test_a_checkpoint_waits_until_the_reads_before_it_are_durable(journal: Journal) -> None:
    source = ScriptedSource(
        runs={"a": events(1, 30, "a")}, found=[[Partition("a"), Checkpoint("page 2")]]
    )
    slow = Slow(await state_of(source, journal))
    running = asyncio.create_task(intake(source, slow, journal).run())
    await asyncio.sleep(0.05)
    assert slow.made == ["keep", "keep", "keep", "settle"]

    slow.gate.set()
    await running

    assert slow.made[4:] == ["checkpoint"]
    assert slow.position == "page 2"


async def test_a_pass_ends_only_when_everything_is_durable(journal: Journal) -> None:
    source = ScriptedSource(runs={"a": events(1, 30, "a")})
    slow = Slow(await state_of(source, journal))
    running = asyncio.create_task(intake(source, slow, journal).run())

    done, _ = await asyncio.wait([running], timeout=0.05)
    assert not done
    slow.gate.set()
    await running

    assert kept(journal) == {"a": ids(1, 30)}


async def test_a_source_cannot_run_far_ahead_of_the_journal(journal: Journal) -> None:
    source = ScriptedSource(runs={"a": events(1, 500, "a")}, page=1)
    slow = Slow(await state_of(source, journal))
    running = asyncio.create_task(intake(source, slow, journal).run())

    await asyncio.wait([running], timeout=0.2)
    ahead = len(slow.made)
    slow.gate.set()
    await running

    assert ahead == 64


async def test_no_more_runs_are_read_at_once_than_allowed(start: Start, journal: Journal) -> None:
    source = ScriptedSource(runs={key: events(1, 30, key) for key in "abcdefghij"})
    intake = await start(source)

    await intake.run()

    assert source.most_reading == journal.settings.concurrency == 3


async def test_what_cannot_be_an_event_is_counted(start: Start) -> None:
    @define(slots=False, kw_only=True)
    class Odd(ScriptedSource):
        async def _batches(self, key: str, start: int) -> AsyncIterator[Batch]:
            rejected = [Rejected(b"{", reason="not JSON")]
            yield Batch([event(1, key), event(2, key, size=MIB + 1)], rejected=rejected)

    intake = await start(Odd(runs={"a": []}))

    await intake.run()

    report = intake.report()
    assert (report.events, report.rejected) == (1, 2)


async def test_a_batch_is_durable_only_after_its_commit(journal: Journal) -> None:
    seen: list[int] = []

    @define(slots=False, kw_only=True)
    class Answering(ScriptedSource):
        async def _batches(self, key: str, start: int) -> AsyncIterator[Batch]:
            for each in self.runs[key]:
                batch = Batch([each])
                yield batch
                await batch.durable()
                seen.append(len(journal.events_after(0, 100, 10_000)))

    source = Answering(runs={"a": events(1, 3, "a")})
    state = await state_of(source, journal)

    await intake(source, state, journal).run()

    assert seen == [1, 2, 3]


async def test_a_source_that_yields_no_batch_broke_the_contract(start: Start) -> None:
    @define(slots=False, kw_only=True)
    class Broken(ScriptedSource):
        async def _batches(self, key: str, start: int) -> AsyncIterator[Any]:
            yield [event(1)]

    intake = await start(Broken(runs={"a": []}))

    with pytest.raises(PluginError) as caught:
        await intake.run()

    assert str(caught.value) == "plugin 'scripted' yielded list from read(); it must be a Batch"


@pytest.mark.parametrize(
    ("failure", "error", "retryable"),
    [
        (Retry("503 at the list"), SourceError, True),
        (Fatal("401 at the list"), SourceError, False),
        (ValueError("secret"), PluginError, None),
    ],
    ids=["retry", "fatal", "crash"],
)
async def test_a_discovery_that_fails_fails_the_pass(
    start: Start, failure: Exception, error: type[Exception], retryable: object
) -> None:
    intake = await start(ScriptedSource(found=[[failure]]))

    with pytest.raises(error) as caught:
        await intake.run()

    assert getattr(caught.value, "retryable", None) == retryable
    assert "secret" not in str(caught.value)


async def test_a_discovery_that_fails_leaves_the_checkpoint_where_it_was(start: Start) -> None:
    source = ScriptedSource(
        runs={"a": events(1, 3, "a")},
        found=[[Checkpoint(1)], [Partition("a"), Checkpoint(2), Retry("503")], []],
    )
    intake = await start(source)
    await intake.run()
    with pytest.raises(SourceError):
        await intake.run()

    await intake.run()

    assert source.asked == [None, 1, 1]


@pytest.mark.parametrize("failure", [Retry("503 at the list"), Fatal("400 at the list")])
async def test_what_a_discovery_that_fails_has_shown_is_read_all_the_same(
    start: Start, journal: Journal, failure: Exception
) -> None:
    runs = {f"run-{number}": events(1, 3, f"run-{number}") for number in range(30)}
    source = ScriptedSource(runs=runs, found=[[*map(Partition, runs), failure]])
    intake = await start(source)

    with pytest.raises(SourceError, match="at the list"):
        await intake.run()

    assert kept(journal) == {key: ids(1, 3) for key in runs}


async def test_once_discovery_has_failed_a_read_that_fails_too_ends_the_pass(start: Start) -> None:
    runs = {f"run-{number}": events(1, 3, f"run-{number}") for number in range(30)}
    failures: dict[str, list[Exception]] = {key: [Retry("503 at the events")] * 3 for key in runs}
    source = ScriptedSource(
        runs=runs, failures=failures, found=[[*map(Partition, runs), Retry("503 at the list")]]
    )
    intake = await start(source)

    with pytest.raises(SourceError, match="503 at the"):
        await intake.run()

    assert len(source.positions) < len(runs)


async def test_what_reads_add_to_a_checkpoint_before_it_is_stored_is_part_of_it(
    start: Start,
) -> None:
    over: dict[str, Json] = {}

    class Noting(ScriptedSource):
        async def read(
            self, partition: Partition, position: Json, ctx: SourceContext
        ) -> AsyncIterator[Batch]:
            async for batch in super().read(partition, position, ctx):
                yield batch
            over[partition.key] = True

    source = Noting(runs={"a": events(1, 3, "a")}, found=[[Partition("a"), Checkpoint(over)]])
    intake = await start(source)
    await intake.run()

    await intake.run()

    assert source.asked == [None, {"a": True}]


async def test_a_source_knows_what_it_has_read(start: Start) -> None:
    asked: list[object] = []

    @define(slots=False, kw_only=True)
    class Asking(ScriptedSource):
        async def read(
            self, partition: Partition, position: Json, ctx: SourceContext
        ) -> AsyncIterator[Batch]:
            asked.append(
                (
                    await ctx.known("a", ["evt-1", "evt-9"]),
                    ctx.count("a"),
                    list(ctx.open_partitions),
                )
            )
            yield Batch(events(1, 3, "a"))

    intake = await start(Asking(runs={"a": []}, found=[[Partition("a")]]))

    await intake.run()
    await intake.run()

    assert asked == [(set(), 0, []), ({"evt-1"}, 3, ["a"])]


@pytest.mark.parametrize("steps", [*range(40), 60, 80, 120])
async def test_a_pass_can_be_cancelled_at_any_moment(
    start: Start, journal: Journal, steps: int
) -> None:
    runs = {key: events(1, 12, key) for key in "abcde"}
    source = ScriptedSource(runs=runs, page=2)
    interrupted = asyncio.create_task((await start(source)).run())
    for _ in range(steps):
        await asyncio.sleep(0)
    interrupted.cancel()
    await asyncio.gather(interrupted, return_exceptions=True)

    await (await start(source)).run()

    assert kept(journal) == {key: ids(1, 12) for key in "abcde"}


async def test_a_cancelled_pass_can_be_followed_by_another(journal: Journal) -> None:
    source = ScriptedSource(runs={"a": events(1, 30, "a")})
    slow = Slow(await state_of(source, journal))
    intake_ = intake(source, slow, journal)
    waiting = asyncio.create_task(intake_.run())
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    slow.gate.set()
    await asyncio.wait_for(intake_.run(), 2)

    assert kept(journal) == {"a": ids(1, 30)}


async def test_what_cannot_be_stored_is_the_plugins_fault_and_nobody_elses(
    start: Start, journal: Journal
) -> None:
    @define(slots=False, kw_only=True)
    class Odd(ScriptedSource):
        async def _batches(self, key: str, start: int) -> AsyncIterator[Batch]:
            yield Batch([event(1, key)], position=object() if key == "odd" else 1)

    intake = await start(Odd(runs={"odd": [], "good": []}))

    await intake.run()

    assert names(journal.events_after(0, 9, 9999)) == [("good", "evt-1")]
    assert list(intake.failures.reasons) == ["odd"]


async def test_an_event_whose_names_are_no_text_is_rejected_alone(
    start: Start, journal: Journal
) -> None:
    odd = evolve(event(2, "a"), id="\ud800")
    intake = await start(ScriptedSource(runs={"a": [event(1, "a"), odd, event(3, "a")]}))

    await intake.run()

    assert kept(journal) == {"a": ["evt-1", "evt-3"]}
    assert intake.counts.rejected == 1


async def test_an_event_of_several_lines_is_kept_as_one(start: Start, journal: Journal) -> None:
    tall = evolve(event(1, "a"), raw=b'{\r\n  "id": "evt-1"\n}')
    intake = await start(ScriptedSource(runs={"a": [tall]}))

    await intake.run()

    assert journal.read("SELECT raw FROM event") == [(b'{  "id": "evt-1"}',)]


async def test_an_event_keeps_nothing_that_a_terminal_would_act_on(
    start: Start, journal: Journal
) -> None:
    rude = evolve(event(1, "a"), raw='{"x": "é \x7f\x9b\u202e"}'.encode())
    intake = await start(ScriptedSource(runs={"a": [rude]}))

    await intake.run()

    ((raw,),) = journal.read("SELECT raw FROM event")
    assert raw.decode() == r'{"x": "é \u007f\u009b\u202e"}'
