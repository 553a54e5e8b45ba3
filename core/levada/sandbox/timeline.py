"""Virtual time: a clock that tests move, and what is planned to happen as it moves."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Final

from attrs import define, field

__all__ = ["DEFAULT_START", "Timeline", "VirtualClock"]

DEFAULT_START: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

Action = Callable[[], object]


@define
class VirtualClock:
    """A clock that stands still unless it is moved: call it for the time, as any `now=`."""

    now: datetime = DEFAULT_START

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def advance(self, by: timedelta) -> datetime:
        """Move on and return the new time."""
        self.now += by
        return self.now


@define(eq=False)
class Timeline:
    """Actions that wait for their time. Its owner sees to it that one thread uses it at a time.

    `present` is the moment up to which everything has happened: the time of an action while it
    runs, None before the first `catch_up`. It never goes back.
    """

    present: datetime | None = field(init=False, default=None)
    is_acting: bool = field(init=False, default=False)
    _plans: list[tuple[datetime, int, Action]] = field(init=False, factory=list, repr=False)
    _planned: int = field(init=False, default=0, repr=False)

    @property
    def next_at(self) -> datetime | None:
        """The time of the next action; None when nothing is planned."""
        return self._plans[0][0] if self._plans else None

    def at(self, time: datetime, action: Action) -> None:
        """Plan an action; actions of the same time happen in the order of planning."""
        self._planned += 1
        heappush(self._plans, (time.astimezone(UTC), self._planned, action))

    def catch_up(self, now: datetime) -> None:
        """Let everything happen that is due, also what an action plans for up to `now`.

        An action that raises is not tried again; the ones behind it wait for the next call.
        """
        while self._plans and self._plans[0][0] <= now:
            time, _, action = heappop(self._plans)
            self._move(time)
            self.is_acting = True
            try:
                action()
            finally:
                self.is_acting = False
        self._move(now)

    def _move(self, time: datetime) -> None:
        self.present = time if self.present is None else max(self.present, time)
