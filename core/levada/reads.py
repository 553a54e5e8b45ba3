"""The reads of one pass: the partition that has waited longest first, so many at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final, TypeAlias

Urgency: TypeAlias = tuple[int, float]
"""What is smaller goes first: a rank, then the Unix time since which it has waited."""

WAITING: Final = 1_000
"""Reads that may wait for their turn; discovery goes on when there are fewer."""


class Reads:
    """Runs reads in the order of their urgency, within a task group whose failure ends them all.

    *on_cancelled* makes the failure of a read that was cancelled though nobody here did that: its
    plugin cancelled the task that it ran in.
    """

    def __init__(
        self, group: asyncio.TaskGroup, most: int, on_cancelled: Callable[[], Exception]
    ) -> None:
        self._on_cancelled = on_cancelled
        self._waiting: asyncio.PriorityQueue[tuple[Urgency, int, Callable[[], Awaitable[None]]]] = (
            asyncio.PriorityQueue(WAITING)
        )
        self._number = count()
        self._closed = False
        self._workers = [group.create_task(self._work()) for _ in range(most)]

    async def add(self, urgency: Urgency, read: Callable[[], Awaitable[None]]) -> None:
        """Have *read* called when it is its turn; waits while too many do."""
        await self._waiting.put((urgency, next(self._number), read))

    async def finish(self) -> None:
        """Wait until every read so far has ended."""
        await self._waiting.join()

    def close(self) -> None:
        """End the workers: at once if they only wait, else as soon as their read lets them."""
        self._closed = True  # a plugin may swallow the cancellation, and its worker would go on
        for worker in self._workers:
            worker.cancel()

    async def _work(self) -> None:
        while not self._closed:
            _, _, read = await self._waiting.get()
            try:
                await read()
            except asyncio.CancelledError:
                if self._closed:
                    raise
                self._closed = True
                raise self._on_cancelled() from None
            except BaseException:
                self._closed = True  # it is the group's, which cancels all, and `finish` with them
                raise
            self._waiting.task_done()
            await asyncio.sleep(0)  # answers may be there already: sinks get their turn between
