import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from core.doubles import CollectingSink, ScriptedSource, by_partition, event, events, settings
from levada import (
    Batch,
    Closed,
    ConfigError,
    Delivery,
    Disable,
    Event,
    Fatal,
    Json,
    Partition,
    PluginError,
    Reject,
    Retry,
    Sink,
    SinkContext,
    SinkError,
    StateError,
    TooLarge,
)
from levada.drain import Drain
from levada.host import Host
from levada.journal import Journal
from levada.journal.status import status
from levada.setup import SinkSetup, SourceSetup

SOON = timedelta(0)
RIGHT_TIME = time.time


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with Journal(settings(tmp_path)) as journal:
        yield journal


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every back-off of the host's own choosing short."""
    monkeypatch.setattr("levada.brake.backoff", lambda *_, **__: timedelta(milliseconds=1))


async def keep(journal: Journal, *runs: list[Event]) -> None:
    state = await journal.source(SourceSetup.of(ScriptedSource()), accept_identity_change=False)
    for run in runs:
        await state.keep(Partition(run[0].partition), Batch(run))


async def drain_of(journal: Journal, sink: Sink, **options: Any) -> Drain:
    setup = SinkSetup.of(sink, name="archive", **options)
    cursor = await journal.cursor(setup, accept_identity_change=False)
    return Drain(setup, cursor, Host(journal.settings), asyncio.Event())


async def run(
    drain: Drain, until: Callable[[Drain], bool] = lambda drain: drain.caught_up, limit_s: float = 5
) -> None:
    """Open and run a drain until it is finished or *until* is true; then stop it."""
    await drain.open()
    running = asyncio.create_task(drain.run())
    drain.flush()
    async with asyncio.timeout(limit_s):
        while not (until(drain) or drain.finished or running.done()):  # noqa: ASYNC110  # any condition
            await asyncio.sleep(0.001)
    drain.stop()
    await running
    await drain._cursor._journal.prune()  # so that every write before it is durable


async def drained(journal: Journal, sink: Sink, **options: Any) -> Drain:
    drain = await drain_of(journal, sink, **options)
    await run(drain)
    return drain


def ids(first: int, last: int) -> list[str]:
    return [each.id for each in events(first, last)]


def dead(journal: Journal) -> list[tuple[str, str, int]]:
    rows = journal.read("SELECT event, reason, attempts FROM dead WHERE sink != '' ORDER BY id")
    return [tuple(row) for row in rows]


def seqs(delivery: Delivery) -> list[int]:
    return [each.seq or 0 for each in delivery.events]


async def test_a_sink_gets_everything_in_order(journal: Journal) -> None:
    await keep(journal, events(1, 30, "a"), events(1, 3, "b"))
    sink = CollectingSink(batch_size=7)

    drain = await drained(journal, sink)

    assert [each.seq for each in sink.got] == list(range(1, 34))
    assert drain.report().delivered == 33
    assert drain.report().pending == 0


async def test_a_sink_is_resumed_with_its_last_receipt(journal: Journal) -> None:
    await keep(journal, events(1, 4))
    await drained(journal, CollectingSink(receipts=True))
    await keep(journal, events(5, 6))
    again = CollectingSink(receipts=True)

    await drained(journal, again)

    assert again.resumed == [4]
    assert [each.id for each in again.got] == ids(5, 6)


async def test_a_sink_with_receipts_gets_nothing_more_before_the_last_one_is_durable(
    journal: Journal,
) -> None:
    stored: list[Json] = []

    @define(slots=False, kw_only=True)
    class Watching(CollectingSink):
        async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
            stored.append(journal.read("SELECT receipt FROM sink")[0][0])
            return await super().write(delivery, ctx)

    await keep(journal, events(1, 3))

    await drained(journal, Watching(receipts=True, batch_size=1))

    assert stored == [None, "1", "2"]


async def test_a_partition_is_never_in_two_lanes_and_keeps_its_order(journal: Journal) -> None:
    runs = {key: events(1, 40, key) for key in "abcdefgh"}
    await keep(journal, *runs.values())
    sink = CollectingSink(width=4, batch_size=3, pause_s=0.001)

    await drained(journal, sink)

    assert by_partition(sink.got) == by_partition(each for run in runs.values() for each in run)
    assert (sink.clashes, sink.most_writing) == (0, 4)


async def test_the_order_holds_though_deliveries_fail_and_split(
    journal: Journal, impatient: None
) -> None:
    @define(slots=False, kw_only=True)
    class Moody(CollectingSink):
        attempts: int = 0

        async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
            self.attempts += 1
            if self.attempts % 3 == 0 and len(delivery.events) > 1:
                raise TooLarge("413")
            if self.attempts % 5 == 0:
                raise Retry("503", after=SOON if self.attempts % 2 else None)
            return await super().write(delivery, ctx)

    runs = {key: events(1, 40, key) for key in "abcdefgh"}
    await keep(journal, *runs.values())
    sink = Moody(width=4, batch_size=4, pause_s=0.001)

    await drained(journal, sink)

    assert by_partition(sink.got) == by_partition(each for run in runs.values() for each in run)
    assert sink.clashes == 0


async def test_lanes_do_not_wait_for_a_partition_that_is_put_off(journal: Journal) -> None:
    await keep(journal, events(1, 3, "a"), events(1, 3, "b"))
    later = Retry("503", after=timedelta(hours=1))
    sink = CollectingSink(width=2, batch_size=1, script=[later])
    drain = await drain_of(journal, sink)

    await run(drain, lambda drain: len(sink.got) == 3)

    assert by_partition(sink.got) == {"b": ids(1, 3)}
    assert drain.report().pending == 3


async def test_a_failed_delivery_is_tried_again_with_the_same_members(
    journal: Journal, impatient: None
) -> None:
    await keep(journal, events(1, 3))
    sink = CollectingSink(batch_size=2, script=[Retry("503"), Retry("503")])

    await drained(journal, sink)

    attempts = [(seqs(each), each.attempt) for each in sink.deliveries]
    assert attempts == [([1, 2], 1), ([1, 2], 2), ([1, 2], 3), ([3], 1)]
    assert len({each.id for each in sink.deliveries}) == 2


async def test_a_sink_that_fails_says_so_until_it_works_again(
    journal: Journal, impatient: None
) -> None:
    await keep(journal, events(1, 3))
    sink = CollectingSink(script=[Retry("503 from https://x.test")] * 3)
    drain = await drain_of(journal, sink)

    await run(drain, lambda drain: drain.condition == "failing")
    failing = drain.report()
    again = await drained(journal, CollectingSink())

    assert (failing.condition, failing.reason) == ("failing", "503 from https://x.test")
    assert again.report().condition == "active"


async def test_a_failing_sink_is_held_back_longer_each_time(journal: Journal) -> None:
    await keep(journal, events(1, 3))
    drain = await drain_of(journal, CollectingSink(always=Retry("503")))

    with pytest.raises(TimeoutError):
        await run(drain, limit_s=0.6)

    assert drain.tally.attempts < 30  # without back-off it would be thousands


async def test_a_wait_that_the_other_side_asked_for_survives_a_restart(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        await keep(journal, events(1, 3))
        sink = CollectingSink(script=[Retry("429", after=timedelta(hours=1))])
        await run(await drain_of(journal, sink), lambda drain: drain.condition == "failing")

    async with Journal(settings(tmp_path)) as journal:
        again = CollectingSink()
        drain = await drain_of(journal, again)
        await run(drain, lambda drain: not drain.caught_up)

        assert again.deliveries == []
        assert drain.report().pending == 3
        ((due, attempts),) = journal.read("SELECT due, attempts FROM delivery")
        assert 3590 < due - time.time() <= 3600
        assert attempts == 1


def set_clock(monkeypatch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    """Have the time of day be *ahead* of what it is; the monotonic clock goes on as it was."""
    monkeypatch.setattr("time.time", lambda: RIGHT_TIME() + ahead.total_seconds())


@pytest.mark.parametrize("everywhere", [False, True], ids=["one delivery", "the whole sink"])
async def test_a_clock_that_is_set_back_between_two_runs_makes_no_wait_longer_than_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, everywhere: bool
) -> None:
    with monkeypatch.context() as patch:
        set_clock(patch, timedelta(days=365))
        async with Journal(settings(tmp_path)) as journal:
            await keep(journal, events(1, 3))
            wait = timedelta(seconds=1)
            sink = CollectingSink(script=[Retry("503", after=wait, everywhere=everywhere)])
            await run(await drain_of(journal, sink), lambda drain: drain.condition == "failing")

    shown = status(tmp_path / "state", max_bytes=1)
    async with Journal(settings(tmp_path)) as journal:
        drain = await drain_of(journal, CollectingSink())
        left_s = drain.next_attempt_s()
        await run(drain)

    assert shown
    assert (shown.sinks[0].outstanding[0].due or 0.0) <= time.time() + 1
    assert 0.5 < left_s <= 1
    assert drain.tally.delivered == 3


async def test_a_long_wait_outlasts_any_number_of_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Journal(settings(tmp_path)) as journal:
        await keep(journal, events(1, 3))
        sink = CollectingSink(script=[Retry("429", after=timedelta(hours=2), everywhere=True)])
        await run(await drain_of(journal, sink), lambda drain: drain.condition == "failing")

    left_s = []
    for hours in (1, -3, -2, -1):  # after one hour it is set back by four, and goes on
        set_clock(monkeypatch, timedelta(hours=hours))
        async with Journal(settings(tmp_path)) as journal:
            drain = await drain_of(journal, CollectingSink())
            left_s.append(drain.next_attempt_s())

    assert left_s == pytest.approx([3600, 7200, 3600, 0], abs=5)


async def test_a_clock_that_is_set_back_in_a_run_holds_nothing_up(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(journal, events(1, 3))
    sink = CollectingSink(script=[Retry("503", after=timedelta(seconds=0.3))])
    drain = await drain_of(journal, sink)

    def failed(drain: Drain) -> bool:
        if drain.condition == "failing":
            set_clock(monkeypatch, timedelta(days=-365))
        return drain.caught_up

    await run(drain, failed)

    assert drain.tally.delivered == 3


async def test_attempts_are_counted_over_restarts(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        await keep(journal, events(1, 3))
        sink = CollectingSink(script=[Retry("503", after=timedelta(milliseconds=1))])
        await run(await drain_of(journal, sink), lambda drain: drain.condition == "failing")

    async with Journal(settings(tmp_path)) as journal:
        again = CollectingSink()
        await drained(journal, again)

    assert [each.attempt for each in again.deliveries] == [2]


async def test_a_wait_for_one_delivery_does_not_hold_other_partitions(journal: Journal) -> None:
    await keep(journal, events(1, 1, "a"), events(1, 1, "b"))
    sink = CollectingSink(width=2, batch_size=1, script=[Retry("x", after=timedelta(hours=1))])
    drain = await drain_of(journal, sink)

    await run(drain, lambda drain: bool(sink.got))

    assert by_partition(sink.got) == {"b": ids(1, 1)}


async def test_a_wait_for_everything_holds_the_whole_sink(journal: Journal) -> None:
    await keep(journal, events(1, 1, "a"), events(1, 1, "b"), events(1, 1, "c"))
    everywhere = Retry("429", after=timedelta(hours=1), everywhere=True)
    sink = CollectingSink(width=2, batch_size=1, script=[everywhere, everywhere])
    drain = await drain_of(journal, sink)

    with pytest.raises(TimeoutError):
        await run(drain, limit_s=0.2)

    assert sink.got == []
    assert len(sink.deliveries) == 2


async def test_a_success_in_another_lane_does_not_shorten_the_wait(journal: Journal) -> None:
    @define(slots=False, kw_only=True)
    class Limited(CollectingSink):
        async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
            if delivery.events[0].partition == "a":
                raise Retry("429", after=timedelta(hours=1), everywhere=True)
            await asyncio.sleep(0.02)
            return await super().write(delivery, ctx)

    await keep(journal, events(1, 3, "a"), events(1, 3, "b"))
    sink = Limited(width=2, batch_size=1)
    drain = await drain_of(journal, sink)

    with pytest.raises(TimeoutError):
        await run(drain, limit_s=0.2)

    assert [each.id for each in sink.got] == ["evt-1"]


async def test_rejected_events_are_dead_and_the_others_delivered(journal: Journal) -> None:
    await keep(journal, events(1, 4))
    reject = Reject({("run-1", "evt-2"): "422: no such field"}, receipt="r1")
    drain = await drained(journal, CollectingSink(script=[reject]))

    report = drain.report()

    assert (report.delivered, report.dead, report.pending) == (3, 1, 0)
    assert dead(journal) == [("evt-2", "422: no such field", 1)]
    assert journal.read("SELECT receipt FROM sink") == [('"r1"',)]


async def test_a_delivery_that_is_too_large_is_split_until_it_fits(journal: Journal) -> None:
    @define(slots=False, kw_only=True)
    class Narrow(CollectingSink):
        async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
            self.always = TooLarge("413") if len(delivery.events) > 2 else None
            return await super().write(delivery, ctx)

    await keep(journal, events(1, 8))
    sink = Narrow()

    drain = await drained(journal, sink)

    assert [each.id for each in sink.got] == ids(1, 8)
    assert [len(each.events) for each in sink.deliveries] == [8, 4, 2, 2, 4, 2, 2]
    assert drain.report().delivered == 8


async def test_a_single_event_that_is_too_large_is_dead(journal: Journal) -> None:
    @define(slots=False, kw_only=True)
    class Picky(CollectingSink):
        async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
            large = any(each.id == "evt-3" for each in delivery.events)
            self.always = TooLarge("413 from https://x.test") if large else None
            return await super().write(delivery, ctx)

    await keep(journal, events(1, 4))
    sink = Picky()

    drain = await drained(journal, sink)

    assert [each.id for each in sink.got] == ["evt-1", "evt-2", "evt-4"]
    assert dead(journal) == [("evt-3", "413 from https://x.test", 1)]
    assert (drain.report().delivered, drain.report().dead) == (3, 1)


async def test_a_disabled_sink_gets_nothing_more_now_or_later(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        await keep(journal, events(1, 4))
        sink = CollectingSink(batch_size=1, script=[None, Disable("410 Gone")])
        first = await drained(journal, sink)

    async with Journal(settings(tmp_path)) as journal:
        again = CollectingSink(batch_size=1)
        second = await drained(journal, again)

        assert (first.condition, second.condition) == ("disabled", "disabled")
        assert second.reason == "410 Gone"
        assert (len(sink.deliveries), again.resumed, again.deliveries) == (2, [], [])
        assert second.report().pending == 3


async def test_a_closed_sink_keeps_what_it_wrote(journal: Journal) -> None:
    await keep(journal, events(1, 5))
    drain = await drained(journal, CollectingSink(script=[Closed("the pipe", written=2)]))

    report = drain.report()

    assert (report.condition, report.error) == ("closed", None)
    assert (report.delivered, report.pending) == (2, 3)


async def test_a_closed_sink_goes_on_with_the_next_event_another_time(journal: Journal) -> None:
    await keep(journal, events(1, 5))
    await drained(journal, CollectingSink(script=[Closed("the pipe", written=2)]))
    again = CollectingSink()

    await drained(journal, again)

    assert [each.id for each in again.got] == ids(3, 5)


async def test_a_fatal_write_stops_the_sink_and_keeps_its_events(journal: Journal) -> None:
    await keep(journal, events(1, 5))
    sink = CollectingSink(script=[Fatal("the disk failed")])

    drain = await drained(journal, sink)

    assert isinstance(drain.error, SinkError)
    assert str(drain.error) == "sink 'archive': the disk failed"
    assert (drain.condition, drain.report().pending, len(sink.deliveries)) == ("stopped", 5, 1)


@pytest.mark.parametrize("failure", [Fatal("the disk failed"), Retry("not now")])
async def test_what_is_planned_while_a_write_fails_does_not_overtake_it(
    journal: Journal, failure: Exception
) -> None:
    @define(slots=False)
    class Failing(CollectingSink):
        async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
            await failing.wait()
            return await super().write(delivery, ctx)

    failing = asyncio.Event()
    await keep(journal, events(1, 2))
    sink = Failing(always=failure)
    drain = await drain_of(journal, sink)
    await drain.open()
    running = asyncio.create_task(drain.run())
    while not drain.writing:  # noqa: ASYNC110  # there is nothing to wait for
        await asyncio.sleep(0)
    await keep(journal, events(3, 4))
    drain.flush()

    failing.set()
    await asyncio.sleep(0.1)
    drain.stop()
    await running

    attempts = [[each.id for each in attempt.events] for attempt in sink.deliveries]
    assert attempts == [ids(1, 2)] * len(attempts)  # a back-off may be very short


@pytest.mark.parametrize(
    ("end", "condition"),
    [
        (Fatal("the disk failed"), "stopped"),
        (Disable("410 Gone"), "disabled"),
        (Closed("the pipe"), "closed"),
    ],
    ids=["fatal", "disable", "closed"],
)
@pytest.mark.parametrize("other", [None, Retry("503")], ids=["works", "fails"])
async def test_what_another_lane_still_does_cannot_bring_a_sink_back(
    journal: Journal, end: Exception, condition: str, other: Exception | None
) -> None:
    @define(slots=False, kw_only=True)
    class Uneven(CollectingSink):
        async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
            if delivery.events[0].partition == "a":
                raise end
            await asyncio.sleep(0.02)
            return await super().write(delivery, ctx)

    await keep(journal, events(1, 3, "a"), events(1, 3, "b"))
    sink = Uneven(width=2, batch_size=1, script=[other])

    drain = await drained(journal, sink)

    assert drain.condition == condition
    assert drain.reason.endswith(str(end))
    assert len(sink.deliveries) == 1


async def test_a_plugin_that_crashes_is_tried_again(journal: Journal, impatient: None) -> None:
    await keep(journal, events(1, 3))
    sink = CollectingSink(script=[ValueError("a bug")] * 4)

    drain = await drained(journal, sink)

    assert [each.id for each in sink.got] == ids(1, 3)
    assert drain.condition == "active"


async def test_a_plugin_that_crashes_five_times_in_a_row_is_broken(
    journal: Journal, impatient: None
) -> None:
    await keep(journal, events(1, 3))
    sink = CollectingSink(always=ValueError("a secret"))

    drain = await drained(journal, sink)

    assert isinstance(drain.error, PluginError)
    assert str(drain.error) == "plugin 'collecting' raised ValueError from write()"
    assert (len(sink.deliveries), drain.report().pending) == (5, 3)


async def test_a_sink_gets_only_what_it_wants(journal: Journal) -> None:
    found = [event(1), event(2, name="llm_call", kind="llm.completed"), event(3, kind=None)]
    await keep(journal, found)
    sink = CollectingSink()

    drain = await drained(journal, sink, only=["step*"], excluded=["step.*"])

    report = drain.report()
    assert [each.id for each in sink.got] == ["evt-3"]
    assert (report.delivered, report.filtered, report.pending) == (1, 2, 0)


async def test_a_sink_that_is_not_there_yet_is_opened_later(
    journal: Journal, impatient: None
) -> None:
    await keep(journal, events(1, 3))
    sink = CollectingSink(opening=[Retry("connection refused")] * 2)

    drain = await drained(journal, sink)

    assert [each.id for each in sink.got] == ids(1, 3)
    assert drain.condition == "active"


async def test_a_sink_that_can_never_be_opened_is_wrongly_configured(journal: Journal) -> None:
    drain = await drain_of(journal, CollectingSink(opening=[Fatal("no such folder")]))

    with pytest.raises(ConfigError, match="sink 'archive': no such folder"):
        await drain.open()


async def test_a_sink_that_turns_out_to_be_misconfigured_later_is_stopped(
    journal: Journal, impatient: None
) -> None:
    await keep(journal, events(1, 3))
    sink = CollectingSink(opening=[Retry("not mounted"), Fatal("it is read-only")])

    drain = await drained(journal, sink)

    assert drain.condition == "stopped"
    assert "it is read-only" in str(drain.error)


@pytest.mark.parametrize("what", ["open", "resume"])
async def test_a_plugin_that_crashes_before_the_first_write_is_named(
    journal: Journal, what: str
) -> None:
    @define(slots=False, kw_only=True)
    class Broken(CollectingSink):
        async def open(self, ctx: SinkContext) -> None:
            if what == "open":
                raise ValueError("a secret")

        async def resume(self, receipt: Json, ctx: SinkContext) -> int | None:
            raise ValueError("a secret")

    drain = await drain_of(journal, Broken())

    with pytest.raises(
        PluginError, match=rf"plugin 'collecting' raised ValueError from {what}\(\)"
    ):
        await drain.open()


async def test_a_sink_that_cannot_resume_is_stopped(journal: Journal) -> None:
    @define(slots=False, kw_only=True)
    class Foreign(CollectingSink):
        async def resume(self, receipt: Json, ctx: SinkContext) -> int | None:
            raise Fatal("the file holds other data")

    await keep(journal, events(1, 3))

    drain = await drained(journal, Foreign())

    assert str(drain.error) == "sink 'archive': the file holds other data"
    assert drain.report().pending == 3


async def test_a_sink_that_is_not_ready_to_resume_is_tried_again(
    journal: Journal, impatient: None
) -> None:
    @define(slots=False, kw_only=True)
    class Full(CollectingSink):
        tries: int = 0

        async def resume(self, receipt: Json, ctx: SinkContext) -> int | None:
            self.tries += 1
            if self.tries < 3:
                raise Retry("the disk is full")
            return None

    await keep(journal, events(1, 3))
    sink = Full()

    await drained(journal, sink)

    assert [each.id for each in sink.got] == ids(1, 3)


async def test_a_sink_that_knows_its_place_goes_on_after_it(journal: Journal) -> None:
    @define(slots=False, kw_only=True)
    class Database(CollectingSink):
        async def resume(self, receipt: Json, ctx: SinkContext) -> int | None:
            return 4

    await keep(journal, events(1, 6))
    later = Retry("503", after=timedelta(milliseconds=1))
    sink = CollectingSink(batch_size=2, script=[None, later])
    await run(await drain_of(journal, sink), lambda drain: drain.condition == "failing")
    again = Database()

    drain = await drained(journal, again)

    assert [each.id for each in again.got] == ids(5, 6)
    assert drain.report().pending == 0


async def test_a_damaged_event_stops_the_sink_and_is_named(tmp_path: Path) -> None:
    async with Journal(settings(tmp_path)) as journal:
        await keep(journal, events(1, 3))
        await journal.write(
            lambda connection: connection.execute("UPDATE event SET raw = X'7b7d' WHERE seq = 2")
        )

    async with Journal(settings(tmp_path)) as journal:
        drain = await drained(journal, CollectingSink())

    assert isinstance(drain.error, StateError)
    assert "event 2 in the journal is damaged" in str(drain.error)


async def test_a_receipt_that_is_no_json_is_the_plugins_fault(journal: Journal) -> None:
    @define(slots=False, kw_only=True)
    class Odd(CollectingSink):
        async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
            return object()

    await keep(journal, events(1, 3))

    drain = await drained(journal, Odd())

    assert isinstance(drain.error, PluginError)
    assert drain.report().pending == 3


async def test_a_stop_ends_what_is_under_way_and_starts_nothing_more(journal: Journal) -> None:
    await keep(journal, events(1, 9))
    sink = CollectingSink(batch_size=1, pause_s=0.02)
    drain = await drain_of(journal, sink)

    await run(drain, lambda drain: bool(sink.writing))

    assert [each.id for each in sink.got] == ids(1, 1)
    assert drain.report().pending == 8


async def test_an_opened_sink_is_closed_and_another_is_not(journal: Journal) -> None:
    opened, waiting = CollectingSink(), CollectingSink(opening=[Retry("not yet")])

    for sink in (opened, waiting):
        drain = await drain_of(journal, sink)
        await drain.open()
        await drain.close()

    assert (opened.closed, waiting.closed) == (1, 0)
