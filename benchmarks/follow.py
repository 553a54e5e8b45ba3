"""What following a Kapso costs, beside the fewest requests there could be.

``python benchmarks/follow.py`` lets hours pass in a simulated project, one cycle every ten seconds,
and prints requests a cycle, and what was lost or came twice. The fewest possible are a request for
what is new and one for each execution in which something is: no API could do with less, and
Kapso's has no such request.

``--free-plan`` follows 500 waiting executions with a key of 100 requests a minute, half of them
ours, and prints how long it took until an event was in the journal.
"""

import argparse
import asyncio
import statistics
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from levada import Secret, Settings, SourceSetup
from levada.host import Host
from levada.http import Http
from levada.http.clock import Clock
from levada.intake import Intake
from levada.journal import Journal
from levada.sandbox import KapsoServer, KapsoWorld, RateLimit, VirtualClock, simulate
from levada_kapso.source import KapsoSource

CYCLE = timedelta(seconds=10)
AFTERWARDS = 12
"""Cycles after the last event: a minute of linger, and one to close."""


def main() -> None:
    """Run one of the two and print its line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--executions", type=int, default=300)
    parser.add_argument("--hours", type=float, default=2.0, help="within which they start")
    parser.add_argument("--late-share", type=float, default=0.15)
    parser.add_argument("--late-most", type=float, default=10.0, help="seconds")
    parser.add_argument("--free-plan", action="store_true")
    options = parser.parse_args()
    print(asyncio.run(free_plan(options) if options.free_plan else follow(options)))


async def follow(options: argparse.Namespace) -> str:
    """Follow a project until nothing happens in it any more."""
    clock, world = VirtualClock(), KapsoWorld(seed=options.seed)
    simulate(
        world,
        executions=options.executions,
        hours=options.hours,
        late_share=options.late_share,
        late_most=timedelta(seconds=options.late_most),
    )
    fewest = cycles = 0
    async with KapsoServer(world, now=clock) as kapso, intake_of(kapso) as (intake, journal):
        left = AFTERWARDS
        while left:
            left = AFTERWARDS if world.next_at is not None else left - 1
            before = {event.id for event in world.events_by(clock.now)}
            clock.advance(CYCLE)
            world.catch_up(clock.now)
            fewest += 1 + changed(world, before)
            await intake.run()
            cycles += 1
        got = [event.id for event in journal.events_between(1, journal.last_seq)]
    made, truth = len(kapso.requests), {event.id for event in world.events}
    return (
        f"{len(truth):,} events, {cycles:,} cycles: {len(truth - set(got))} lost,"
        f" {len(got) - len(set(got))} twice, {made / cycles:.1f} requests a cycle,"
        f" at least {fewest / cycles:.1f}: {made / fewest:.2f} x"
    )


def changed(world: KapsoWorld, before: set[str]) -> int:
    """Return how many executions show an event that they did not show before."""
    new = {event.id for event in world.events} - before
    return sum(
        any(event.id in new for event in execution.events)
        for execution in world.executions.values()
    )


async def free_plan(options: argparse.Namespace) -> str:
    """Follow 500 waiting executions in 20 workflows, of which 25 go on every minute."""
    clock, world, rng = VirtualClock(), KapsoWorld(seed=options.seed), Random(options.seed)  # noqa: S311  # a simulation
    for number in range(20):
        world.add_workflow(f"workflow {number}")
    workflows = list(world.workflows)
    for number in range(500):
        started = clock.now - timedelta(seconds=6 * (500 - number))
        execution = world.add_execution(workflows[number % 20], events=0, started_at=started)
        world.add_events(execution.id, 5, created_at=started)
        execution.status = "waiting"
    async with (
        KapsoServer(world, now=clock, rate_limit=RateLimit(100)) as kapso,
        intake_of(kapso, clock) as (intake, journal),
    ):
        await intake.run()  # the first sync takes as long as it takes
        await intake.run()
        began, first = clock.now, len(kapso.requests)
        lags = [lag async for lag in going_on(intake, journal, world, clock, rng)]
        minutes = (clock.now - began) / timedelta(minutes=1)
        rate = (len(kapso.requests) - first) / minutes
    return (
        f"{len(lags)} changes in {minutes:.0f} min: lag {statistics.median(lags):.0f} s (median),"
        f" {max(lags):.0f} s (most), {rate:.1f} requests a minute"
    )


async def going_on(
    intake: Intake, journal: Journal, world: KapsoWorld, clock: VirtualClock, rng: Random
) -> AsyncIterator[float]:
    """Let 25 executions a minute go on for half an hour; yield how late each event was kept."""
    start, written = clock.now, dict[str, datetime]()
    for number in range(25 * 30):
        at = start + number * timedelta(minutes=1) / 25
        execution = rng.choice(list(world.executions.values()))

        def happen(key: str = execution.id, at: datetime = at) -> None:
            event = world.add_event(key, "user_input_received", created_at=at, visible_at=at)
            written[event.id] = at

        world.at(at, happen)
    seen = journal.last_seq
    while world.next_at is not None or written:
        began = clock.now
        watch = asyncio.create_task(intake.run())
        while not watch.done():
            await asyncio.sleep(0.001)
            for event in journal.events_between(seen + 1, journal.last_seq):
                seen = event.seq or seen
                if (at := written.pop(event.id, None)) is not None:
                    yield (clock.now - at).total_seconds()
        await watch
        clock.advance(max(CYCLE - (clock.now - began), timedelta(0)))
        world.catch_up(clock.now)


@asynccontextmanager
async def intake_of(
    kapso: KapsoServer, clock: VirtualClock | None = None
) -> AsyncIterator[tuple[Intake, Journal]]:
    """Read *kapso* into a journal of its own; with *clock* its budget sleeps in virtual time."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(state=Path(folder))
        host = Host(settings)
        if clock is not None:
            host._http = Http(  # noqa: SLF001
                request_timeout=settings.request_timeout,
                max_response_bytes=settings.max_response_bytes,
                clock=virtual(clock),
            )
        setup = SourceSetup.of(KapsoSource(base_url=kapso.url, api_key=Secret("sandbox")))
        async with Journal(settings) as journal:
            state = await journal.source(setup, accept_identity_change=False)
            intake = Intake(setup, state, host)
            yield intake, journal
            await intake.close()
            await host.close()


def virtual(clock: VirtualClock) -> Clock:
    """Return a clock of which a sleep is over at once, and has moved *clock*."""

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0.002)  # what is under way gets its answers
        clock.advance(timedelta(seconds=seconds))

    return Clock(utc=lambda: clock.now, monotonic=lambda: clock().timestamp(), sleep=sleep)


if __name__ == "__main__":
    main()
