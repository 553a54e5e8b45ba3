"""What both vendors' worlds share: a seed, a clock of their own, a timeline and a lock."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from threading import RLock
from typing import Final, TypedDict
from uuid import UUID

from attrs import define, field

from levada.sandbox.timeline import DEFAULT_START, Timeline

__all__ = ["DEFAULT_START", "When", "World", "new_uuid", "rfc3339", "whole_milliseconds"]

_LONGEST_GAP_MS: Final = 4_000
_SHORTEST_GAP: Final = timedelta(milliseconds=1)


class When(TypedDict, total=False):
    """When an event happens, and when a reader can know.

    `created_at` is the event's own time; by default the world's clock moves on and gives it. It
    is listed from `visible_at` on; by default at once, which is the moment that the world has
    caught up with. Its execution changes along with it or, with `announced`, at once: status and
    last event then tell of an event that is not listed yet.
    """

    created_at: datetime | None
    visible_at: datetime | None
    announced: bool


@define(kw_only=True, eq=False)
class World:
    """Deterministic plain data: the same seed and the same calls make the same world.

    `now` is the world's own clock. It moves only when something happens in it, so that events
    strictly increase in time unless a caller dates one itself. Every change holds `lock`, and so
    does a server while it builds an answer: change a served world from any thread.

    What is planned with `at` happens when a server that serves the world is asked and its clock
    has come that far.
    """

    seed: int = 7
    now: datetime = DEFAULT_START
    lock: RLock = field(init=False, factory=RLock, repr=False)
    steps_grown: int = field(init=False, default=0)
    _timeline: Timeline = field(init=False, factory=Timeline, repr=False)

    @property
    def present(self) -> datetime | None:
        """How far the world has caught up with a clock; the action's time during a planned one."""
        return self._timeline.present

    @property
    def next_at(self) -> datetime | None:
        """When the next planned thing happens; None when nothing is planned any more."""
        return self._timeline.next_at

    def at(self, time: datetime, action: Callable[[], object]) -> None:
        """Plan a change of the world; actions of the same time happen in the order of planning.

        Events that an action adds without a date of their own have its time, or the next free
        millisecond after it.
        """
        with self.lock:
            self._timeline.at(time, action)

    def catch_up(self, now: datetime) -> None:
        """Let everything happen, in order, that is planned for up to `now`.

        Servers call it before each answer; a time that was there already changes nothing.
        """
        with self.lock:
            self._timeline.catch_up(now)

    def rng(self, name: str) -> Random:
        """Return the random numbers of one thing in the world; its name decides them."""
        return Random(f"{self.seed}/{name}")  # noqa: S311 - reproducible data, no secrets

    def advance(self, rng: Random) -> datetime:
        """Move the clock on by up to four seconds, in a planned action only to its time."""
        gap = timedelta(milliseconds=rng.randint(1, _LONGEST_GAP_MS))
        if self._timeline.is_acting and self.present is not None:
            self.now: datetime = max(self.now + _SHORTEST_GAP, self.present)
        else:
            self.now = self.now + gap
        return self.now

    def _dates(self, rng: Random, when: When) -> tuple[datetime, datetime]:
        """Return when an event is created and when it becomes visible; move the clock so far."""
        created_at = when.get("created_at")
        created_at = created_at.astimezone(UTC) if created_at else self.advance(rng)
        self.now = max(self.now, created_at)
        visible_at = when.get("visible_at") or self.present or created_at
        return created_at, max(visible_at, self.present or visible_at).astimezone(UTC)

    def _happen(
        self, when: When, *, notice: Callable[[], object], show: Callable[[], object]
    ) -> None:
        """Call `notice` and `show`, each at once or when the event becomes visible."""
        visible_at = when.get("visible_at")
        if visible_at is None or (self.present is not None and visible_at <= self.present):
            notice()
            show()
            return
        if when.get("announced"):
            notice()
        else:
            self.at(visible_at, notice)
        self.at(visible_at, show)


def whole_milliseconds(time: datetime) -> datetime:
    """Cut a time to what `rfc3339` prints of it."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def new_uuid(rng: Random) -> str:
    """Return the next UUID of `rng`."""
    return str(UUID(int=rng.getrandbits(128), version=4))


def rfc3339(time: datetime) -> str:
    """Print a UTC time as both vendors do: milliseconds and a Z."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
