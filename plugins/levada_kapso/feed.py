"""Kapso's log search as a feed of hints: which executions have written an event lately.

The search covers all workflows of the project in one request, but is a copy that may lag, be cut or
be switched off. So it only says what to read; every `reconcile` all lists are looked at as well.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from attrs import define, evolve

from levada import Checkpoint, Gone, Partition
from levada.page import parse_time
from levada_kapso.discovery import Discovery
from levada_kapso.rows import LogEvent

OVERLAP: Final = timedelta(minutes=2)
"""How much later than it was written an event may show in the search."""

PAGES: Final = 5
"""Pages of the search worth asking for; where there are more, the lists are cheaper."""

PAGE_SIZE: Final = 100  # the most that the search gives at once


@define
class Feed:
    """A pass by the feed where it says enough, otherwise by the lists."""

    _discovery: Discovery
    _reconcile: timedelta

    async def partitions(self) -> AsyncIterator[Partition | Checkpoint]:
        """Yield what may have something new, then the checkpoint."""
        events = await self._events()
        if events is None:
            async for each in self._discovery.partitions():
                yield each
            return
        for partition in self._hinted(events):
            yield partition
        missing = self._discovery.capabilities.missing
        fed = self._discovery.client.http.now().isoformat()
        yield Checkpoint({**self._discovery.position, "fed": fed, "missing": missing})

    async def _events(self) -> list[LogEvent] | None:
        """Return what was written since the last pass; None where the lists have to tell."""
        looked = parse_time(self._discovery.position.get("at"))
        capabilities = self._discovery.capabilities
        if looked is None or not capabilities.has("log_search"):
            return None
        since = (parse_time(self._discovery.position.get("fed")) or looked) - OVERLAP
        try:
            found = await self._search(since)
        except Gone as gone:
            capabilities.miss("log_search", gone)
            return None
        if found is None:
            self._discovery.ctx.report("log_search.unavailable")
        # Asked last: before the first answer the vendor's time is not known.
        is_due = self._discovery.began - looked >= self._reconcile
        return None if is_due else found

    async def _search(self, since: datetime) -> list[LogEvent] | None:
        """Return the events since a moment; None if the search cannot tell all of them.

        The order of its pages is not documented: they end where it says so, or with a page that
        is newest first and reaches below that moment, or is below it altogether.
        """
        found: list[LogEvent] = []
        cursor: str | None = None
        for _ in range(PAGES):
            page = (await self._discovery.client.log_search(limit=PAGE_SIZE, cursor=cursor)).data
            if not page.available:
                return None
            late = [event for event in page.events if _is_since(event, since)]
            found += late
            following = page.pagination
            is_last = following is None or not following.has_more
            if is_last or not late or _reaches_below(page.events, since):
                return found
            cursor = following.next_cursor if following else None
        return None

    def _hinted(self, events: Iterable[LogEvent]) -> Iterable[Partition]:
        """Yield the executions that wrote something, and the open ones as they were: not due."""
        tracked = self._discovery.tracked
        hinted = {
            str(event.flow_execution_id): event for event in events if event.flow_execution_id
        }
        for key, event in hinted.items():
            if key in tracked:
                yield evolve(tracked[key], version=None)
            elif self._is_wanted(event):
                workflow = None if event.flow_id is None else str(event.flow_id)
                yield self._discovery.executions.bare(key, workflow)
        for key in tracked.keys() - hinted.keys():
            yield tracked[key]

    def _is_wanted(self, event: LogEvent) -> bool:
        wanted = self._discovery.scope.workflows
        return not wanted or str(event.flow_id) in wanted


def _reaches_below(events: Sequence[LogEvent], since: datetime) -> bool:
    times = [time for event in events if (time := parse_time(event.timestamp)) is not None]
    return len(times) == len(events) and times == sorted(times, reverse=True) and times[-1] < since


def _is_since(event: LogEvent, since: datetime) -> bool:
    moment = parse_time(event.ingested_at) or parse_time(event.timestamp)
    return moment is None or moment >= since
