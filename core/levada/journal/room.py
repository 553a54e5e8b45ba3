"""How much of `max_journal_bytes` is taken, and how sources wait for more."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from attrs import frozen

from levada.errors import StateError
from levada.journal.files import PAGE_BYTES
from levada.journal.rows import DAMAGED

if TYPE_CHECKING:
    from levada.journal import Journal

log: logging.Logger = logging.getLogger("levada.journal")

LOG_BYTES = 16 * 1024 * 1024
LOG_PAGES = 1_000
"""After which SQLite's log is put into the file; what is on its way comes on top."""

FULL_CHECK_S = 0.2
FULL = 1.0
WARNINGS = (FULL, 0.8, 0.5)
CALMER = 0.25  # so much less full, and the same warning is worth another line


def usable(most: int) -> int:
    """Return how much of *most* bytes is for rows; the rest is for SQLite's log beside them."""
    return most - _of_log(most)


def bound_log(connection: sqlite3.Connection, most: int) -> int:
    """Have SQLite's log keep to its part of *most* bytes; return after how many pages to put it in."""
    connection.execute(f"PRAGMA journal_size_limit = {_of_log(most)}")
    return min(LOG_PAGES, _of_log(most) // 2 // PAGE_BYTES)


def _of_log(most: int) -> int:
    return min(LOG_BYTES, most // 3)


@frozen
class Taken:
    """About how many bytes a journal's rows take."""

    events: int
    letters: int
    """Dead letters."""

    @property
    def total(self) -> int:
        """What `max_journal_bytes` is about."""
        return self.events + self.letters

    @property
    def is_mostly_letters(self) -> bool:
        """Whether dead letters take more than events do."""
        return self.letters > self.events


def taken(read: Callable[..., list[tuple[str, str]]]) -> Taken:
    """Return what is taken, by a function that runs a query.

    Raises:
        StateError: that was damaged on the disk.
    """
    sizes = dict(read("SELECT name, value FROM meta WHERE name IN ('bytes', 'dead')"))
    try:
        return Taken(int(sizes["bytes"]), int(sizes.get("dead", 0)))
    except (KeyError, ValueError) as error:
        raise StateError(DAMAGED) from error


def grow(connection: sqlite3.Connection, size: int, of: Literal["bytes", "dead"] = "bytes") -> None:
    """Count bytes of events, or of dead letters, that have come, or with a minus have gone."""
    connection.execute(
        "INSERT INTO meta VALUES (?, max(0, ?))"
        " ON CONFLICT (name) DO UPDATE SET value = max(0, value + ?)",
        (of, size, size),
    )


class Room:
    """The room that a journal has for what sources read.

    What is pending and what is dead stays; what was delivered makes room before its time.
    """

    def __init__(self, journal: "Journal", most: int) -> None:
        self.full: bool = False
        """Whether sources are waiting."""
        self._journal = journal
        self._usable = usable(most)
        self._coming = 0
        self._warned = (0.0, False)
        """How full it was, and whether of dead letters."""

    def expect(self, size: int) -> None:
        """Count bytes that are on their way into the journal, or with a minus no longer are."""
        self._coming += size

    async def wait(self, size: int) -> None:
        """Wait until there is room for *size* bytes.

        A journal without events has room for anything, unless dead letters fill it: what is
        larger than half of it counts as that half.
        """
        while not self._is_for(size, now := taken(self._journal.read)):
            if not await self._journal.prune_early():
                self.full = True
                self._warn(now, FULL)
                await asyncio.sleep(FULL_CHECK_S)
        self.full = False
        self._warn(now, (now.total + self._coming) / self._usable)

    def _is_for(self, size: int, now: Taken) -> bool:
        if now.events + self._coming:
            return now.total + self._coming + size <= self._usable
        return now.letters + min(size, self._usable // 2) <= self._usable

    def _warn(self, now: Taken, fill: float) -> None:
        level = next((level for level in WARNINGS if fill >= level), 0.0)
        now_so = (level, bool(level) and now.is_mostly_letters)
        if now_so > self._warned:
            share = 100 * (now.total + self._coming) / self._usable
            more = ", too full for what comes next" if level == FULL else ""
            log.warning("the journal is %.0f %% full%s; %s", share, more, self._why(now))
        if now_so > self._warned or fill < self._warned[0] - CALMER:
            self._warned = now_so

    def _why(self, now: Taken) -> str:
        if now.is_mostly_letters:
            return "most of it is dead letters: see `levada dead list`, `retry` and `drop`"
        slowest = self._journal.slowest_sink()
        return f"sink '{slowest}' holds it back" if slowest else "there is no sink"
