"""Cancels the reading of a source at chosen moments."""

import asyncio
from contextlib import suppress
from typing import Literal, TypeAlias

from attrs import frozen

from levada.errors import LevadaError
from levada.source import Source
from levada.testing.read import Reading, Watched, read_watched
from levada.testing.running import require_no_tasks
from levada.testing.verdict import require, spread

_TURNS = (0, 1, 2, 3, 5, 8)
_MOMENTS = 8

What: TypeAlias = Literal["turn", "request", "batch"]


@frozen
class Moment:
    """Behind which turn of the loop, beginning of a request or batch, from 0."""

    what: What
    number: int


def moments(whole: Reading) -> list[Moment]:
    """Choose moments of a reading such as *whole*."""
    return [
        *(Moment("turn", number) for number in _TURNS),
        *(Moment("request", number) for number in spread(whole.requests, _MOMENTS)),
        *(Moment("batch", number) for number in spread(len(whole.yielded), _MOMENTS)),
    ]


async def cancel_at(moment: Moment, source: Source, *, cancel_s: float) -> None:
    """Read *source* and cancel that; fail unless it is over in *cancel_s* and leaves no task."""
    before = asyncio.all_tasks()
    due = asyncio.Event()

    def notice(what: What, number: int) -> None:
        if Moment(what, number) == moment:
            due.set()

    watched = Watched.over(
        source,
        on_request=lambda number: notice("request", number),
        on_batch=lambda number: notice("batch", number),
    )
    reading = asyncio.create_task(read_watched(watched))
    if moment.what == "turn":
        for _ in range(moment.number):
            await asyncio.sleep(0)
    else:
        await _first_of(reading, asyncio.create_task(due.wait()))
    reading.cancel()
    done, _ = await asyncio.wait({reading}, timeout=cancel_s)
    require(done, f"cancelled, it went on for {cancel_s:g} s; let asyncio.CancelledError pass")
    with suppress(asyncio.CancelledError, LevadaError):  # other checks are about the latter
        await reading
    await require_no_tasks(before)


async def _first_of(reading: "asyncio.Task[Reading]", due: "asyncio.Task[Literal[True]]") -> None:
    await asyncio.wait({reading, due}, return_when=asyncio.FIRST_COMPLETED)
    due.cancel()
