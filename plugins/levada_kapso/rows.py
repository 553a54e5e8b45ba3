"""What Kapso's answers hold, as far as the source looks at it; the rest travels untouched."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from levada.page import Id, Moment


class Identified(msgspec.Struct):
    """The one thing that rows of all lists have."""

    id: Id


class WorkflowRow(msgspec.Struct):
    """A workflow; the project it belongs to is the one the key was made for.

    The last two change with every execution that starts; not every server shows them.
    """

    id: Id
    project_id: Id | None = None
    execution_count: int | None = None
    last_executed_at: Moment = None


class WorkflowReference(msgspec.Struct):
    """The workflow that an execution belongs to."""

    id: Id | None = None


class ExecutionRow(msgspec.Struct):
    """An execution as the list shows it. Kapso's own example of the list has no `status`."""

    id: Id
    status: str | None = None
    started_at: Moment = None
    last_event_at: Moment = None
    ended_at: Moment = None
    workflow: WorkflowReference | None = None


class Step(msgspec.Struct):
    """The step of an event."""

    identifier: str | None = None


class EventRow(msgspec.Struct, rename={"type": "event_type", "time": "created_at"}):
    """An event as the list shows it."""

    id: Id
    type: str = "unknown"
    time: Moment = None
    step: Step | None = None

    @property
    def subject(self) -> str | None:
        """The step's identifier in its workflow."""
        return self.step.identifier if self.step else None


class DetailedRow(msgspec.Struct):
    """An execution by itself: what the list shows, and its events, oldest first."""

    events: list[msgspec.Raw] | None = None


class Detail(msgspec.Struct):
    """The answer about one execution. Its context may be large and private; it is passed over."""

    data: msgspec.Raw

    @property
    def row(self) -> ExecutionRow:
        """The execution as a list would show it."""
        return msgspec.json.decode(self.data, type=ExecutionRow)

    @property
    def events(self) -> list[msgspec.Raw] | None:
        """Its events; None where the answer has none."""
        return msgspec.json.decode(self.data, type=DetailedRow).events


class Cursors(msgspec.Struct):
    """The cursors of a page's two ends; that of the last page has a next one as well."""

    after: str | int | None = None


class Paging(msgspec.Struct):
    """Where the list goes on: an opaque cursor or, as in Kapso's Meta proxy, a URL."""

    next: str | int | msgspec.UnsetType | None = msgspec.UNSET
    cursors: Cursors | None = None


class Meta(msgspec.Struct):
    """Paging by number, which Kapso had before cursors and which old parameters bring back."""

    page: int = 1
    per_page: int | None = None
    total_pages: int = 1


class Page(msgspec.Struct):
    """A page of any of the lists."""

    data: list[msgspec.Raw]
    paging: Paging | None = None
    meta: Meta | None = None

    def next_query(self) -> dict[str, Any] | None:
        """Return the parameters that ask for the page after this one, None for the last one.

        The list ends where `next` is null: not at a short or empty page, and `cursors.after` is
        set on the last page as well.
        """
        if self.paging is not None and not isinstance(self.paging.next, msgspec.UnsetType | None):
            return {"after": _cursor(str(self.paging.next))}
        if self.paging is None and self.meta is not None and self.meta.page < self.meta.total_pages:
            return {"page": self.meta.page + 1, "per_page": self.meta.per_page}
        return None

    @property
    def tells_its_end(self) -> bool:
        """Whether it says what follows, be it nothing."""
        if self.paging is None:
            return self.meta is not None
        return self.paging.next is not msgspec.UNSET or self.paging.cursors is not None

    def query_beyond(self) -> dict[str, Any] | None:
        """Return the parameters for what may follow a full page that has no `next`, not even null."""
        paging = self.paging
        if paging is None or paging.next is not msgspec.UNSET or paging.cursors is None:
            return None
        return None if paging.cursors.after is None else {"after": str(paging.cursors.after)}


class LogEvent(msgspec.Struct):
    """A workflow event in the search index. Its own id is the index's, not the event's."""

    flow_execution_id: Id | None = None
    flow_id: Id | None = None
    ingested_at: Moment = None
    timestamp: Moment = None


class LogPagination(msgspec.Struct):
    """Where the search goes on."""

    has_more: bool = False
    next_cursor: str | None = None


class LogEvents(msgspec.Struct):
    """What the search found, or that it cannot be asked."""

    available: bool = True
    events: list[LogEvent] = []
    pagination: LogPagination | None = None


class LogPage(msgspec.Struct):
    """An answer of the log search; its envelope is not that of the lists."""

    data: LogEvents

    @classmethod
    def unavailable(cls) -> "LogPage":
        """Return what stands for an index that failed."""
        return cls(LogEvents(available=False))


def _cursor(following: str) -> str:
    if "after=" not in following:
        return following
    after = parse_qs(urlsplit(following).query).get("after", [following])[0]
    return after.replace(" ", "+")  # Base64 that its sender forgot to encode
