"""Reads one run: what is new in it, oldest first, lossless and with as few requests as possible.

Stevora lists a run's events oldest first, a page at a time, and as a rule only adds to the end. So
a read goes on at the page that holds the last event that was read, and an idle one is a single
request. The list's own total then tells whether that is all:

*more than were read*
    an event is hidden (see `levada_stevora.search`); pages are read again until it is found.
*less than were read*
    events were deleted; the list is read once more from its start.

Totals are counted by another query than the rows, so they may be off for a moment. A second answer
has to say the same, and what stays off is remembered and not looked into again.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

from attrs import evolve, frozen

from levada import Batch, Event, Gone, Json, Partition, Rejected, Retry, SourceContext
from levada.page import to_events
from levada_stevora import runs
from levada_stevora.client import EventRow, StevoraClient
from levada_stevora.kinds import KINDS
from levada_stevora.pages import Rows
from levada_stevora.progress import KEPT, Progress
from levada_stevora.search import Search

ENOUGH: Final = 2
"""So many totals that say that nothing is hidden end a search before it has been everywhere."""

HELD: Final = 1_000
"""So many events are held back, where an earlier one is hidden, so that it comes before them."""

BEYOND: Final = 4
"""So many pages after the last that brought something are searched, whatever a total says."""


@frozen
class Place:
    """A row of a page, and how many rows the list has before it."""

    offset: int
    row: Event | Rejected


class Reading:
    """One read of one run. It remembers the ids that it sees, some 80 bytes each, and no events.

    *since* is when the pass before began, if that is known.
    """

    def __init__(
        self,
        client: StevoraClient,
        run: Partition,
        position: Json,
        ctx: SourceContext,
        *,
        since: datetime | None,
        is_closed: bool,
    ) -> None:
        self._client = client
        self._run = run
        self._ctx = ctx
        self._since = since
        self._had = ctx.count(run.key)
        self._before = Progress.of(position)
        if is_closed and self._had > KEPT:
            self._before = evolve(self._before, floor=self._before.count)
        self._asked = client.asked_of(run.key)
        self._first = self._page_to_begin_at()
        # Read from its start, a list is counted; read from a later page, what is new is added.
        self._is_whole = self._first == 1 and not self._before.floor
        self._now = evolve(self._before, count=0) if self._is_whole else self._before
        self._kept = position
        self._total: int | None = None  # the highest, and the lowest, that a page has shown
        self._least: int | None = None
        self._last = Rows([], None, 1, client.events_on_a_page(self._asked))
        self._seen = set[int]()
        self._yielded = set[int]()  # before the list was read anew
        self._seams: list[int] = []
        self._unseen = 0  # on the latest page
        self._offsets: dict[str, int] = {}  # of events that are not yielded yet
        self._is_behind = False  # something before what was read is hidden
        self._has_news = False
        self._end = runs.End()
        self.is_over = False
        """Whether nothing will come any more; False until the read has come to its end."""

    def _page_to_begin_at(self) -> int:
        """Return the page of the last known event; of a run that is over, the one before it.

        There a late event is likeliest, and a second total tells more than one.
        """
        size, known = self._client.events_on_a_page(self._asked), self._before
        page = max(known.count - 1, 0) // size + 1
        return max(page - 1, known.floor // size + 1) if self._run.final else page

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield what is new.

        Raises:
            Gone: Stevora does not have the run, or not for this key.
        """
        held: list[Batch] = []
        for step in (self._resumed(), self._checked(), self._hidden()):
            async for batch in step:
                if batch.events or batch.rejected:
                    held.append(batch)
                    if not self._is_behind or sum(len(each.events) for each in held) >= HELD:
                        yield self._together(held)
                        held.clear()
        learnt = self._learn()
        self.is_over = learnt.final
        if held or self._now.position != self._kept or learnt != self._run:
            yield evolve(self._together(held), position=self._now.position, partition=learnt)

    def _together(self, batches: Sequence[Batch]) -> Batch:
        """Return one batch of several, its events in the order of the list."""
        events = [event for batch in batches for event in batch.events]
        rejected = [row for batch in batches for row in batch.rejected]
        position = batches[-1].position if batches else None
        self._kept = position or self._kept
        events.sort(key=lambda event: self._offsets.pop(event.id, 0))
        return Batch(events or (), position=position, rejected=rejected)

    # ── the pages, in order ─────────────────────────────────────────────────────────────────────

    async def _resumed(self) -> AsyncIterator[Batch]:
        """Read on from the last known event, which the first page may show to be elsewhere.

        It does if pages are smaller than expected; of larger ones that page may not be there.
        """
        page = await self._page(self._first)
        if self._is_elsewhere():
            page = await self._page(self._first)
        async for batch in self._onward(page):
            yield batch

    def _is_elsewhere(self) -> bool:
        """Tell whether the read should have begun at another page, which is its first from now."""
        before = self._first
        if not self._is_whole:
            self._first = self._page_to_begin_at()
        return self._first != before

    async def _onward(self, page: Rows | None) -> AsyncIterator[Batch]:
        """Read from a page to the end of the list, as long as pages bring something else."""
        while page is not None:
            yield await self._take(page)
            if self._unseen < len(page.rows):
                self._seams.append(page.offset)
            if page.is_last or not self._unseen:
                return
            following = await self._page(page.number + 1)
            if page.total is None and following is not None and following.rows:
                async for batch in self._filled(page):
                    yield batch
            page = following

    async def _filled(self, page: Rows) -> AsyncIterator[Batch]:
        """Read a page again that was short, and has another after it; no total tells why.

        It was filled meanwhile, or pages are of that size.
        """
        if len(page.rows) >= page.size:
            return
        again = await self._page(page.number)
        if again is not None and again.rows:
            yield await self._take(again)
            self._client.note_full(again, self._asked)

    async def _page(self, number: int) -> Rows | None:
        """Fetch a page; None where there is none.

        Stevora does not say what follows the last page: a 404 there may mean that page alone.
        """
        try:
            page = await self._fetch(number)
        except Gone as gone:
            if number == 1:
                raise
            size = self._client.events_on_a_page(self._asked)
            if self._total is None or (number - 1) * size >= self._total:
                return None
            raise Retry(f"{gone}; but the page before it is there") from gone
        self._last = page
        if page.total is not None:
            self._total = max(self._total or 0, page.total)
            self._least = min(self._least or page.total, page.total)
        return page

    async def _fetch(self, number: int) -> Rows:
        try:
            return await self._client.events(self._run.key, number, size=self._asked)
        except Gone as gone:
            raise Gone(str(gone), listed=runs.is_listed_open(self._run)) from gone

    # ── a list that has become shorter ──────────────────────────────────────────────────────────

    async def _checked(self) -> AsyncIterator[Batch]:
        """Read the list anew if it has become shorter, and its first page says so too."""
        if self._is_whole:
            if self._is_shorter(self._total) and self._now.count < self._before.count:
                self._say_shrunk(self._total)
            return
        if self._seen and not self._is_shorter(self._total):
            return
        page = await self._fetch(1)
        if not self._seen and self._is_elsewhere():
            async for batch in self._onward(await self._page(self._first)):
                yield batch
            if self._seen and not self._is_shorter(page.total):
                return
        if page.total is not None and not self._is_shorter(page.total):
            if not self._seen:
                raise Retry(
                    f"the page of run {self._run.key} with its last known event is not there"
                )
            self._total = page.total
            return
        self._say_shrunk(page.total)
        async for batch in self._tail(page) if self._before.floor else self._anew(page):
            yield evolve(batch, position=None)

    def _is_shorter(self, total: int | None) -> bool:
        read = max(self._now.count, self._before.count)
        return total is not None and total < read - self._before.excess

    async def _anew(self, page: Rows) -> AsyncIterator[Batch]:
        """Read the list from its start; it is counted again."""
        self._yielded, self._seen, self._seams = self._seen, set(), []
        self._is_whole, self._now = True, Progress()
        self._last, self._total = page, page.total
        async for batch in self._onward(page):
            yield batch

    async def _tail(self, page: Rows) -> AsyncIterator[Batch]:
        """Read the end of the list, as far back as ids are known, and take the rest for read."""
        floor = max((page.total or 0) - KEPT, 0)
        self._before, self._seen = evolve(self._before, floor=floor), set()
        number = floor // self._client.events_on_a_page(self._asked) + 1
        async for batch in self._onward(await self._page(number)):
            yield batch
        total = self._total or 0
        self._now = Progress(count=total, floor=total)

    def _say_shrunk(self, total: int | None) -> None:
        self._ctx.report(
            "history.shrank", partition=self._run.key, read=self._before.count, total=total
        )

    # ── events that are hidden ──────────────────────────────────────────────────────────────────

    async def _hidden(self) -> AsyncIterator[Batch]:
        """Search until as many were read as there are.

        What is not found is remembered, unless rows still change places: then it may be next time.
        """
        if self._total is None:
            return
        missing = self._missing
        if missing > self._before.missing:
            search = Search(self._client, self._run.key, floor=self._now.floor, size=self._asked)
            agreeing = 0
            last = evolve(self._last, total=min(self._total, self._credible))
            async for page in search.pages(last, self._seams, lambda: self._now.count):
                yield await self._take(page)
                agreeing += page.total is not None and page.total <= self._now.count
                if not self._missing or agreeing == ENOUGH:
                    break
            missing = 0 if agreeing else self._missing
            if missing:
                self._ctx.report("events.missing", partition=self._run.key, missing=missing)
            if not search.is_settled or (self._least or 0) <= self._now.count:
                missing = min(missing, self._before.missing)
        excess = max(self._now.count - self._total, 0)
        self._now = evolve(self._now, missing=missing, excess=excess)

    @property
    def _credible(self) -> int:
        """How many rows the list can have: the way through it came to an end on its last page."""
        return (self._last.number + BEYOND) * self._last.size

    @property
    def _missing(self) -> int:
        return max((self._total or 0) - self._now.count, 0)

    # ── what is new on a page ───────────────────────────────────────────────────────────────────

    async def _take(self, page: Rows) -> Batch:
        """Return what is new on a page, and count it."""
        unseen = self._look_at(page)
        new = await self._new(unseen)
        rejected = [
            each.row
            for each in unseen
            if isinstance(each.row, Rejected) and each.offset >= self._before.count
        ]
        more = len(unseen) if self._is_whole else len(new) + len(rejected)
        self._now = evolve(self._now, count=self._now.count + more)
        self._has_news = self._has_news or bool(new)
        offsets = {each.row.id: each.offset for each in unseen if isinstance(each.row, Event)}
        self._offsets |= {event.id: offsets[event.id] for event in new}
        known = self._now.count + self._before.missing
        self._is_behind = self._is_behind or (
            page.total is not None and known < page.offset + len(page.rows)
        )
        return Batch(new, position=self._now.position, rejected=rejected)

    def _look_at(self, page: Rows) -> Sequence[Place]:
        """Return the rows that this read has not seen yet, and note them.

        What cannot be read has no id to know it by, so its text must do.
        """
        unseen: list[Place] = []
        now = self._run.changed or self._client.http.now()
        key = self._run.key
        rows = to_events(page.rows, EventRow, partition=key, kinds=KINDS, now=now)
        for offset, row in enumerate(rows, page.offset):
            if isinstance(row, Event):
                self._end.see(row)
            name = _name(row)
            if name not in self._seen:
                self._seen.add(name)
                unseen.append(Place(offset, row))
        self._unseen = len(unseen)
        return unseen

    async def _new(self, unseen: Sequence[Place]) -> list[Event]:
        events = {
            each.row.id: each.row
            for each in unseen
            if isinstance(each.row, Event)
            and each.offset >= self._before.floor
            and _name(each.row) not in self._yielded
        }
        known = await self._ctx.known(self._run.key, events) if self._had else frozenset[str]()
        return [event for event in events.values() if event.id not in known]

    def _learn(self) -> Partition:
        found = runs.Finding(
            self._end.newest,
            self._end.ended,
            is_new=self._has_news,
            is_first=not self._had,
            since=self._since,
        )
        return runs.learnt(self._run, found, self._client.http.now())


def _name(row: Event | Rejected) -> int:
    """Return a number that stands for a row; two of a run practically never share one."""
    return hash(("event", row.id) if isinstance(row, Event) else ("rejected", row.raw))
