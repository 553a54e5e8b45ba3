"""The helpers that the checks are made of, and that authors may use."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve

from core.doubles import CollectingSink, ScriptedSource, by_partition
from core.doubles import events as numbered
from core.testing.upstream import FineSink, written
from levada import Fatal, Gone, Retry, SourceError, TooLarge, stream
from levada.testing import collect, deliver, events, odd_events


def test_events_are_the_same_for_the_same_numbers() -> None:
    assert events(3, first=5) == events(7)[4:]


def test_events_are_as_a_journal_gives_them() -> None:
    found = events(20)

    assert [event.seq for event in found] == list(range(1, 21))
    assert all(event.origin for event in found)
    assert {json.loads(event.raw)["id"] for event in found} == {event.id for event in found}


def test_events_are_spread_over_partitions() -> None:
    assert len(by_partition(events(20, partitions=4))) == 4


def test_odd_events_are_one_line_of_json_each() -> None:
    found = odd_events()

    assert all(b"\n" not in event.raw and event.data["id"] == event.id for event in found)
    assert max(len(event.raw) for event in found) > 300_000
    assert [event.data["payload"] for event in found[:4]] == [None, {}, [], ""]


async def test_collect_returns_what_is_new() -> None:
    source = ScriptedSource(runs={"run-1": numbered(1, 3)})
    flow = stream(source)
    async for _ in flow:
        pass
    source.runs["run-1"] = numbered(1, 5)

    assert [event.id for event in await collect(source, flow.state)] == ["evt-4", "evt-5"]


async def test_collect_raises_what_made_a_read_fail() -> None:
    failure = KeyError("no such field")
    source = ScriptedSource(runs={"run-1": numbered(1, 3)}, failures={"run-1": [failure]})

    with pytest.raises(SourceError, match="'run-1' failed: KeyError: 'no such field'") as caught:
        await collect(source)

    assert caught.value.__cause__ is failure


async def test_collect_goes_on_without_a_partition_that_is_gone() -> None:
    runs = {"run-1": numbered(1, 3), "run-2": numbered(1, 2, "run-2")}
    source = ScriptedSource(runs=runs, failures={"run-1": [Gone("removed")]})

    found = await collect(source)

    assert by_partition(found) == {
        "run-1": ["evt-1", "evt-2", "evt-3"],
        "run-2": ["evt-1", "evt-2"],
    }


async def test_deliver_cuts_events_into_deliveries() -> None:
    sink = CollectingSink(batch_size=4)

    await deliver(sink, events(9), batch_size=100)

    assert [len(delivery.events) for delivery in sink.deliveries] == [4, 4, 1]
    assert sink.closed == 1


async def test_deliver_numbers_events_that_have_no_number() -> None:
    sink = CollectingSink()

    await deliver(sink, numbered(1, 3))

    assert [event.seq for event in sink.got] == [1, 2, 3]


async def test_deliver_goes_on_from_a_receipt(tmp_path: Path) -> None:
    sink = FineSink(path=tmp_path / "events.jsonl")

    first = await deliver(sink, events(2))
    await deliver(sink, events(2, first=3), receipt=first.receipt)

    assert written(sink.path) == ["evt-1", "evt-2", "evt-3", "evt-4"]


async def test_deliver_tries_again_a_few_times() -> None:
    sink = CollectingSink(script=[Retry("not yet"), Retry("not yet")])

    await deliver(sink, events(1))

    assert [delivery.attempt for delivery in sink.deliveries] == [1, 2, 3]


async def test_deliver_gives_up_on_a_sink_that_never_works() -> None:
    with pytest.raises(Retry, match="never"):
        await deliver(CollectingSink(always=Retry("never")), events(1))


async def test_deliver_tells_which_events_are_too_large() -> None:
    delivered = await deliver(CollectingSink(script=[TooLarge("no")] * 2), events(2, partitions=1))

    assert delivered.rejected == {("run-1", "evt-1"): "no"}


async def test_deliver_raises_what_the_pipeline_would_stop_for() -> None:
    sink = CollectingSink(always=Fatal("wrong key"))

    with pytest.raises(Fatal, match="wrong key"):
        await deliver(sink, events(1))

    assert sink.closed == 1


def test_helpers_need_no_plugin_for_pytest() -> None:
    source = ScriptedSource(runs={"run-1": [evolve(each) for each in numbered(1, 2)]})

    assert len(asyncio.run(collect(source))) == 2


def test_the_kit_leaves_the_name_stream_to_the_function() -> None:
    code = "import levada.testing; from levada import stream; stream.__code__"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
