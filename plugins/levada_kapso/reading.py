"""Reads one execution: what is new in it, oldest first, with as few requests as possible.

Kapso lists events newest first and cannot be asked for those since a moment. Three ways lead to
what is new:

*the newest page*
    is enough for an execution that goes on. All of its rows are looked at, and further pages until
    one has a row older than `window` before the newest event of the last read.
*the detail*
    has all events of the execution in one answer. It is taken where the first read needs more than
    a page, for the last look at one that is over, and to find out what has become of one that its
    lists do not show. It counts only if it can be seen to be whole.
*all pages*
    where the detail is not there, is cut, or too large.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import timedelta
from functools import cached_property
from typing import Final

import msgspec
from attrs import evolve, frozen

from levada import (
    Batch,
    Event,
    Fatal,
    Gone,
    Json,
    Partition,
    Rejected,
    Retry,
    SourceContext,
    TooLarge,
)
from levada.page import decode_items, parse_time, to_events
from levada_kapso.capabilities import Capabilities
from levada_kapso.client import KapsoClient
from levada_kapso.executions import (
    ENDS,
    Executions,
    ended,
    is_listed_open,
    is_unconfirmed,
    latest,
    workflow_of,
)
from levada_kapso.kinds import KINDS
from levada_kapso.rows import EventRow, ExecutionRow

LARGE: Final = 5_000
"""Events of an execution up to which the detail is asked for a second time: about 3 MB."""

BATCH: Final = 500
"""Events of a detail in one batch."""

TICK: Final = timedelta.resolution

STARTED: Final = "execution_started"

Rows = Sequence[Event | Rejected]


@frozen(kw_only=True)
class Terms:
    """The source's options that a read goes by."""

    page_size: int
    window: timedelta
    linger: timedelta
    hold: timedelta


@frozen(kw_only=True)
class Kapso:
    """What all reads of a source share."""

    client: KapsoClient
    ctx: SourceContext
    capabilities: Capabilities
    executions: Executions
    terms: Terms
    is_forgotten: Callable[[Partition], bool]
    """Whether an execution that is over was read and forgotten; see `Discovery`."""

    reported: set[str]
    """Types of events that were reported as unknown."""

    def events_of(self, items: Iterable[msgspec.Raw], partition: Partition) -> Rows:
        """Make events of items that come oldest first."""
        rows = to_events(
            list(items),
            EventRow,
            partition=partition.key,
            kinds=KINDS,
            now=partition.changed or self.client.http.now(),
        )
        unknown = {row.type for row in rows if isinstance(row, Event) and row.kind is None}
        for name in unknown - self.reported:
            self.reported.add(name)
            self.ctx.report("type.unknown", type=name[:100])
        return rows


class Reading:
    """One read of one execution; `position` is that of the last one, or None."""

    def __init__(self, kapso: Kapso, partition: Partition, position: Json) -> None:
        self._kapso = kapso
        self._partition = partition
        self._newest = parse_time(position["newest"]) if position else None
        self._is_first = position is None
        self._was_over = bool(position and position.get("over"))
        self._newest_seen = self._newest
        self._learnt: Partition | None = None
        self._holds = False
        self._asked_for_whole = False

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield what is new. Only the last batch has a position: a read cut short begins anew."""
        missing: Gone | None = None
        if self._wants_whole():
            try:
                whole = await self._whole()
            except Gone as gone:
                whole, missing = None, gone
            if self._learnt is not None and self._was_read_long_ago(self._learnt):
                yield Batch((), position=self._end(), partition=self._learnt)
                return
            if whole is not None:
                async for batch in self._of_whole(whole):
                    yield batch
                return
        async with aclosing(self._walk()) as walk:
            rows, goes_on = await anext(walk)
            if missing is not None:  # the execution is there, so it is the route that is not
                self._kapso.capabilities.miss("detail", missing)
            self._judge(rows)
            whole = await self._instead(rows) if goes_on and self._is_first else None
            batches = self._of_pages(rows, walk) if whole is None else self._of_whole(whole)
            async for batch in batches:
                yield batch

    # ── the detail ──────────────────────────────────────────────────────────────────────────────

    def _wants_whole(self) -> bool:
        if not self._kapso.capabilities.has("detail"):
            return False
        if is_unconfirmed(self._partition):
            return self._count <= LARGE
        # Where a single page has everything, it is as good, and smaller.
        return self._is_last_look and self._kapso.terms.page_size <= self._count <= LARGE

    def _was_read_long_ago(self, shown: Partition) -> bool:
        """Notice an execution somebody asked for whose ids nobody remembers: it would come twice."""
        if not (shown.final and self._is_first and not self._count):
            return False
        if not self._kapso.is_forgotten(shown):
            return False
        self._kapso.ctx.report("execution.forgotten", partition=shown.key)
        return True

    async def _instead(self, first_page: Rows) -> Rows | None:
        """Fetch the detail in the place of further pages."""
        if self._asked_for_whole or not self._kapso.capabilities.has("detail"):
            return None
        try:
            whole = await self._whole(first_page)
        except Gone as gone:
            self._kapso.capabilities.miss("detail", gone)
            return None
        if whole is None:
            self._learnt = None  # it is newer than the page that is read instead
        return whole

    async def _whole(self, first_page: Rows = ()) -> Rows | None:
        """Fetch the detail; None if it cannot be trusted to have all events.

        Raises:
            Gone: the execution is not there, or the route is not.
        """
        kapso, self._asked_for_whole = self._kapso, True
        try:
            detail = await kapso.client.detail(self._partition.key)
        except (TooLarge, Retry, Fatal) as failure:
            if isinstance(failure, Fatal) and not failure.of_one:
                raise
            key = self._partition.key
            kapso.ctx.report("detail.unusable", partition=key, reason=str(failure)[:200])
            return None
        (row,) = decode_items([detail.data], ExecutionRow)
        if isinstance(row, Rejected) or str(row.id) != self._partition.key:
            return None
        shown = kapso.executions.partition(row, workflow_of(self._partition))
        self._learnt = evolve(shown, changed=latest(shown.changed, self._partition.changed))
        rows = kapso.events_of(_oldest_first(detail.events), self._learnt)
        if await self._is_whole(_events(rows), row, first_page):
            return rows
        kapso.ctx.report("detail.unusable", partition=self._partition.key, reason="events are cut")
        return None

    async def _is_whole(self, events: Sequence[Event], row: ExecutionRow, first_page: Rows) -> bool:
        """Whether a detail shows all events: it may be cut at either end."""
        if not events or len(events) < self._count:
            return False
        ids = {event.id for event in events}
        if first_page and not ids > {event.id for event in _events(first_page)}:
            return False  # a page that others follow is a part of the whole
        last = parse_time(row.last_event_at)
        if not first_page and last is not None and max(event.time for event in events) < last:
            return False
        if any(event.type == STARTED for event in events):
            return True
        return bool(await self._kapso.ctx.known(self._partition.key, [events[0].id]))

    async def _of_whole(self, rows: Rows) -> AsyncIterator[Batch]:
        fresh = await self._fresh(self._unsettled(rows, page=0))
        rejected = [row for row in rows if isinstance(row, Rejected)]
        for start in range(0, max(len(fresh), 1), BATCH):
            is_last = start + BATCH >= len(fresh)
            yield Batch(
                fresh[start : start + BATCH],
                position=self._end() if is_last else None,
                rejected=rejected if is_last else (),
                partition=self._outcome if is_last else None,
            )

    # ── the pages ───────────────────────────────────────────────────────────────────────────────

    async def _walk(self) -> AsyncGenerator[tuple[Rows, bool], None]:
        """Yield page after page, newest event first, and whether there are more."""
        kapso, key = self._kapso, self._partition.key
        async with aclosing(kapso.client.events(key, limit=kapso.terms.page_size)) as pages:
            try:
                async for page in pages:
                    rows = kapso.events_of(page.data[::-1], self._partition)
                    yield rows[::-1], page.next_query() is not None
            except Gone as gone:
                raise Gone(str(gone), listed=is_listed_open(self._partition)) from gone

    async def _of_pages(
        self, rows: Rows, walk: AsyncGenerator[tuple[Rows, bool], None]
    ) -> AsyncIterator[Batch]:
        """Walk back to what is settled, and yield the walk oldest first."""
        backlog, gone, number = self._kapso.ctx.backlog(), None, 0
        try:
            while True:
                rejected, done = self._rejected(rows)
                if rejected:
                    yield Batch((), rejected=rejected)
                backlog.push(await self._fresh(self._unsettled(rows, page=number)))
                if done:
                    break
                rows, _ = await anext(walk)
                number += 1
        except StopAsyncIteration:
            pass
        except Gone as error:
            gone = error  # what the walk has brought cannot be had a second time
        async for batch in backlog.batches(None if gone else self._end()):
            yield batch if batch.position is None else evolve(batch, partition=self._outcome)
        if gone:
            raise gone

    def _rejected(self, rows: Rows) -> tuple[list[Rejected], bool]:
        """Return what cannot be read among rows that are not settled, and whether some are.

        What cannot be read is as old as the rows around it.
        """
        found: list[Rejected] = []
        for row in rows:
            if isinstance(row, Rejected):
                found.append(row)
            elif self._newest is not None and row.time < self._newest - self._look_back:
                return found, True
        return found, False

    def _judge(self, rows: Rows) -> None:
        """See from its events whether an execution of which nothing else is known is over.

        The end need not be the first row: others may have the same time.
        """
        end = next((event for event in _events(rows) if event.type in ENDS), None)
        if end is not None and self._learnt is None and is_unconfirmed(self._partition):
            self._learnt = ended(self._partition, end)

    # ── what is new, and what is settled ────────────────────────────────────────────────────────

    @cached_property
    def _count(self) -> int:
        """How many events were read before."""
        return self._kapso.ctx.count(self._partition.key)

    @property
    def _is_last_look(self) -> bool:
        """Whether the execution is over and the linger too, after it was read before."""
        return not self._is_first and not self._was_over and self.is_over

    @property
    def is_over(self) -> bool:
        """Whether the execution is over, as far as is known, and the linger too."""
        partition = self._learnt or self._partition
        if not partition.final:
            return False
        changed = partition.changed
        now = self._kapso.client.http.now()
        return changed is None or now - changed >= self._kapso.terms.linger

    @property
    def _look_back(self) -> timedelta:
        terms = self._kapso.terms
        return max(terms.window, terms.linger) if self._is_last_look else terms.window

    def _unsettled(self, rows: Rows, *, page: int) -> list[Event]:
        """Return the events that may be new. Of an execution that goes on, all ids are known.

        Of one that was over only the newest are, so what is older is taken to be known.
        """
        newest = self._newest
        if newest is None or not self._was_over:
            return _events(rows)
        oldest = newest - self._look_back if page == 0 else newest + TICK
        return [event for event in _events(rows) if event.time >= oldest]

    async def _fresh(self, events: Sequence[Event]) -> list[Event]:
        """Return the events that were not read before and need not be held, and note the newest."""
        hold, now = self._kapso.terms.hold, self._kapso.client.http.now()
        if hold and not self.is_over:
            ripe = [event for event in events if event.time <= now - hold]
            self._holds = self._holds or len(ripe) < len(events)
            events = ripe
        self._newest_seen = latest(self._newest_seen, *(event.time for event in events))
        if self._is_first:  # it is all new, or the journal sees to it
            return list(events)
        known = await self._kapso.ctx.known(self._partition.key, [event.id for event in events])
        return [event for event in events if event.id not in known]

    def _end(self) -> Json:
        """Return the position after the read.

        An event dated in the future would move the window past events yet to come, so the
        vendor's clock is as far as it goes.
        """
        newest = self._newest_seen
        shown = min(newest, self._kapso.client.http.now()).isoformat() if newest else None
        return {"newest": shown, "over": True} if self.is_over else {"newest": shown}

    @property
    def _outcome(self) -> Partition | None:
        """What the read learnt of the execution; one with events held back is to be read again."""
        if self._holds:
            return evolve(self._learnt or self._partition, version=None)
        return self._learnt


def _events(rows: Rows) -> list[Event]:
    return [row for row in rows if isinstance(row, Event)]


def _oldest_first(items: Sequence[msgspec.Raw] | None) -> Sequence[msgspec.Raw]:
    """Return the events of a detail as Kapso says they are ordered, should they not be."""
    items = items or ()
    rows = decode_items((*items[:1], *items[-1:]), EventRow)
    times = [parse_time(row.time) for row in rows if not isinstance(row, Rejected)]
    known = [time for time in times if time is not None]
    return items if known == sorted(known) else items[::-1]
