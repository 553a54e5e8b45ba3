"""The event source `stevora`."""

from collections.abc import AsyncIterator, Iterable
from datetime import datetime

from attrs import define, field, validators

from levada import (
    Batch,
    Checkpoint,
    Event,
    Fatal,
    Gone,
    Json,
    Partition,
    Rejected,
    Retry,
    Secret,
    Source,
    SourceContext,
    option,
)
from levada.page import decode_items, parse_time, to_events
from levada_stevora.client import EventRow, Rows, RunRow, StevoraClient, normal_url, run_path
from levada_stevora.kinds import KINDS

FINAL = frozenset({"COMPLETED", "CANCELLED", "FAILED"})
"""A failed run may be retried; its version changes then, which opens it again."""


@define(slots=False, kw_only=True)
class StevoraSource(Source):
    """Events of workflow runs at Stevora, one partition per run.

    A run's events are listed oldest first, a page at a time, and are only ever added. A position
    counts the events read. The list's own total tells whether that is all of them: where it is
    not, an event became visible behind those that were read, and the pages before are searched.
    """

    name = "stevora"

    api_key: Secret = option(env="STEVORA_API_KEY", help="The workspace's API key.")
    base_url: str = option(
        default="https://api.stevora.dev",
        help="Where the API is; with or without /v1, after /api if it is there.",
        validator=validators.matches_re(r"https?://.+"),
    )
    runs: list[str] = option(
        default=[], help="Ids of the only runs to read, whatever `definitions` says."
    )
    definitions: list[str] = option(
        default=[], help="Ids of the workflow definitions to read runs of; default: all."
    )
    page_size: int = option(
        default=100,
        help="Rows to ask for in one request, 1 to 100.",
        validator=validators.and_(validators.ge(1), validators.le(100)),
    )

    _client: StevoraClient = field(init=False)
    _unknown: set[str] = field(init=False, factory=set)

    def identity(self) -> str:
        """Return the API's base URL, however it was written."""
        return normal_url(self.base_url)

    async def open(self, ctx: SourceContext) -> None:
        """Make the client; nothing is asked yet."""
        self._client = StevoraClient.connect(
            self.base_url, self.api_key, ctx, page_size=self.page_size
        )

    # ── discovery ───────────────────────────────────────────────────────────────────────────────

    async def partitions(
        self, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Partition | Checkpoint]:
        """Yield all runs, or those of every definition, in the order of Stevora's list."""
        for key in dict.fromkeys(self.runs):
            yield Partition(key, uri=self._uri(key))
        if self.runs:
            return
        workspace = position.get("workspace") if position else None
        began: datetime | None = None
        for definition in dict.fromkeys(self.definitions) or [None]:
            async for row in self._rows(definition, ctx):
                began = began or self._client.http.now()
                workspace = _same(workspace, row)
                yield self._partition(row)
        began = began or self._client.http.now()
        yield Checkpoint({"at": began.isoformat(), "workspace": workspace})

    async def _rows(self, definition: str | None, ctx: SourceContext) -> AsyncIterator[RunRow]:
        """Walk the list of runs. A run that starts meanwhile may move another to the next page."""
        number, last_page = 1, set[str]()
        while True:
            try:
                page = await self._client.runs(number, definition=definition)
            except Gone as gone:
                raise Fatal(f"{gone}; list the ids: runs = [...]") from gone
            here = set[str]()
            for row in decode_items(page.rows, RunRow):
                if isinstance(row, Rejected):
                    ctx.report("run.unreadable", reason=row.reason)
                    continue
                here.add(str(row.id))
                if str(row.id) not in last_page:
                    yield row
            if page.is_last or here == last_page:
                return
            number, last_page = number + 1, here

    def _partition(self, row: RunRow) -> Partition:
        key = str(row.id)
        final = row.status in FINAL
        # Events of a model or a guardrail need not touch the row of the run they happen in.
        is_shown = row.status != "RUNNING" and (
            final or row.version is not None or row.updated_at is not None
        )
        return Partition(
            key,
            version=[row.status, row.version, row.updated_at] if is_shown else None,
            order=parse_time(row.created_at),
            final=final,
            changed=parse_time(row.updated_at),
            uri=self._uri(key),
        )

    def _uri(self, key: str) -> str:
        return self._client.base_url + run_path(key)

    # ── reading ─────────────────────────────────────────────────────────────────────────────────

    async def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Batch]:
        """Read on from the page that holds the first unread event; then look for missing ones."""
        reading = _Reading(self._client, partition, position, ctx)
        for pages in (reading.forward(), reading.back()):
            async for batch in pages:
                self._report_unknown(batch.events, ctx)
                yield batch

    def _report_unknown(self, events: Iterable[Event], ctx: SourceContext) -> None:
        for name in {event.type for event in events if event.kind is None} - self._unknown:
            self._unknown.add(name)
            ctx.report("type.unknown", type=name[:100])


class _Reading:
    """One read of one run, which counts what it finds against what the list says it has."""

    def __init__(
        self, client: StevoraClient, partition: Partition, position: Json, ctx: SourceContext
    ) -> None:
        self._client = client
        self._partition = partition
        self._ctx = ctx
        self._read_before: int = position["count"] if position else 0
        self._missing_before: int = position.get("missing", 0) if position else 0
        self._count = self._read_before
        self._total: int | None = None
        self._seen = set[str]()
        self._is_whole = False
        self._unsearched = 0  # the last of the pages in which missing events may be

    async def forward(self) -> AsyncIterator[Batch]:
        """Read from the first page with unread events to the last."""
        number = self._count // self._client.page_size + 1
        self._unsearched = number - 1
        self._is_whole = number == 1
        if self._is_whole:
            self._count = 0
        while True:
            page = await self._page(number)
            if page is None:
                number = 1
                continue
            before = len(self._seen)
            yield await self._batch(page)
            self._total = page.total
            # A server that does not tell its total must at least have sent something new.
            if page.is_last or (page.total is None and len(self._seen) == before):
                break
            number += 1
        if self._is_whole:
            self._unsearched = number - 1

    async def back(self) -> AsyncIterator[Batch]:
        """Search the pages before for events that became visible late, or that changed places."""
        if self._missing and self._missing != self._missing_before:
            for number in range(self._unsearched, 0, -1):
                yield await self._batch(await self._client.events(self._partition.key, number))
                if not self._missing:
                    return
            self._ctx.report("events.missing", partition=self._partition.key, missing=self._missing)
        if self._missing:
            # Said once: the search is made again only when the number changes.
            yield Batch((), position={"count": self._count, "missing": self._missing})

    @property
    def _missing(self) -> int:
        return max((self._total or 0) - self._count, 0)

    async def _page(self, number: int) -> Rows | None:
        """Fetch a page; None where the list has become shorter and must be read from its start.

        Stevora does not say what follows the last page: a 404 there may mean that page alone.
        """
        page = None
        try:
            page = await self._client.events(self._partition.key, number)
        except Gone as gone:
            if number == 1:
                raise
            if self._is_whole:
                raise Retry(f"{gone}; but the page before it is there") from gone
        if page is not None and (page.total is None or page.total >= self._read_before):
            return page
        self._ctx.report(
            "history.shrank",
            partition=self._partition.key,
            read=self._read_before,
            total=page.total if page else None,
        )
        self._is_whole, self._count, self._read_before = True, 0, 0
        self._seen.clear()
        return page if number == 1 else None

    async def _batch(self, page: Rows) -> Batch:
        """Return what is new on a page, and count it.

        A whole reading counts all that is there; one that goes on adds what it had not read. What
        cannot be read has no id to know it by, so its place in the list must do.
        """
        rows = to_events(
            page.rows,
            EventRow,
            partition=self._partition.key,
            kinds=KINDS,
            now=self._partition.changed or self._client.http.now(),
        )
        unseen = {
            row.id: row for row in rows if isinstance(row, Event) and row.id not in self._seen
        }
        self._seen.update(unseen)
        new = await self._unread(unseen)
        unusable = [
            (at, row) for at, row in enumerate(rows, page.offset) if isinstance(row, Rejected)
        ]
        rejected = [row for at, row in unusable if at >= self._read_before]
        if self._is_whole:
            self._count += len(unseen) + len(unusable)
        else:
            self._count += len(new) + len(rejected)
        return Batch(new, position={"count": self._count}, rejected=rejected)

    async def _unread(self, events: dict[str, Event]) -> list[Event]:
        key = self._partition.key
        known = await self._ctx.known(key, events) if self._ctx.count(key) else frozenset[str]()
        return [event for event in events.values() if event.id not in known]


def _same(workspace: str | None, row: RunRow) -> str | None:
    """Return the workspace that is known now.

    Raises:
        Fatal: the row is of another one.
    """
    shown = workspace if row.workspace_id is None else str(row.workspace_id)
    if workspace not in {None, shown}:
        raise Fatal(
            f"the API key is for workspace {shown}, but the state is of workspace {workspace}; "
            "use that workspace's key, or another state folder"
        )
    return shown
