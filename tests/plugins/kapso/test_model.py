"""The source `kapso` against a model: whatever happens, in whatever order.

A project grows, ties, commits late, reorders, fails and is killed in the middle. Every event that
becomes visible within the declared lateness arrives exactly once; those visible at one read arrive
in the server's order.
"""

import asyncio
import tempfile
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from levada import LevadaError, Secret
from levada.sandbox import Fault, KapsoQuirks, KapsoServer, KapsoWorld, VirtualClock
from levada_kapso.source import KapsoSource
from plugins.follower import Follower, following

WINDOW = timedelta(seconds=10)
LOOKBACK = timedelta(seconds=60)

quirks = st.fixed_dictionaries(
    {},
    optional={
        "timestamp_cursors": st.booleans(),
        "page_cap": st.sampled_from([0, 8]),  # more than ever happen at one moment
        "extra_rows": st.sampled_from([0, 3]),
        "no_detail": st.booleans(),
        "detail_newest": st.sampled_from([0, 3]),
        "detail_oldest": st.sampled_from([0, 3]),
        "bare_workflows": st.booleans(),
        "no_status": st.booleans(),
        "next_urls": st.booleans(),
        "times": st.sampled_from(["ms", "us", "offset"]),
    },
)
seconds = st.integers(0, 9).map(lambda number: timedelta(seconds=number))


class Project(RuleBasedStateMachine):
    """What may happen to a project, and to whoever follows it."""

    @initialize(quirks=quirks, page_size=st.sampled_from([8, 100]), seed=st.integers(0, 3))
    def begin(self, quirks: dict[str, Any], page_size: int, seed: int) -> None:
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.read_at: dict[str, datetime] = {}
        self.clock = VirtualClock()
        self.world = KapsoWorld(seed=seed)
        for _ in range(2):
            self.world.add_workflow()
        self.run(self.start(quirks, page_size))

    async def start(self, quirks: dict[str, Any], page_size: int) -> None:
        server = KapsoServer(self.world, now=self.clock, quirks=KapsoQuirks(**quirks))
        self.kapso = await self.stack.enter_async_context(server)

        def make() -> KapsoSource:
            return KapsoSource(base_url=server.url, api_key=Secret("sandbox"), page_size=page_size)

        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.follower: Follower = await self.stack.enter_async_context(
            following(make, server, folder, same_process=False)
        )

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def some_execution(self, pick: int) -> Any:
        self.clock.advance(timedelta(milliseconds=1))
        open_ones = self.world.open_executions
        return open_ones[pick % len(open_ones)] if open_ones else None

    @rule(workflow=st.integers(0, 1), late=seconds, events=st.integers(1, 4))
    def an_execution_starts(self, workflow: int, late: timedelta, events: int) -> None:
        self.clock.advance(timedelta(milliseconds=1))
        key = list(self.world.workflows)[workflow]
        execution = self.world.add_execution(key, events=0, started_at=self.clock.now - late)
        for number in range(events):
            name = "execution_started" if not number else "step_entered"
            self.world.add_event(
                execution.id, name, created_at=self.clock.now, visible_at=self.clock.now
            )

    @rule(pick=st.integers(0, 9), events=st.integers(1, 6))
    def an_execution_goes_on(self, pick: int, events: int) -> None:
        if (execution := self.some_execution(pick)) is not None:
            for _ in range(events):  # all at the same time
                self.world.add_event(
                    execution.id, "x", created_at=self.clock.now, visible_at=self.clock.now
                )

    @rule(pick=st.integers(0, 9), late=seconds, announced=st.booleans())
    def an_event_is_late(self, pick: int, late: timedelta, announced: bool) -> None:
        if (execution := self.some_execution(pick)) is not None:
            self.world.add_event(
                execution.id,
                "late",
                created_at=self.clock.now,
                visible_at=self.clock.now + late,
                announced=announced,
            )

    @rule(pick=st.integers(0, 9), late=seconds)
    def an_execution_ends(self, pick: int, late: timedelta) -> None:
        if (execution := self.some_execution(pick)) is not None:
            now = self.clock.now
            self.world.end(execution.id, created_at=now, visible_at=now + late)

    @rule(pick=st.integers(0, 9), status=st.sampled_from(["running", "waiting", "handoff"]))
    def an_execution_waits(self, pick: int, status: Any) -> None:
        if (execution := self.some_execution(pick)) is not None:
            execution.status = status

    @rule(length=st.sampled_from([1, 10, 70, 4000]))
    def time_passes(self, length: int) -> None:
        self.clock.advance(timedelta(seconds=length))
        self.world.catch_up(self.clock.now)

    @rule()
    def a_cycle(self) -> None:
        self.run(self.cycle())

    @rule(after=st.integers(0, 6), midway=st.booleans())
    def a_cycle_fails(self, after: int, midway: bool) -> None:
        self.kapso.faults = [*[None] * after, *[Fault.close(is_midway=midway)] * 40]
        self.run(self.cycle())
        self.kapso.faults = []

    @rule(after=st.integers(0, 8))
    def a_cycle_is_killed(self, after: int) -> None:
        self.run(self.cycle(killed_after=after))

    async def cycle(self, *, killed_after: int | None = None) -> None:
        working = asyncio.create_task(self.follower.cycle())
        if killed_after is not None:
            before = len(self.kapso.requests)
            # The sandbox counts its requests but tells nobody.
            while not working.done() and len(self.kapso.requests) - before < killed_after:  # noqa: ASYNC110
                await asyncio.sleep(0)
            working.cancel()
        with suppress(LevadaError, asyncio.CancelledError):
            await working
        await self.follower.journal.write(lambda _: None)  # what was on its way is there then
        for event in self.follower.events():
            self.read_at.setdefault(event.id, self.clock.now)
        self.clock.advance(timedelta(milliseconds=1))  # what happens now was not visible then

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        try:
            for _ in range(4):
                self.clock.advance(timedelta(seconds=61))
                self.world.catch_up(self.clock.now)
                self.run(self.cycle())
            self.check()
        finally:
            self.run(self.stack.aclose())
            self.runner.close()

    def check(self) -> None:
        got = self.follower.events()
        assert sorted(each.id for each in got) == sorted(each.id for each in self.world.events)
        for execution in self.world.executions.values():
            arrived = [each.id for each in got if each.partition == execution.id]
            place = {name: number for number, name in enumerate(arrived)}
            for earlier, later in zip(execution.events, execution.events[1:], strict=False):
                if place[earlier.id] > place[later.id]:
                    assert earlier.visible_at > self.read_at[later.id]


TestProject = pytest.mark.timeout(300)(Project.TestCase)
TestProject.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
