"""What a source has read and its state has not yet got."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

MOST: Final = 64
"""Writes of one source that may be under way, if they are small."""

SMALL: Final = 256 * 1024
"""Bytes up to which a write is small; one of more counts as several."""


class Writes:
    """Writes that become durable in their own time; the first that fails fails all that follow."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(MOST)
        self._turn = asyncio.Lock()
        self._error: BaseException | None = None

    def check(self) -> None:
        """Raise what a write failed with, if one did."""
        if self._error is not None:
            raise self._error

    async def add(
        self,
        write: Callable[[], Awaitable[T]],
        then: Callable[[T], None] = lambda _: None,
        *,
        size: int = 0,
        room: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Begin a write of *size* bytes, once few enough are under way and there is *room* for it.

        *then* gets its result when it is durable. Where this is cancelled, or an earlier write has
        failed, it has not begun.
        """
        places = min(1 + size // SMALL, MOST)
        await self._take(places)
        try:
            if room is not None:
                await room()
            self.check()
        except BaseException:
            self._give(places)
            raise
        try:
            begun = asyncio.ensure_future(write())
        except BaseException:
            self._give(places)
            raise
        begun.add_done_callback(lambda done: self._written(done, then, places))

    def _written(self, done: "asyncio.Future[T]", then: Callable[[T], None], places: int) -> None:
        self._give(places)
        if done.cancelled():
            return
        if (error := done.exception()) is not None:
            self._error = self._error or error
        else:
            then(done.result())

    async def durable(self) -> None:
        """Wait until every write so far is durable."""
        await self._take(MOST)
        self._give(MOST)
        self.check()

    async def _take(self, places: int) -> None:
        """Take so many places, one taker at a time: two with a part each would wait for ever."""
        async with self._turn:
            for taken in range(places):
                try:
                    await self._free.acquire()
                except asyncio.CancelledError:
                    self._give(taken)
                    raise

    def _give(self, places: int) -> None:
        for _ in range(places):
            self._free.release()
