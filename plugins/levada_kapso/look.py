"""A look at one workflow: its new executions, and what its open ones show, in few requests.

The list of executions is newest first and can begin at a start. It shows new executions as well as
the status and last event of open ones, so where one page reaches back to the oldest open one, that
page is all there is to ask. Otherwise the open ones are listed by status, which is shorter.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from math import ceil, inf
from typing import TYPE_CHECKING, Any

from attrs import evolve

from levada import Gone, Partition
from levada.page import parse_time
from levada_kapso.executions import (
    OPEN,
    is_unconfirmed,
    latest,
    moment_of,
    status_of,
    unconfirmed,
)
from levada_kapso.rows import WorkflowRow

if TYPE_CHECKING:
    from levada_kapso.discovery import Discovery

Entry = dict[str, Any]
"""What the position holds of a workflow, times as text:

``shown``   its counters then, None where they are not shown
``newest``  the latest start of an execution
``again``   when the counters changed, until it was listed once more `lookback` later
``reach``   how far back a single page went; None: to the first execution
``rows``    how many executions such a page had
"""


class Look:
    """Looks once; afterwards `entry` is what to remember."""

    def __init__(
        self,
        discovery: "Discovery",
        workflow: WorkflowRow,
        before: Entry | None,
        tracked: Mapping[str, Partition],
    ) -> None:
        self._pass = discovery
        self._workflow = str(workflow.id)
        self._open = tracked
        before = before or {}
        self._newest_before = self._newest = parse_time(before.get("newest"))
        self._again = parse_time(before.get("again"))
        self._reach = parse_time(before.get("reach"))
        self._rows: int = before.get("rows") or discovery.scope.page_size
        self._shown_before = before.get("shown")
        counters = [workflow.execution_count, workflow.last_executed_at]
        self._shown = None if counters == [None, None] else counters
        self._listed: set[str] = set()

    @property
    def entry(self) -> Entry:
        """What to remember for the next pass."""
        return {
            "shown": self._shown,
            "newest": _text(self.newest),
            "again": _text(self._again),
            "reach": _text(self._reach),
            "rows": self._rows,
        }

    @property
    def newest(self) -> datetime | None:
        """The latest start that was seen. One in the future would hide those until then."""
        return min(self._newest, self._pass.began) if self._newest else None

    async def partitions(self) -> AsyncIterator[Partition]:
        """Yield the executions that may have something new."""
        try:
            for query in self._queries(may_have_new=self._may_have_new()):
                async for partition in self._list(query):
                    yield partition
        except Gone:  # a 404 may pass, so the next pass looks again, whatever the counters show
            self._shown = None
        for key in self._open.keys() - self._listed:
            yield unconfirmed(self._open[key], self._pass.looked_at)

    def _may_have_new(self) -> bool:
        """Whether to look for new executions: when the counters changed, and once more later."""
        now = self._pass.began
        if self._shown is None or self._shown != self._shown_before:
            self._again = now
            return True
        if self._again is not None and now - self._again >= self._pass.scope.lookback:
            self._again = None
            return True
        return False

    def _queries(self, *, may_have_new: bool) -> Iterator[dict[str, Any]]:
        """Choose the lists to ask for, by the pages that they are likely to have."""
        if not (may_have_new or self._open):
            return
        starts = [moment_of(partition) for partition in self._open.values()]
        if self._newest is None or None in starts:
            yield {}
            return
        since = self._newest - self._pass.scope.lookback
        moments = [since, *starts] if may_have_new else starts
        earliest = min(moment for moment in moments if moment is not None)
        if self._pages_since(earliest) <= self._pages_by_status() + may_have_new:
            yield {"created_after": _text(earliest)}
            return
        if may_have_new:
            yield {"created_after": _text(since)}
        for status in self._statuses():
            yield {"status": status}

    def _pages_since(self, moment: datetime) -> int:
        """Estimate how many pages the list from *moment* on has: each as long as the first was."""
        if self._reach is None or self._newest is None or moment >= self._reach:
            return 1
        span = max(self._newest - self._reach, timedelta(seconds=1))
        return ceil((self._newest - moment) / span)

    def _pages_by_status(self) -> float:
        counts = self._statuses()
        if not OPEN.issuperset(counts):  # not shown, or none that can be asked for
            return inf
        return sum(max(ceil(count / self._rows), 1) for count in counts.values())

    def _statuses(self) -> Counter[str]:
        """Count the open executions by status; one that left its list may be in any."""
        counts = Counter(status_of(each) or "" for each in self._open.values())
        if any(is_unconfirmed(each) for each in self._open.values()):
            counts.update(dict.fromkeys(OPEN, 0))
        return counts

    async def _list(self, query: dict[str, Any]) -> AsyncIterator[Partition]:
        first_page: list[datetime | None] = []
        pages = 0
        async for page, row in self._pass.rows(self._workflow, **query):
            pages = page
            started = parse_time(row.started_at)
            if page == 1:
                first_page.append(started)
            self._newest = latest(self._newest, started)
            if str(row.id) in self._open:
                self._listed.add(str(row.id))
            if self._is_news(str(row.id), started):
                yield self._dated(self._pass.executions.partition(row, self._workflow))
        if "status" not in query:
            self._note_reach(query, first_page if pages > 1 else ())

    def _dated(self, partition: Partition) -> Partition:
        """Date a change between the pass before and this one, by the clock that they went by.

        Times of events may be of another clock than the `Date` of answers, which the linger is
        measured by.
        """
        tracked = self._pass.tracked.get(partition.key)
        if tracked is not None and tracked.version == partition.version:
            return evolve(partition, changed=tracked.changed)
        changed = latest(partition.changed, self._pass.looked_at)
        return evolve(partition, changed=min(changed, self._pass.began) if changed else None)

    def _note_reach(self, query: dict[str, Any], first_page: Sequence[datetime | None]) -> None:
        """Note how far the first page went, where there were others; it came oldest first."""
        if first_page:
            self._reach, self._rows = first_page[0], len(first_page)
        elif not query:
            self._reach = None
        elif self._reach is not None:
            self._reach = min(self._reach, parse_time(query["created_after"]) or self._reach)

    def _is_news(self, key: str, started: datetime | None) -> bool:
        """Whether the host still knows the execution, or has never heard of it.

        What is neither newer than all of its workflow, nor young enough to be remembered though it
        is over, was found before and forgotten.
        """
        settled, newest = self._pass.settled_before, self._newest_before
        if key in self._pass.tracked or not (started and settled and newest):
            return True
        return started > newest or started >= settled


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None
