"""How fast one key may ask: learned from the vendor's headers, or configured."""

import asyncio
import re
from collections import deque
from collections.abc import Mapping
from datetime import timedelta

from levada.http.clock import Clock

WINDOW_S = 60.0
"""Vendors count requests by the minute."""

BURST_S = 5.0
"""A configured limit lets this many seconds' worth go at once."""

SHORTEST_HOLD = timedelta(seconds=1)
"""The least that a 429 makes everyone wait; some send ``Retry-After: 0`` and mean nothing by it."""

_MOST_DOUBLINGS = 6  # 64 s, about a window
_COUNT = re.compile(r"[0-9]{1,9}")


class Budget:
    """The request allowance of one key at one origin, shared by all who use that key.

    `share` is the part of the vendor's allowance to use before pacing; `limit` is the allowance,
    in requests a minute, where the vendor tells none. Waiters go in the order they came.
    """

    def __init__(
        self, *, share: float = 0.5, limit: int | None = None, clock: Clock | None = None
    ) -> None:
        self._clock = clock or Clock()
        self._share = share
        self._limit = limit
        self._turn = asyncio.Lock()
        self._flying = 0
        self._sent_at = -WINDOW_S
        self._sent: deque[float] = deque()  # when, in the last minute
        self._held_until = 0.0
        self._refusals = 0
        self._told: tuple[int, int, float] | None = None  # limit, remaining, when
        self._tokens = self._burst

    def tighten(self, *, share: float, limit: int | None) -> None:
        """Take a further user's wishes into account: the more careful one wins."""
        self._share = min(self._share, share)
        if limit is not None and (self._limit is None or limit < self._limit):
            self._limit = limit
            self._tokens = min(self._tokens, self._burst)

    @property
    def held_s(self) -> float:
        """How long the vendor still wants no requests at all."""
        return max(0.0, self._held_until - self._clock.monotonic())

    async def enter(self) -> None:
        """Wait until a request may be sent. Every `enter` is followed by one `leave`."""
        if self._turn.locked() or self._wait_s() > 0:
            async with self._turn:
                while (wait := self._wait_s()) > 0:
                    await self._clock.sleep(wait)
                self._count()
        else:
            self._count()

    def leave(self) -> None:
        """Note that a request was answered, or failed."""
        self._flying -= 1

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take what an answer says of the allowance; nonsense counts as silence."""
        limit = headers.get("x-ratelimit-limit", "")
        remaining = headers.get("x-ratelimit-remaining", "")
        if _COUNT.fullmatch(limit) and _COUNT.fullmatch(remaining) and int(limit) > 0:
            self._told = (int(limit), int(remaining), self._clock.monotonic())

    def refuse(self, after: timedelta | None) -> None:
        """Hold everyone back because of a 429, for *after* or, without it, longer each time."""
        if after is None or after < SHORTEST_HOLD:
            if self.held_s > 0:
                return  # many requests refused at once are one refusal
            after = SHORTEST_HOLD * 2**self._refusals
            self._refusals = min(self._refusals + 1, _MOST_DOUBLINGS)
        until = self._clock.monotonic() + after.total_seconds()
        self._held_until = max(self._held_until, until)

    def accept(self) -> None:
        """Note an answer that was no refusal."""
        if not self.held_s:
            self._refusals = 0

    def _wait_s(self) -> float:
        held = self.held_s
        if held > 0:
            return held
        if self._told:
            return self._pace_s(*self._told)
        return self._bucket_s() if self._limit else 0.0

    def _pace_s(self, limit: int, remaining: int, told_at: float) -> float:
        now = self._clock.monotonic()
        if now - told_at >= WINDOW_S:
            remaining = limit  # a new window must have begun since
        if remaining - self._flying > (1 - self._share) * limit:
            return 0.0
        ours = max(int(limit * self._share), 1)
        wait_s = self._sent_at + WINDOW_S / ours - now
        if len(self._sent) >= ours:  # what went freely counts: in any minute no more than our share
            wait_s = max(wait_s, self._sent[-ours] + WINDOW_S - now)
        return wait_s

    def _bucket_s(self) -> float:
        rate = (self._limit or 1) / WINDOW_S
        elapsed = self._clock.monotonic() - self._sent_at
        tokens = min(self._burst, self._tokens + elapsed * rate)
        return 0.0 if tokens >= 1 else (1 - tokens) / rate

    @property
    def _burst(self) -> float:
        return max(1.0, (self._limit or 0) / WINDOW_S * BURST_S)

    def _count(self) -> None:
        now = self._clock.monotonic()
        if self._limit:
            grown = self._tokens + (now - self._sent_at) * self._limit / WINDOW_S
            self._tokens = min(self._burst, grown) - 1
        self._sent_at = now
        self._sent.append(now)
        while self._sent[0] <= now - WINDOW_S:
            self._sent.popleft()
        self._flying += 1
