"""Kapso's keyset paging: pages of a list that is shown newest first, cut between rows."""

from abc import abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Generic, Protocol, TypeVar

from attrs import frozen

from levada.sandbox.kapso.cursors import Key

__all__ = ["Page", "PageRequest", "Row", "page_of"]


class Row(Protocol):
    """Anything that sorts by time and id."""

    @property
    @abstractmethod
    def key(self) -> Key:
        """The sort values."""


R = TypeVar("R", bound=Row)


@frozen
class PageRequest:
    """What a client asked for; at most one of `after` (older rows) and `before` (newer rows)."""

    limit: int
    after: Key | None = None
    before: Key | None = None


@frozen
class Page(Generic[R]):
    """Rows newest first, and whether matching rows lie beyond either end."""

    rows: list[R]
    has_older: bool = False
    has_newer: bool = False

    @property
    def ends(self) -> tuple[R | None, R | None]:
        """The newest and the oldest row."""
        return (self.rows[0], self.rows[-1]) if self.rows else (None, None)


def page_of(
    rows: Sequence[R], request: PageRequest, matches: Callable[[R], bool] | None = None
) -> Page[R]:
    """Cut a page out of `rows`, which are sorted oldest first; the page is newest first.

    `before` answers the rows that border on its cursor. Kapso does not say whether it does too.
    """
    wanted = matches or (lambda _: True)
    to_newer = request.before is not None
    border = _border(rows, request)
    older, newer = range(border - 1, -1, -1), range(border, len(rows))
    ahead, behind = (newer, older) if to_newer else (older, newer)
    found = list(islice((rows[i] for i in ahead if wanted(rows[i])), request.limit + 1))
    page, goes_on = found[: request.limit], len(found) > request.limit
    came_from = any(wanted(rows[i]) for i in behind)
    if to_newer:
        return Page(page[::-1], has_older=came_from, has_newer=goes_on)
    return Page(page, has_older=goes_on, has_newer=came_from)


def _border(rows: Sequence[R], request: PageRequest) -> int:
    """Return the index of the first row that is newer than what the request asks for."""
    if request.before is not None:
        return bisect_right(rows, request.before, key=lambda row: row.key)
    if request.after is not None:
        return bisect_left(rows, request.after, key=lambda row: row.key)
    return len(rows)
