"""A day at a vendor, simulated: many executions with bursts, waits, failures and late rows."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Final, Literal

from levada.sandbox.kapso.tale import KapsoTale
from levada.sandbox.kapso.world import KapsoWorld
from levada.sandbox.stevora.tale import StevoraTale
from levada.sandbox.stevora.world import StevoraWorld
from levada.sandbox.tale import Pace, Tale
from levada.sandbox.timeline import DEFAULT_START

__all__ = ["simulate"]

_FEWEST: Final = 6
_MOST: Final = 22
_MOST_OF_RETRY: Final = 6
_HANDED_OFF: Final = 0.1
_CANCELLED: Final = 0.05
_RETRIED: Final = 0.6


def simulate(
    world: KapsoWorld | StevoraWorld,
    *,
    start: datetime = DEFAULT_START,
    workflows: int = 10,
    executions: int = 300,
    hours: float = 3.0,
    late_share: float = 0.05,
    late_most: timedelta = timedelta(seconds=3),
    ties: bool = True,
    precision: timedelta = timedelta(milliseconds=1),
    ended_first: bool = True,
    failed_share: float = 0.15,
) -> None:
    """Plan a world's history on its timeline: about 16 events for each of the executions.

    The executions start within `hours`; the last ones go on for some time after that, until
    `world.next_at` is None. An event has several others about it, seven a second; a wait takes
    minutes to an hour. Nothing has happened yet when this returns: let the world catch up, or a
    server with a `VirtualClock` do it. Then `world.events` is the truth, and `world.events_by`
    what could be seen of it at a moment. The world's seed decides everything.

    Args:
        world: Where it is to happen; what is there stays.
        start: When the first execution may start.
        workflows: How many workflows, or definitions, to add for it.
        executions: How many executions, or runs, there are.
        hours: Within how many hours they start.
        late_share: The part of the rows that can be seen only some time after they were written.
        late_most: The longest such time. The row of the execution tells of a late event at once.
        ties: Whether up to four events happen at the same time.
        precision: What the vendor keeps of a time. In microseconds ties come after each other,
            though they look the same where times are shown in milliseconds.
        ended_first: Whether an execution is over before its last event can be seen.
        failed_share: The part of the executions that fail. Some of Stevora's are retried later.
    """
    pace = Pace(
        late_share=late_share,
        late_most=late_most,
        precision=precision,
        ties=ties,
        ended_first=ended_first and late_most > timedelta(0),
    )
    with world.lock:
        parents = _parents(world, workflows, start - timedelta(days=1))
        rng = world.rng("simulation")
        for at in sorted(start + timedelta(hours=hours * rng.random()) for _ in range(executions)):
            own = Random(rng.getrandbits(64))  # noqa: S311 - reproducible data, no secrets
            _tale(world, own, parents, pace, failed_share).plan(at)


def _parents(world: KapsoWorld | StevoraWorld, number: int, created_at: datetime) -> Sequence[str]:
    if isinstance(world, KapsoWorld):
        return [world.add_workflow(created_at=created_at).id for _ in range(number)]
    return [world.add_definition(created_at=created_at).id for _ in range(number)]


def _tale(
    world: KapsoWorld | StevoraWorld,
    rng: Random,
    parents: Sequence[str],
    pace: Pace,
    failed_share: float,
) -> Tale:
    parent_id, left, fate = rng.choice(parents), rng.randint(_FEWEST, _MOST), rng.random()
    if isinstance(world, KapsoWorld):
        return KapsoTale(
            parent_id,
            rng,
            pace,
            left,
            world,
            outcome="failed" if fate < failed_share else "ended",
            hands_off_at=left // 2 if rng.random() < _HANDED_OFF else None,
        )
    is_retried = rng.random() < _RETRIED
    return StevoraTale(
        parent_id,
        rng,
        pace,
        left,
        world,
        outcome=_stevora_outcome(fate, failed_share),
        events_of_retry=rng.randint(1, _MOST_OF_RETRY) if is_retried else None,
    )


def _stevora_outcome(
    fate: float, failed_share: float
) -> Literal["COMPLETED", "FAILED", "CANCELLED"]:
    if fate < failed_share:
        return "FAILED"
    return "CANCELLED" if fate > 1 - _CANCELLED else "COMPLETED"
