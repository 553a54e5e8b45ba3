"""The life of one simulated execution, told on its world's timeline: bursts of events, waits."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Final

from attrs import define, field, frozen

from levada.sandbox.world import When, World

__all__ = ["Pace", "Tale"]

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_EVENTS_PER_S: Final = 7
_LARGEST_BURST: Final = 4
_IN_A_BURST: Final = timedelta(microseconds=50)
_LONGEST_WAIT_MIN: Final = 60


@frozen(kw_only=True)
class Pace:
    """How the events of a simulated world follow each other, and how late they are seen."""

    late_share: float
    late_most: timedelta
    precision: timedelta
    ties: bool
    ended_first: bool

    def cut(self, time: datetime) -> datetime:
        """Return what the vendor keeps of a time."""
        return time - (time - _EPOCH) % self.precision

    def lateness(self, rng: Random) -> timedelta:
        """Return how late a row is seen, mostly not at all."""
        return self.some(rng) if rng.random() < self.late_share else timedelta(0)

    def some(self, rng: Random) -> timedelta:
        """Return the lateness of a row that is seen late."""
        return self.late_most * (1 - rng.random())


@define(eq=False)
class Tale(ABC):
    """One execution: its start, `left` events and its end.

    The events come in bursts of up to four, about seven a second, with a wait of minutes to an
    hour wherever the story has one. Each burst plans the next.
    """

    parent_id: str
    rng: Random
    pace: Pace
    left: int
    id: str = field(init=False, default="")

    @property
    @abstractmethod
    def world(self) -> World:
        """Where it happens."""

    @property
    @abstractmethod
    def exists(self) -> bool:
        """Whether nobody has deleted the execution meanwhile."""

    @property
    @abstractmethod
    def is_waiting(self) -> bool:
        """Whether the execution has come to a wait."""

    @abstractmethod
    def start(self, started_at: datetime) -> str:
        """Add the execution, without events, and return its id."""

    @abstractmethod
    def tell(self, when: When) -> None:
        """Let one event happen."""

    @abstractmethod
    def finish(self, when: When) -> None:
        """End the execution."""

    def plan(self, started_at: datetime) -> None:
        """Plan the start, which may be seen late, as any row."""
        at = self.pace.cut(started_at)
        self.world.at(at + self.pace.lateness(self.rng), partial(self._start, at))

    def plan_next(self, at: datetime, action: Callable[[datetime], None]) -> None:
        """Plan a burst at whole milliseconds; it happens when its last event has."""
        at -= timedelta(microseconds=at.microsecond % 1_000)
        self.world.at(at + _LARGEST_BURST * _IN_A_BURST, partial(self._go_on, at, action))

    def wait(self) -> timedelta:
        """Return the length of a wait: a few minutes rather than an hour."""
        return timedelta(minutes=_LONGEST_WAIT_MIN ** self.rng.random())

    def gap(self, size: int) -> timedelta:
        """Return the time to the next burst, after one of `size` events."""
        return timedelta(seconds=self.rng.uniform(0, 2 * size / _EVENTS_PER_S))

    def burst(self, at: datetime) -> None:
        """Let a few events happen, and plan what comes then."""
        size = 0
        most = self.rng.randint(1, _LARGEST_BURST) if self.pace.ties else 1
        while self.left and size < most and not (size and self.is_waiting):
            self.tell(self._when(at + size * _IN_A_BURST))
            self.left -= 1
            size += 1
        if not self.left:
            self.plan_next(at + self.gap(size), self._finish)
        else:
            self.plan_next(at + (self.wait() if self.is_waiting else self.gap(size)), self.burst)

    def _start(self, at: datetime) -> None:
        self.id = self.start(at)
        self.burst(at)

    def _go_on(self, at: datetime, action: Callable[[datetime], None]) -> None:
        if self.exists:
            action(at)

    def _finish(self, at: datetime) -> None:
        when = self._when(at)
        if self.pace.ended_first:
            when["visible_at"] = at + self.pace.some(self.rng)
        self.finish(when)

    def _when(self, at: datetime) -> When:
        late = self.pace.lateness(self.rng)
        when: When = {"created_at": self.pace.cut(at), "announced": True}
        if late:
            when["visible_at"] = at + late
        return when
