"""Kapso's rate limit: so many requests a minute for a key."""

from collections.abc import Callable
from typing import Final

from attrs import define, field

__all__ = ["RateLimit"]

_WINDOW_S: Final = 60.0


@define
class RateLimit:
    """A fixed window of a minute that opens with the first request after the last one.

    Kapso's plans allow 100 to 1,000 requests a minute. `clock` counts seconds; None takes the
    server's.
    """

    per_minute: int = 1_000
    clock: Callable[[], float] | None = field(default=None, repr=False)
    _opened: float | None = field(init=False, default=None)
    _taken: int = field(init=False, default=0)

    def take(self, server_clock: Callable[[], float]) -> bool:
        """Count one request; false when it is over the limit."""
        now = (self.clock or server_clock)()
        if self._opened is None or now - self._opened >= _WINDOW_S:
            self._opened, self._taken = now, 0
        self._taken += 1
        return self._taken <= self.per_minute

    @property
    def headers(self) -> dict[str, str]:
        """The headers that tell a client how much is left, never below zero."""
        left = max(self.per_minute - self._taken, 0)
        return {"X-RateLimit-Limit": str(self.per_minute), "X-RateLimit-Remaining": str(left)}
