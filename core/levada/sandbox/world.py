"""What both vendors' worlds share: a seed, a clock of their own and a lock."""

from datetime import UTC, datetime, timedelta
from random import Random
from threading import RLock
from typing import Final
from uuid import UUID

from attrs import define, field

__all__ = ["DEFAULT_START", "World", "new_uuid", "rfc3339", "whole_milliseconds"]

DEFAULT_START: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
_LONGEST_GAP_MS: Final = 4_000


@define(kw_only=True, eq=False)
class World:
    """Deterministic plain data: the same seed and the same calls make the same world.

    `now` is the world's own clock. It moves only when something happens in it, so that events
    strictly increase in time unless a caller dates one itself. Every change holds `lock`, and so
    does a server while it builds an answer: change a served world from any thread.
    """

    seed: int = 7
    now: datetime = DEFAULT_START
    lock: RLock = field(init=False, factory=RLock, repr=False)
    steps_grown: int = field(init=False, default=0)

    def rng(self, name: str) -> Random:
        """Return the random numbers of one thing in the world; its name decides them."""
        return Random(f"{self.seed}/{name}")  # noqa: S311 - reproducible data, no secrets

    def advance(self, rng: Random) -> datetime:
        """Move the clock on by up to four seconds and return it."""
        self.now += timedelta(milliseconds=rng.randint(1, _LONGEST_GAP_MS))
        return self.now


def whole_milliseconds(time: datetime) -> datetime:
    """Cut a time to what `rfc3339` prints of it."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def new_uuid(rng: Random) -> str:
    """Return the next UUID of `rng`."""
    return str(UUID(int=rng.getrandbits(128), version=4))


def rfc3339(time: datetime) -> str:
    """Print a UTC time as both vendors do: milliseconds and a Z."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
