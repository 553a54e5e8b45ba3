"""What a source has read and its state has not yet got."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

MOST: Final = 64
"""Writes of one source that may be under way."""


class Writes:
    """Writes that become durable in their own time; the first that fails fails all that follow."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(MOST)
        self._error: BaseException | None = None

    def check(self) -> None:
        """Raise what a write failed with, if one did."""
        if self._error is not None:
            raise self._error

    async def add(
        self,
        write: Callable[[], Awaitable[int | None]],
        then: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Begin a write, once few enough are under way; *then* gets its result when it is durable.

        Where this is cancelled, or an earlier write has failed, it has not begun.
        """
        await self._free.acquire()
        if self._error is not None:
            self._free.release()
            raise self._error
        asyncio.ensure_future(write()).add_done_callback(lambda done: self._written(done, then))

    def _written(self, done: "asyncio.Future[int | None]", then: Callable[[int], None]) -> None:
        self._free.release()
        if done.cancelled():
            return
        if (error := done.exception()) is not None:
            self._error = self._error or error
        else:
            then(done.result() or 0)

    async def durable(self) -> None:
        """Wait until every write so far is durable."""
        taken = 0
        try:
            while taken < MOST:
                await self._free.acquire()
                taken += 1
        finally:
            for _ in range(taken):
                self._free.release()
        self.check()
