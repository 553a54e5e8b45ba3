"""How much of upstreams' answers a run holds at once: many large ones would take all memory."""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

STEP: Final = 1024 * 1024
"""Bytes that each answer may take without asking; it takes more in steps of this size."""


class Holding:
    """What all answers together may take beyond their first `STEP`.

    Where that is used up one goes on regardless, so that it ends and gives back; others wait.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._one_goes_on = False
        self._changed = asyncio.Event()

    @contextmanager
    def answer(self) -> Iterator["Share"]:
        """Have a share for an answer that is on its way.

        It is given back at once when that fails, and at the end; within `held` the latest is kept.
        """
        kept = _KEPT.get(None)
        if kept is not None:
            _give_back(kept)
        share = Share(self)
        try:
            yield share
        except BaseException:
            share.give_back()
            raise
        if kept is None:
            share.give_back()
        else:
            kept.append(share)

    def take(self) -> float:
        """Return how many bytes an answer may grow by; 0: it has to wait."""
        if self._free >= STEP:
            self._free -= STEP
            return STEP
        if self._one_goes_on:
            return 0
        self._one_goes_on = True
        return math.inf

    def give(self, taken: float) -> None:
        """Take back what `take` gave."""
        if math.isinf(taken):
            self._one_goes_on = False
        else:
            self._free += int(taken)
        self._changed.set()

    async def change(self) -> None:
        """Wait until something was given back."""
        self._changed.clear()
        await self._changed.wait()


class Share:
    """What one answer takes."""

    def __init__(self, holding: Holding) -> None:
        self.most: float = STEP
        """Bytes that it may have by now."""
        self._holding = holding
        self._taken: list[float] = []

    async def grow(self, size: int) -> None:
        """Wait until the answer may have *size* bytes."""
        while self.most < size:
            if taken := self._holding.take():
                self._taken.append(taken)
                self.most += taken
            else:
                await self._holding.change()

    def give_back(self) -> None:
        """Let others have it."""
        for taken in self._taken:
            self._holding.give(taken)
        self._taken.clear()


_KEPT: ContextVar[list[Share]] = ContextVar("kept")
"""The shares of answers that a read has, and has made nothing of yet."""


@contextmanager
def held() -> Iterator[Callable[[], None]]:
    """Keep the share of each answer until the next is asked for; yields what gives it back before.

    For what goes on with an answer after its arrival: a read, until its events are on their way.
    """
    kept: list[Share] = []
    token = _KEPT.set(kept)
    try:
        yield lambda: _give_back(kept)
    finally:
        _KEPT.reset(token)
        _give_back(kept)


def _give_back(kept: list[Share]) -> None:
    for share in kept:
        share.give_back()
    kept.clear()
