"""How Stevora cuts its lists into pages."""

import msgspec
from attrs import define, frozen


@frozen
class Rows:
    """The rows of a page, and its place in the list."""

    rows: list[msgspec.Raw]
    total: int | None
    """How many rows the list has; None: Stevora did not say."""

    number: int
    size: int
    """How many rows a page holds, as far as is known."""

    @property
    def offset(self) -> int:
        """How many rows the list has before these."""
        return (self.number - 1) * self.size

    @property
    def is_missing(self) -> bool:
        """Whether there is nothing, where by the total there should be."""
        return not self.rows and (self.total or 0) > self.offset

    @property
    def is_last(self) -> bool:
        """Whether nothing follows; a short page alone does not say so.

        A total that is less than what the page shows was counted before, and says nothing.
        """
        if not self.rows:
            return True
        if self.total is None:
            return False
        is_full = len(self.rows) >= self.size
        is_outdated = self.offset + len(self.rows) > self.total
        return self.offset + self.size >= self.total and not (is_full and is_outdated)


@define
class PageSize:
    """How many rows come on a page when so many are asked for.

    It is learnt from the rows that come: what Stevora states may be no more than what was asked.
    """

    _asked: int
    rows: int
    _stated: int | None = None
    _most: int = 0
    """The most rows that a page has had."""

    _is_shown: bool = False
    """Whether a page has had so many rows, or Stevora has stated something else than was asked."""

    def is_full(self, rows: int) -> None:
        """Learn that a page of so many rows has another after it."""
        self.rows, self._is_shown = rows, True

    def see(self, number: int, rows: int, stated: int | None, total: int | None) -> int:
        """Learn from the rows of a page, and return its size.

        A page that others must follow is full, and so is one where none should be. Where only the
        total says that something is missing, the page itself is taken to be full for now, so that
        the one that may follow is asked for.
        """
        if stated not in {None, self._asked, self._stated}:
            self.rows, self._is_shown = stated or rows, True
        self._stated, total, self._most = stated, total or 0, max(self._most, rows)
        is_followed = number * self.rows < total
        is_beyond = not self._is_shown and 0 < total <= (number - 1) * self.rows
        if rows > self.rows or (rows > 0 and is_followed):
            self.rows = rows
        elif rows > 0 and is_beyond:
            self.rows = self._most  # the pages before are full, and this one need not be
        self._is_shown = self._is_shown or rows == self.rows
        is_short = rows < total - (number - 1) * self.rows
        return rows if rows and is_short and not self._is_shown else self.rows
