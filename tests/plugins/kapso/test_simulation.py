"""The source `kapso` in a project where hours pass: nothing is lost, nothing comes twice.

Events come in bursts with ties, 15 % of the rows show up to 10 s late, executions wait for minutes
to an hour, and end before their last event can be seen.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from levada import Secret
from levada.sandbox import KapsoQuirks, KapsoServer, KapsoWorld, VirtualClock, integer_id, simulate
from levada_kapso.source import KapsoSource
from plugins.follower import Follower, following

CYCLE = timedelta(seconds=10)
AFTERWARDS = 20
QUIET = 12
"""Cycles: what nothing has happened in for so long is at rest, whatever the quirks."""

SIZES = [
    pytest.param((15, 0.1), id="small"),
    pytest.param((60, 0.5), id="large", marks=[pytest.mark.nightly, pytest.mark.timeout(300)]),
]
"""How many executions there are, and in how many hours they start."""

LATE: dict[str, Any] = {"late_share": 0.15, "late_most": timedelta(seconds=10)}


async def followed(
    folder: Path,
    world: KapsoWorld,
    quirks: KapsoQuirks,
    *,
    same_process: bool = True,
    skip_quiet: bool = False,
) -> Follower:
    """Follow a world until nothing happens in it any more; look away while it is at rest, if wanted."""
    clock = VirtualClock()
    async with KapsoServer(world, now=clock, quirks=quirks) as kapso:

        def make() -> KapsoSource:
            return KapsoSource(base_url=kapso.url, api_key=Secret("sandbox"))

        async with following(make, kapso, folder, same_process=same_process) as follower:
            left, quiet, due = AFTERWARDS, 0, world.next_at
            while left:
                left = AFTERWARDS if due is not None else left - 1
                pause = due - clock() if due and skip_quiet and quiet > QUIET else CYCLE
                clock.advance(max(pause, CYCLE))
                await follower.cycle()
                quiet = quiet + 1 if world.next_at == due else 0
                due = world.next_at
            follower.got = follower.ids()
    return follower


@pytest.mark.parametrize(
    "size",
    [
        pytest.param((75, 0.25), id="a quarter of an hour"),
        pytest.param((300, 1), id="an hour", marks=[pytest.mark.nightly, pytest.mark.timeout(300)]),
    ],
)
async def test_a_project_of_three_hundred_executions_an_hour_at_ten_requests_a_cycle(
    tmp_path: Path, size: tuple[int, float]
) -> None:
    world = KapsoWorld(seed=5)
    simulate(world, executions=size[0], hours=size[1], **LATE)

    follower = await followed(tmp_path, world, KapsoQuirks())

    assert sorted(follower.got) == sorted(event.id for event in world.events)
    requests = [len(made) for made in follower.requests]
    assert sum(requests) / len(requests) <= 11
    assert max(requests) <= 22


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "quirks",
    [
        {"times": "s", "timestamp_cursors": True, "page_cap": 9},
        {"no_detail": True, "bare_workflows": True, "timestamp_cursors": True, "page_cap": 7},
        {"no_status": True, "no_detail": True, "bare_workflows": True},
        {"last_event_at_lag": timedelta(seconds=30)},
        {"skew": timedelta(minutes=10)},
        {"skew": -timedelta(minutes=10)},
        {"integer_ids": True, "times": "unix", "null_payloads": True},
        {"next_urls": True, "times": "offset", "page_cap": 9, "extra_fields": True},
        {"meta_paging": "always", "page_cap": 20, "unknown_types": True},
        {"detail_newest": 5, "page_cap": 10},
        {"detail_oldest": 12, "page_cap": 10, "null_steps": True},
        {"extra_rows": 30, "times": "us"},
    ],
    ids=str,
)
async def test_whatever_the_server_is_like_every_event_arrives_once(
    tmp_path: Path, quirks: dict[str, Any], size: tuple[int, float]
) -> None:
    world = KapsoWorld(seed=11)
    simulate(world, workflows=3, executions=size[0], hours=size[1], **LATE)
    names = {"integer_ids": integer_id}.get(next(iter(quirks)), str)

    follower = await followed(
        tmp_path, world, KapsoQuirks(**quirks), same_process=False, skip_quiet=True
    )

    assert sorted(follower.got) == sorted(str(names(event.id)) for event in world.events)
