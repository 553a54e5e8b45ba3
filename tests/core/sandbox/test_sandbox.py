"""The sandbox as a whole: both vendors, in a loop or a thread, growing."""

import asyncio
import gc
import warnings
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from levada.sandbox import (
    KapsoQuirks,
    KapsoWorld,
    Sandbox,
    StevoraEvent,
    StevoraQuirks,
    StevoraWorld,
    VirtualClock,
)


def test_both_vendors_answer_from_a_thread() -> None:
    running = Sandbox.in_thread(kapso_key="k", stevora_key="s")
    with running as sandbox, httpx.Client(trust_env=False) as client:
        kapso = client.get(f"{sandbox.kapso.base_url}/workflows", headers={"x-api-key": "k"})
        runs = f"{sandbox.stevora.base_url}/v1/workflow-runs"
        stevora = client.get(runs, headers={"x-api-key": "s"})

    assert (kapso.status_code, stevora.status_code) == (200, 200)
    assert sandbox.kapso.base_url.endswith("/platform/v1")
    assert [request.path for request in sandbox.kapso.requests] == ["/platform/v1/workflows"]
    assert [request.path for request in sandbox.stevora.requests] == ["/v1/workflow-runs"]


async def test_both_vendors_answer_in_the_callers_loop() -> None:
    async with Sandbox() as sandbox, httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{sandbox.stevora.base_url}/health")

    assert answer.status_code == 200


def test_worlds_may_be_left_out() -> None:
    with Sandbox.in_thread(kapso=None, stevora=None) as sandbox:
        with pytest.raises(RuntimeError, match="no Kapso"):
            _ = sandbox.kapso
        with pytest.raises(RuntimeError, match="no Stevora"):
            _ = sandbox.stevora


def test_a_world_may_change_while_it_is_served() -> None:
    world = KapsoWorld.sample()
    with Sandbox.in_thread(kapso=world) as sandbox, httpx.Client(trust_env=False) as client:
        execution = world.add_execution(events=2)
        world.add_events(execution.id, 3)

        url = f"{sandbox.kapso.base_url}/workflow_executions/{execution.id}"
        detail = client.get(url, headers={"x-api-key": "sandbox"}).json()["data"]

    assert sandbox.kapso.world is world
    assert [row["id"] for row in detail["events"]] == [event.id for event in execution.events]


def test_the_rate_limit_is_an_option() -> None:
    with Sandbox.in_thread(kapso_rate_limit=1) as sandbox, httpx.Client(trust_env=False) as client:
        url, headers = f"{sandbox.kapso.base_url}/workflows", {"x-api-key": "sandbox"}
        statuses = [client.get(url, headers=headers).status_code for _ in range(2)]

    assert statuses == [200, 429]


def test_quirks_are_options() -> None:
    running = Sandbox.in_thread(
        kapso_quirks=KapsoQuirks(no_workflows=True), stevora_quirks=StevoraQuirks(no_detail=True)
    )
    with running as sandbox, httpx.Client(trust_env=False) as client:
        run_id = next(iter(sandbox.stevora.world.runs))
        urls = (
            f"{sandbox.kapso.base_url}/workflows",
            f"{sandbox.stevora.base_url}/v1/workflow-runs/{run_id}",
        )
        statuses = [client.get(url, headers={"x-api-key": "sandbox"}).status_code for url in urls]

    assert statuses == [404, 404]


class WatchedWorld(StevoraWorld):
    grown_twice: asyncio.Event

    def grow(self) -> list[StevoraEvent]:
        if self.steps_grown == 1:
            self.grown_twice.set()
        return super().grow()


async def test_worlds_grow_by_themselves_until_the_end() -> None:
    kapso, stevora = KapsoWorld.sample(), WatchedWorld.sample()
    stevora.grown_twice = asyncio.Event()

    async with Sandbox(kapso, stevora, grow_every=timedelta(milliseconds=1)):
        await asyncio.wait_for(stevora.grown_twice.wait(), timeout=10)
    steps_grown = kapso.steps_grown
    await asyncio.sleep(0.01)

    assert steps_grown >= 2
    assert kapso.steps_grown == steps_grown


async def test_what_grows_can_be_seen_from_then_on() -> None:
    clock = VirtualClock(datetime(2031, 1, 1, tzinfo=UTC))
    world = WatchedWorld.sample()
    world.grown_twice = asyncio.Event()
    before = len(world.events)

    async with Sandbox(None, world, grow_every=timedelta(milliseconds=1), now=clock):
        await asyncio.wait_for(world.grown_twice.wait(), timeout=10)

    grown = [event for event in world.events if event.visible_at == clock.now]
    assert len(grown) == len(world.events) - before > 0


async def test_a_sandbox_leaves_nothing_behind() -> None:
    tasks_before = asyncio.all_tasks()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        growing = Sandbox(grow_every=timedelta(hours=1))
        async with growing as sandbox, httpx.AsyncClient(trust_env=False) as client:
            await client.get(f"{sandbox.stevora.base_url}/health")
        gc.collect()

    assert asyncio.all_tasks() == tasks_before


async def test_a_taken_port_stops_the_vendor_that_has_started() -> None:
    async with Sandbox() as first:
        second = Sandbox(stevora_port=first.stevora.port)

        with pytest.raises(OSError, match="address already in use"):
            await second.__aenter__()

        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", second.kapso.port)
