"""Days at simulated Stevoras, read through the real intake and journal: nothing lost, none twice.

Hundreds of runs with bursts, waits of minutes to an hour, late rows and retries; the worlds and
the servers' oddities are of the sandbox.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from levada.sandbox import StevoraQuirks, StevoraWorld, integer_id, simulate
from plugins.stevora.servers import HOUR, MINUTE, SECOND, Stage, staged


async def follow(stage: Stage, every: timedelta) -> int:
    """Follow the world to its end, and then until its runs are closed; return the requests."""
    requests = 0
    while stage.world.next_at is not None:
        requests += len(await stage.look(every))
    for pause in (MINUTE, 2 * MINUTE, 30 * MINUTE, 5 * HOUR, 25 * HOUR):
        requests += len(await stage.look(pause))
    return requests


def expected(stage: Stage) -> list[str]:
    known = [event.id for event in stage.world.events]
    return [str(integer_id(each)) for each in known] if stage.stevora.quirks.integer_ids else known


@pytest.mark.parametrize(
    "size",
    [
        pytest.param((20, 0.2), id="small"),
        pytest.param((80, 0.8), id="large", marks=[pytest.mark.nightly, pytest.mark.timeout(300)]),
    ],
)
@pytest.mark.parametrize(
    ("quirks", "world"),
    [
        ({}, {}),
        ({"no_tie_break": True}, {"late_share": 0.15, "late_most": 10 * SECOND}),
        ({"no_tie_break": True, "times": "s", "order": "oldest"}, {"precision": SECOND}),
        ({"no_tie_break": True, "total_drift": 2}, {"late_share": 0.1}),
        ({"order": "hash", "no_detail": True, "strict_pages": True}, {"late_most": 50 * SECOND}),
        ({"bare_runs": True, "integer_ids": True, "times": "unix"}, {"precision": SECOND}),
    ],
    ids=["plain", "ties and late", "oldest, seconds", "drifting total", "no order", "bare"],
)
async def test_no_event_is_lost_or_kept_twice(
    tmp_path: Path, quirks: dict[str, Any], world: dict[str, Any], size: tuple[int, float]
) -> None:
    stevora = StevoraWorld(seed=11)
    simulate(stevora, executions=size[0], hours=size[1], **world)
    stage_of = staged(
        tmp_path,
        stevora,
        quirks=StevoraQuirks(**quirks),
        start=stevora.now,
        same_process=True,
        page_size=8,
    )
    async with stage_of as stage:
        await follow(stage, 15 * SECOND)

        assert sorted(stage.follower.ids()) == sorted(expected(stage))
        assert set(stage.stages().values()) == {"closed"}
        stage.stevora.quirks.total_drift = 0
        assert len(await stage.look()) == 1


async def test_following_a_world_costs_few_requests_a_pass(tmp_path: Path) -> None:
    stevora = StevoraWorld(seed=5)
    simulate(stevora, executions=40, hours=0.4)
    async with staged(tmp_path, stevora, start=stevora.now, same_process=True) as stage:
        requests = await follow(stage, 10 * SECOND)

        passes = len(stage.follower.requests)
        assert requests / passes < 2.5
        stage.assert_complete()
