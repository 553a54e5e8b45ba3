"""Where a list goes on: every row once, and an end even where the server knows none."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from attrs import define, field

from levada import Context, Retry
from levada_kapso.cursors import widened
from levada_kapso.rows import Identified, Page

IDLE_PAGES: Final = 3
"""Pages in a row that lead on without bringing anything new, before that counts as no end."""

LONGEST_PAGE: Final = 100

SMALLER: Final = 8
"""So many times fewer rows are asked for where a page was too large."""

Query = dict[str, Any]


@define
class Walk:
    """The way through one list.

    `query` is what to add to the request for the next page, None at the end.
    """

    _ctx: Context
    _widens: bool
    query: Query | None = field(init=False, factory=dict)
    _exact: Query | None = field(init=False, factory=dict)
    _asked: set[tuple[Any, ...]] = field(init=False, factory=set)
    _begun: set[int] = field(init=False, factory=set)
    _idle: int = field(init=False, default=0)
    _most: int = field(init=False, default=LONGEST_PAGE)

    @property
    def is_resumed(self) -> bool:
        """Whether the next page is asked for by a cursor."""
        return bool(self.query)

    def asking(self, query: Mapping[str, Any]) -> Query:
        """Return the parameters of the next request; *query* are those of the list."""
        asked = {**query, **(self.query or {})}
        if "limit" in asked:
            asked["limit"] = min(asked["limit"], self._most)
        return asked

    def take_less(self, asked: Query) -> bool:
        """Ask for fewer rows, as the answer to *asked* was too large; whether that can be done.

        Pages that have numbers are all of one size.
        """
        limit = asked.get("limit", 1)
        self._most = max(1, limit // SMALLER)
        return limit > 1 and "page" not in asked

    def fall_back(self) -> bool:
        """Go on by the server's own cursor, where it refused one of ours; whether it did."""
        was_ours = self.query != self._exact
        self.query, self._widens = self._exact, False
        return was_ours

    def go_on(self, page: Page, place: str, asked: Query) -> None:
        """Find out what follows *page*, which was the answer to *place*, asked with *asked*.

        Raises:
            Retry: nothing new does, again and again, or it is full and does not say.
        """
        self._exact = page.next_query()
        if self._exact is None and len(page.data) >= asked.get("limit", len(page.data) + 1):
            if not page.tells_its_end:
                raise Retry(f"{place} does not say what follows a full page")
            self._exact = page.query_beyond()
        if self._exact is None:
            self.query = None
            return
        self._require_news(page, place)
        self.query = self._leading_on(page, self._exact, place)
        self._asked.add(_mark(self.query))

    def _leading_on(self, page: Page, exact: Query, place: str) -> Query:
        """Return the parameters that skip nothing, if they lead on.

        More rows of one time than a page holds may still fit on the longest one.
        """
        wide = self._wide(page, exact)
        if _mark(wide) not in self._asked:
            return wide
        longest = {**wide, "limit": LONGEST_PAGE}
        if wide != exact and _mark(longest) not in self._asked:
            return longest
        if wide != exact and _mark(exact) not in self._asked:
            self._ctx.report("paging.ties", at=place)  # more rows of one time than a page holds
            return exact
        self._ctx.report("paging.repeated", at=place)
        raise Retry(f"{place} sent the same cursor twice; its end was not reached")

    def _wide(self, page: Page, exact: Query) -> Query:
        if not self._widens or not page.data or "after" not in exact:
            return exact
        try:
            last = msgspec.json.decode(page.data[-1], type=Identified)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return exact
        return {"after": widened(exact["after"], last_id=str(last.id)) or exact["after"]}

    def _require_news(self, page: Page, place: str) -> None:
        """Notice cursors that are always new, before pages that are not."""
        first = hash(bytes(page.data[0])) if page.data else 0
        self._idle = self._idle + 1 if not page.data or first in self._begun else 0
        self._begun.add(first)
        if self._idle >= IDLE_PAGES:
            self._ctx.report("paging.repeated", at=place)
            raise Retry(f"{place} goes on without anything new; its end was not reached")


def _mark(query: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(query.values())
