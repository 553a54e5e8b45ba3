"""Holds a whole sink back while it keeps failing."""

import random
import time
from datetime import timedelta

from levada.retry import backoff


class Brake:
    """How long a sink is left alone, and how many of its lanes may then be tried.

    Failures in a row count over all deliveries; one success makes up for them. Lanes that fail
    side by side make one round of the back-off, not one each. A wait that the other side asked
    for outlasts a success in another lane.
    """

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        self._failures = 0
        self._rounds = 0
        self._asked_until = 0.0
        self._random = random.Random()  # noqa: S311  # jitter
        self.until: float = 0.0
        """When the sink may be tried again, by the monotonic clock."""

    @property
    def lanes(self) -> int:
        """How many writes may run: one, as a probe, when the last ones all failed."""
        return 1 if self._failures > self._lanes else self._lanes

    def held(self) -> bool:
        """Return whether the sink is to be left alone for now."""
        return time.monotonic() < self.until

    def failed(self, *, hold: bool) -> None:
        """Count a failure; with *hold*, or after too many in a row, leave the sink alone a while."""
        self._failures += 1
        if (hold or self._failures > self._lanes) and not self.held():
            self._rounds += 1
            self._hold(backoff(self._rounds, rng=self._random))

    def ask(self, wait: timedelta) -> None:
        """Leave the sink alone as long as the other side asked."""
        self._hold(wait)
        self._asked_until = self.until

    def release(self) -> None:
        """Forget the failures after a success."""
        self._failures = self._rounds = 0
        self.until = self._asked_until

    def _hold(self, wait: timedelta) -> None:
        self.until = max(self.until, time.monotonic() + wait.total_seconds())
