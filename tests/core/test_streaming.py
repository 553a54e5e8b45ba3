import asyncio
import json
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from core.doubles import START, ScriptedSource, by_partition, event, events
from levada import Batch, Checkpoint, Event, Fatal, Json, Partition, Retry, SourceError, stream


def source_of(runs: int = 3, each: int = 20, **options: Any) -> ScriptedSource:
    keys = [f"run-{number}" for number in range(runs)]
    return ScriptedSource(runs={key: events(1, each, key) for key in keys}, **options)


def everything(source: ScriptedSource) -> dict[str, list[str]]:
    return by_partition(each for run in source.runs.values() for each in run)


async def taken(
    source: ScriptedSource, state: Json, batches: int = 10**6
) -> tuple[list[Event], Json]:
    """Deal with so many batches, then stop; return their events and the state, as JSON made it."""
    found: list[Event] = []
    reading = stream(source, state)
    async with aclosing(aiter(reading)) as iteration:
        pending: Batch | None = None
        async for batch in iteration:
            found += pending.events if pending else []
            pending = batch
            if batches == 0:
                break
            batches -= 1
        else:
            found += pending.events if pending else []
        state = json.loads(json.dumps(reading.state))
    return found, state


async def test_everything_new_comes_in_batches_run_by_run() -> None:
    source = source_of()

    found, _ = await taken(source, None)

    assert by_partition(found) == everything(source)
    assert (source.opened, source.closed) == (1, 1)


async def test_an_event_knows_where_it_came_from() -> None:
    source = ScriptedSource(runs={"a": events(1, 1, "a")})

    ((found,), _) = await taken(source, None)

    assert found.origin is not None
    assert found.origin.uri == "urn:levada:scripted:acme:a"
    assert found.seq is None


async def test_what_was_dealt_with_does_not_come_again() -> None:
    source = source_of()
    _, state = await taken(source, None)

    again, _ = await taken(source_of(), state)

    assert again == []


async def test_only_what_is_new_comes_the_next_time() -> None:
    _, state = await taken(source_of(), None)

    found, _ = await taken(source_of(each=22), state)

    assert by_partition(found) == {f"run-{n}": ["evt-21", "evt-22"] for n in range(3)}


@given(stops=st.lists(st.integers(0, 9), max_size=8), page=st.integers(1, 7))
@hypothesis_settings(max_examples=40, deadline=None)
def test_stopping_anywhere_loses_nothing_and_repeats_nothing(stops: list[int], page: int) -> None:
    async def scenario() -> list[Event]:
        found: list[Event] = []
        state: Json = None
        for stop in [*stops, 10**6]:
            more, state = await taken(source_of(each=9, page=page), state, stop)
            found += more
        return found

    assert by_partition(asyncio.run(scenario())) == everything(source_of(each=9))


async def test_the_batch_in_hand_is_not_dealt_with_yet() -> None:
    reading = stream(source_of(runs=1, page=10))

    async with aclosing(aiter(reading)) as iteration:
        await anext(iteration)
        first = reading.state
        await anext(iteration)
        second = reading.state

    assert first["partitions"] == {}
    assert second["partitions"]["run-0"]["position"] == 10


async def test_an_event_read_twice_comes_once() -> None:
    source = ScriptedSource(runs={"a": [event(1, "a"), event(2, "a"), event(1, "a")]}, page=2)

    found, _ = await taken(source, None)

    assert by_partition(found) == {"a": ["evt-1", "evt-2"]}


async def test_the_state_does_not_grow_with_the_events_of_closed_runs() -> None:
    async def size(each: int) -> int:
        source = source_of(runs=1, each=each)
        source.found = [[Partition("run-0", version=1, final=True)]]
        _, state = await taken(source, None)
        return len(json.dumps(state))

    assert await size(5000) - await size(500) < 10


async def test_a_settled_run_leaves_the_state() -> None:
    source = source_of()
    old, young = (Partition(f"run-{n}", version=1, final=True, order=n) for n in (1, 2))
    source.found = [[old, young, Checkpoint("page 2", settled=2)]]

    _, state = await taken(source, None)

    assert list(state["partitions"]) == ["run-2"]
    assert state["position"] == "page 2"


async def test_a_run_settled_after_a_restart_leaves_the_state() -> None:
    source = source_of()
    old = Partition("run-1", version=1, final=True, order=START)
    source.found = [[old], [Checkpoint("page 2", settled=START + timedelta(days=1))]]
    _, state = await taken(source, None)

    _, state = await taken(source, state)

    assert state["partitions"] == {}


async def test_a_lingering_run_is_read_once_more_and_closed() -> None:
    run = Partition(
        "run-0", version=1, final=True, changed=datetime.now(UTC), uri="https://x.test/0"
    )
    source = source_of(found=[[run], []], linger=timedelta(hours=1))
    _, state = await taken(source, None)
    later = source_of(each=21, found=[[]], linger=timedelta(0))

    found, state = await taken(later, state)
    _, state = await taken(later, state)

    assert [(each.id, each.origin and each.origin.uri) for each in found] == [
        ("evt-21", "https://x.test/0")
    ]
    assert later.positions == [("run-0", 20)]


async def test_a_checkpoint_comes_back_to_the_discovery() -> None:
    source = source_of(found=[[Partition("run-0", version=1), Checkpoint({"page": 2})]])
    _, state = await taken(source, None)

    await taken(source, state)

    assert source.asked == [None, {"page": 2}]


async def test_a_checkpoint_waits_until_everything_before_it_is_dealt_with() -> None:
    source = source_of(found=[[Partition("run-0", version=1), Checkpoint({"page": 2})]])

    _, state = await taken(source, None, 1)

    assert state["position"] is None


async def test_a_source_that_cannot_go_on_says_so_and_the_state_stays_good() -> None:
    source = source_of(found=[[Partition("run-0"), Fatal("401: check the key")]])
    reading = stream(source)
    found: list[Event] = []

    async def read() -> None:
        async for batch in reading:
            found.extend(batch.events)

    with pytest.raises(SourceError, match="401: check the key"):
        await read()

    rest, _ = await taken(source_of(), reading.state)
    assert by_partition([*found, *rest]) == everything(source_of())
    assert source.closed == 1


async def test_a_run_that_failed_is_read_again_another_time() -> None:
    source = source_of(failures={"run-1": [Retry("503")] * 3}, each=60)
    found, state = await taken(source, None)

    rest, _ = await taken(source_of(each=60), state)

    assert by_partition([*found, *rest]) == everything(source)
    assert len(rest) == 30


async def test_a_stream_that_is_left_early_closes_its_source() -> None:
    source = source_of()

    await taken(source, None, 1)

    assert source.closed == 1


async def test_a_source_sees_what_it_has_read() -> None:
    source = source_of(runs=1)
    reading = stream(source)
    async for _ in reading:
        pass

    known = reading.intake._state.known("run-0", ["evt-3", "evt-99"])

    assert known == {"evt-3"}


async def test_a_source_is_closed_when_its_reads_have_ended() -> None:
    reading_at_close: list[int] = []

    class Closing(ScriptedSource):
        async def close(self) -> None:
            reading_at_close.append(self.reading)

    source = Closing(runs={key: events(1, 50, key) for key in ("a", "b", "c")})

    async with aclosing(aiter(stream(source))) as batches:
        await anext(batches)
        assert source.reading > 0

    assert reading_at_close == [0]
