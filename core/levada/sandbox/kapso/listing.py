"""How Kapso answers a list: its rows, and where it goes on, by cursor or by page number."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

from attrs import evolve, frozen

from levada.sandbox.http import RecordedRequest, Response, json_response
from levada.sandbox.kapso.cursors import encode_cursor
from levada.sandbox.kapso.paging import Page, Row, page_of
from levada.sandbox.kapso.query import Query, QueryError, integer, page_request
from levada.sandbox.kapso.quirks import KapsoQuirks

__all__ = ["Listing"]

R = TypeVar("R", bound=Row)
Matches = Callable[[R], bool]
Show = Callable[[R], object]

_DEFAULT_PER_PAGE: Final = 20
_MOST_PER_PAGE: Final = 100
_MOST_PAGES: Final = 1_000_000


@frozen
class Listing:
    """One request for a list. `url` is the server's, without a path."""

    request: RecordedRequest
    url: str
    quirks: KapsoQuirks

    def answer(self, rows: Sequence[R], matches: Matches[R] | None, show: Show[R]) -> Response:
        """Answer with a page of `rows`, which are sorted oldest first.

        Raises:
            QueryError: A parameter cannot be read.
        """
        if self._is_numbered:
            return self._numbered(rows, matches or (lambda _: True), show)
        page = self._page(rows, matches)
        content = {"data": [show(row) for row in page.rows], "paging": self._paging(page)}
        return json_response(HTTPStatus.OK, content)

    @property
    def _query(self) -> Query:
        return self.request.query

    # ── by cursor ───────────────────────────────────────────────────────────────────────────────

    def _page(self, rows: Sequence[R], matches: Matches[R] | None) -> Page[R]:
        asked = page_request(self._query)
        for name in ("after", "before"):
            if self.quirks.expired_cursors and name in self._query:
                raise QueryError(f"{name} is not a valid cursor")
        limit = min(asked.limit, self.quirks.page_cap or asked.limit) + self.quirks.extra_rows
        return page_of(rows, evolve(asked, limit=limit), matches)

    def _paging(self, page: Page[R]) -> dict[str, Any]:
        """Return the `paging` object of the answer.

        A page with rows always has both cursors; only `next` and `previous` tell where the
        list goes on.
        """
        before, after = (self._cursor(row) for row in page.ends)
        following = after if page.has_older else None
        if self.quirks.repeated_cursor and "after" in self._query:
            following = self._query["after"]
        return {
            "cursors": {"before": before, "after": after},
            "next": self._link("after", following),
            "previous": self._link("before", before if page.has_newer else None),
        }

    def _cursor(self, row: Row | None) -> str | None:
        if row is None:
            return None
        return encode_cursor(row.key, with_id=not self.quirks.timestamp_cursors)

    def _link(self, name: str, cursor: str | None) -> str | None:
        if cursor is None or not self.quirks.next_urls:
            return cursor
        kept = {key: x for key, x in self._query.items() if key not in {"after", "before"}}
        return f"{self.url}{quote(self.request.path)}?{urlencode({**kept, name: cursor})}"

    # ── by number, as Kapso had it before ───────────────────────────────────────────────────────

    @property
    def _is_numbered(self) -> bool:
        wants_cursors = self._query.keys() & {"limit", "after", "before"}
        return self.quirks.meta_paging == "always" or (
            self.quirks.meta_paging == "without_limit" and not wants_cursors
        )

    def _numbered(self, rows: Sequence[R], matches: Matches[R], show: Show[R]) -> Response:
        number = integer(self._query, "page", default=1, most=_MOST_PAGES)
        limit = integer(self._query, "limit", default=_DEFAULT_PER_PAGE, most=_MOST_PER_PAGE)
        size = integer(self._query, "per_page", default=limit, most=_MOST_PER_PAGE)
        size = min(size, self.quirks.page_cap or size)
        found = [row for row in reversed(rows) if matches(row)]
        shown = [show(row) for row in found[(number - 1) * size : number * size]]
        meta = {
            "page": number,
            "per_page": size,
            "total_pages": -(-len(found) // size),
            "total_count": len(found),
        }
        headers = {"X-Total": str(len(found)), "X-Page": str(number)}
        return json_response(HTTPStatus.OK, {"data": shown, "meta": meta}, headers)
