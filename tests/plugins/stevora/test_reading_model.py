"""Whatever happens to a run between two reads, and whatever its pages do: nothing is lost."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TypeAlias

from attrs import define, evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from levada import Partition, Retry
from levada.sandbox import RecordedRequest, Response, StevoraQuirks, StevoraServer, StevoraWorld
from plugins.desk import Desk
from plugins.stevora.servers import ids, opened

Step: TypeAlias = tuple[str, int]

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 25)),
        st.tuples(st.just("tie"), st.integers(2, 5)),
        st.tuples(st.just("late"), st.integers(1, 30)),
        st.tuples(st.just("delete"), st.integers(1, 12)),
        st.tuples(st.just("off"), st.integers(-3, 3)),
        st.tuples(st.just("read"), st.just(0)),
    ),
    max_size=14,
)


@define(eq=False)
class Off(StevoraServer):
    """Gives with one answer a total that was counted at another moment."""

    off: int = 0

    async def respond(self, request: RecordedRequest) -> Response:
        response, off = await super().respond(request), self.off
        self.off = 0
        content = json.loads(response.body)
        content["meta"]["total"] += off
        return evolve(response, body=json.dumps(content).encode())


def happen(world: StevoraWorld, run_id: str, step: Step) -> None:
    """Let something happen to a run; a late event is dated a few events back."""
    what, n = step
    events = world.runs[run_id].events
    if what == "add":
        world.add_events(run_id, n)
    elif what == "tie":
        world.add_events(run_id, n, created_at=world.now + timedelta(milliseconds=1))
    elif what == "late" and events:
        world.add_event(run_id, "LATE", created_at=events[-min(n, len(events))].created_at)
    elif what == "delete":
        world.delete_events(run_id, n)


async def take(desk: Desk, run_id: str, found: list[str]) -> None:
    """Read as a host does: what came before a failure stands."""
    with suppress(Retry):
        async for batch in desk.source.read(Partition(run_id), desk.positions.get(run_id), desk):
            found += ids(batch.events)
            desk.read_ids[run_id].update(ids(batch.events))
            desk.positions[run_id] = batch.position or desk.positions.get(run_id)


async def follow(
    steps: Sequence[Step], world: StevoraWorld, quirks: StevoraQuirks, size: int
) -> None:
    run_id, found = world.add_run(events=3).id, list[str]()
    async with (
        Off(world, quirks=quirks) as stevora,
        opened(stevora.url, page_size=size) as desk,
    ):
        desk.open_partitions = {run_id: Partition(run_id)}
        for step in steps:
            if step[0] == "off":
                stevora.off = step[1]
            # Where one event goes and a late one comes, the total is as it was: no reader can tell.
            # So deletions are between two reads, and those reads are told the truth.
            if step[0] == "delete":
                stevora.off = 0
                await take(desk, run_id, found)
            happen(world, run_id, step)
            if step[0] in {"delete", "read"}:
                await take(desk, run_id, found)
        stevora.off = 0
        for _ in range(3):
            await take(desk, run_id, found)

    assert len(found) == len(set(found))
    assert set(found) >= set(ids(world.runs[run_id].events))


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, swaps=st.booleans(), size=st.integers(2, 12), seed=st.integers(0, 1_000))
def test_every_event_is_found_once(steps: list[Step], swaps: bool, size: int, seed: int) -> None:
    quirks = StevoraQuirks(no_tie_break=swaps)

    asyncio.run(follow(steps, StevoraWorld(seed=seed), quirks, size))
