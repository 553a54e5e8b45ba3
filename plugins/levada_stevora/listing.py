"""One list of runs, and what is new in it since it was last looked at.

Stevora does not say how runs are ordered, and cannot be asked for those since a moment. The pages
themselves show the order, and the total how many runs are new:

*newest first*
    pages are read from the first on, until one has a run that was there before.
*oldest first*
    reading begins at the page where the list ended, and goes on to its new end.
*in no order*
    all pages are read whenever the total has changed.

In the first two, a run that became visible late lies deeper. So while the total says that more are
new than were found, reading goes on toward the older ones.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final, TypeAlias

from attrs import frozen

from levada import Gone, Rejected, Retry
from levada.page import decode_items, parse_time
from levada_stevora.client import RunRow
from levada_stevora.known import Known
from levada_stevora.order import Order, Sorting
from levada_stevora.pages import Rows

Fetch: TypeAlias = Callable[[int], Awaitable[Rows]]
"""Fetches the page of a number."""

STALE: Final = 2
"""After so many pages without anything unseen, those that follow are taken to be the same again."""


@frozen(kw_only=True)
class Memory:
    """What the host and earlier passes know of runs."""

    is_tracked: Callable[[RunRow], bool]
    """Whether a run is open, or events of it were read."""

    settled: datetime | None
    """Runs created before are of no interest."""

    report: Callable[[str], None]
    """Tells of a row that cannot be read, and why."""

    is_believed: Callable[[Rows], bool]
    """Whether a page shows nothing for so long now that it has to be taken as it is."""


@frozen
class Sheet:
    """The runs on a page, and how many of them this pass had not seen."""

    page: Rows
    rows: Sequence[RunRow]
    unseen: int


class Listing:
    """Looks at a list once; afterwards `known` is what to remember of it.

    *before* is None at the first look. *shortcuts* fetch lists that together hold what is of
    interest in this one.
    """

    def __init__(
        self,
        fetch: Fetch,
        before: Known | None,
        memory: Memory,
        *,
        shortcuts: Sequence[Fetch] = (),
    ) -> None:
        self._fetch = fetch
        self._shortcuts = shortcuts
        self._is_first = before is None
        self._before = before or Known()
        self._since = parse_time(self._before.since)
        self._memory = memory
        self._sorting = Sorting(self._before.order)
        self._total: int | None = None
        self._least: int | None = None  # the lowest total that a page has shown
        self._size = 1
        self._numbers = set[int]()
        self._edges: dict[Order | None, tuple[int, Sequence[RunRow]]] = {}
        self._seen = set[str]()
        self._unreadable = self._fresh = 0
        self._missing: Rows | None = None  # a page that shows nothing, though the total counts it
        self._has_shrunk = self._is_short_cut = self._is_doubtful = self._repeats = False

    async def news(self, page_size: int) -> AsyncIterator[Sequence[RunRow]]:
        """Yield the runs on as many pages as it takes; *page_size* is what to expect of one."""
        if self._sorting.order == "newest":
            way = self._from_first()
        elif self._sorting.order == "oldest":
            end = self._before.count if self._before.low is None else self._before.low
            way = self._from_last(max(1, -(-end // page_size)))
        else:
            way = self._whole()
        async for rows in way:
            yield rows
        if self._missing is not None:
            self._doubt(self._missing)

    async def all(self) -> AsyncIterator[Sequence[RunRow]]:
        """Yield the runs on all pages."""
        async for sheet in self._onward(1):
            yield sheet.rows

    async def rest(self) -> AsyncIterator[Sequence[RunRow]]:
        """Yield the runs on all other pages, as long as they bring something else."""
        number = stale = 0
        while self.left and stale < STALE:
            number += 1
            if number not in self._numbers:
                sheet = await self._sheet(number)
                yield sheet.rows
                stale = 0 if sheet.unseen else stale + 1

    @property
    def left(self) -> int:
        """How many pages were not read, as far as is known."""
        pages = -(-(self._total or 0) // self._size)
        return pages - sum(number <= pages for number in self._numbers)

    @property
    def is_disordered(self) -> bool:
        """Whether it was found out just now that more pages than one are in no order."""
        has_pages = (self._total or 0) > self._size
        return has_pages and self._sorting.order == "none" and self._before.order != "none"

    @property
    def total(self) -> int | None:
        """What it says last how many runs there are."""
        return self._total

    @property
    def lacks(self) -> int:
        """How many runs more than before it counts and does not show, now that all was read.

        0: less than a page, which may be of another moment, and its pages did not repeat.
        """
        lacks = self.known.missing - self._before.missing
        return lacks if lacks >= self._size or self._repeats else 0

    # ── ways through the list ───────────────────────────────────────────────────────────────────

    async def _from_first(self) -> AsyncIterator[Sequence[RunRow]]:
        async for sheet in self._onward(1):
            yield sheet.rows
            if self._sorting.order == "newest" and self._is_enough(sheet):
                return

    async def _from_last(self, number: int) -> AsyncIterator[Sequence[RunRow]]:
        lowest: Sheet | None = None
        async for sheet in self._onward(number):
            lowest = lowest or sheet
            yield sheet.rows
        while number > 1:
            if self._sorting.order == "oldest" and lowest is not None and self._is_enough(lowest):
                return
            number -= 1
            lowest = await self._sheet(number)
            yield lowest.rows
        async for rows in self.rest():  # pages are smaller than they were taken to be
            yield rows

    async def _whole(self) -> AsyncIterator[Sequence[RunRow]]:
        """Read all of it, unless it is in no order and has as many runs as before."""
        first = await self._sheet(1)
        yield first.rows
        if first.page.is_last or self._is_unchanged():
            return
        if self._shortcuts and self.left > len(self._shortcuts):
            self._is_short_cut = True
            for fetch in self._shortcuts:
                async for rows in Listing(fetch, None, self._memory).all():
                    yield rows
            return
        async for sheet in self._onward(2):
            yield sheet.rows
            if self._is_unchanged():  # the total before was of another moment
                return

    def _is_unchanged(self) -> bool:
        """Tell whether a list in no order has as many runs as before."""
        before = self._before
        return before.order == "none" and self._total == before.count + before.missing

    async def _onward(self, number: int) -> AsyncIterator[Sheet]:
        stale = 0
        while True:
            sheet = await self._sheet(number)
            yield sheet
            stale = 0 if sheet.unseen else stale + 1
            if sheet.page.is_last or stale == STALE:
                self._repeats = not sheet.page.is_last
                return
            if self._has_shrunk and number > 1:  # rows have moved to the page before
                yield await self._sheet(number - 1)
            number += 1

    # ── a page ──────────────────────────────────────────────────────────────────────────────────

    async def _sheet(self, number: int) -> Sheet:
        page = await self._page(number)
        rows: list[RunRow] = []
        for row in decode_items(page.rows, RunRow):
            if isinstance(row, Rejected):
                self._memory.report(row.reason)
            else:
                rows.append(row)
        unseen = {str(row.id): row for row in rows if str(row.id) not in self._seen}
        self._seen.update(unseen)
        self._unreadable += len(page.rows) - len(rows)
        self._fresh += sum(not self._was_there(row) for row in unseen.values())
        self._note(page, rows)
        return Sheet(page, rows, len(unseen))

    async def _page(self, number: int) -> Rows:
        """Fetch a page. Stevora does not say what follows the last: a 404 may mean that."""
        try:
            page = await self._fetch(number)
        except Gone:
            if number == 1:
                raise
            page = Rows([], self._total, number, self._size)
        if page.is_missing:
            self._missing = page
        return page

    def _doubt(self, page: Rows) -> None:
        """Doubt a page that shows nothing, if the total counts runs that nobody has seen.

        Raises:
            Retry: it counts more than a page of them, so it is surely the page that is wrong.
        """
        accounted = max(len(self._seen) + self._unreadable, self._before.count + self._fresh)
        lacking = (page.total or 0) - accounted - self._before.missing
        if lacking <= 0:
            return
        is_believed = self._memory.is_believed(page)
        if lacking >= page.size and not is_believed:
            raise Retry(f"page {page.number} shows no runs, though there are {page.total}")
        self._is_doubtful = lacking >= page.size or not is_believed

    def _note(self, page: Rows, rows: Sequence[RunRow]) -> None:
        self._numbers.add(page.number)
        self._size = page.size
        before, self._total = self._total, self._total if page.total is None else page.total
        self._has_shrunk = before is not None and (self._total or 0) < before
        if page.total is not None:
            self._least = min(self._least or page.total, page.total)
        if rows:
            if page.number <= self._edges.get("newest", (page.number, ()))[0]:
                self._edges["newest"] = page.number, rows
            if page.number >= self._edges.get("oldest", (page.number, ()))[0]:
                self._edges["oldest"] = page.number, rows
        self._sorting.see(page.number, _created(rows))

    # ── what was there before ───────────────────────────────────────────────────────────────────

    def _was_there(self, row: RunRow) -> bool:
        created = parse_time(row.created_at)
        if str(row.id) in self._before.edge:
            return True
        if created is not None and self._since is not None and created > self._since:
            return False
        settled = self._memory.settled
        is_settled = created is not None and settled is not None and created < settled
        return is_settled or self._memory.is_tracked(row)

    def _is_enough(self, sheet: Sheet) -> bool:
        """Whether a page has a run that was there before, and nothing new can be behind it."""
        oldest = min(_created(sheet.rows), default=None)
        is_known = any(str(row.id) in self._before.edge for row in sheet.rows)
        if not is_known and (oldest is None or self._since is None or oldest > self._since):
            return False
        if self._total is None or self._total - self._count <= self._before.missing:
            return True
        settled = self._memory.settled
        return settled is not None and oldest is not None and oldest < settled

    @property
    def _is_complete(self) -> bool:
        """Whether all pages were read."""
        return not self._is_short_cut and (self._is_first if self._total is None else not self.left)

    @property
    def _count(self) -> int:
        """How many runs are accounted for."""
        if self._is_complete:
            return len(self._seen) + self._unreadable
        if self._is_short_cut:
            return self._total or 0
        return self._before.count + (0 if self._sorting.order == "none" else self._fresh)

    @property
    def known(self) -> Known:
        """What to remember."""
        count, low = self._count, None
        missing = max((self._least or 0) - count, 0 if self._is_complete else self._before.missing)
        if self._is_doubtful:  # to be searched again
            missing = self._before.missing
        if not self._is_complete and self._total is not None and self._total < count:
            low = self._total
            if self._before.low is not None:
                count, low = max(low, self._before.low), None
        _, edge = self._edges.get(self._sorting.order, (0, ()))
        since = min(_created(edge), default=None)
        return Known(
            count=count,
            missing=missing,
            low=low,
            order=self._sorting.order,
            edge=[str(row.id) for row in edge],
            since=since.isoformat() if since else None,
        )


def _created(rows: Sequence[RunRow]) -> list[datetime]:
    return [time for row in rows if (time := parse_time(row.created_at)) is not None]
