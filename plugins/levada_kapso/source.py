"""The event source `kapso`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta

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
    Secret,
    Source,
    SourceContext,
    option,
)
from levada.page import decode_items, parse_time, to_events
from levada_kapso.client import (
    EventRow,
    ExecutionRow,
    KapsoClient,
    Page,
    WorkflowRow,
    execution_path,
    normal_url,
)
from levada_kapso.kinds import KINDS

FINAL = frozenset({"ended", "failed"})
"""Kapso allows no transition out of these; `waiting` and `handoff` may go on."""


@define(slots=False, kw_only=True)
class KapsoSource(Source):
    """Events of workflow executions at Kapso, one partition per execution.

    An execution's events are listed newest first and without a time filter. A read walks back to
    `window` before the newest event of the last read and leaves older rows alone: events may
    become visible a little out of order, and none is missed that is late by less.
    """

    name = "kapso"

    api_key: Secret = option(env="KAPSO_API_KEY", help="The project's API key.")
    base_url: str = option(
        default="https://api.kapso.ai/platform/v1",
        help="Where the Platform API is; with or without /platform/v1.",
        validator=validators.matches_re(r"https?://.+"),
    )
    workflows: list[str] = option(
        default=[], help="Ids of the workflows to read; default: all of the project."
    )
    executions: list[str] = option(
        default=[], help="Ids of the only executions to read, whatever `workflows` says."
    )
    page_size: int = option(
        default=100,
        help="Rows to ask for in one request, 1 to 100.",
        validator=validators.and_(validators.ge(1), validators.le(100)),
    )
    window: timedelta = option(
        default=timedelta(seconds=10),
        help="How far behind the newest event of an execution late events are looked for.",
    )

    _client: KapsoClient = field(init=False)
    _unknown: set[str] = field(init=False, factory=set)

    def identity(self) -> str:
        """Return the API's base URL, however it was written."""
        return normal_url(self.base_url)

    async def open(self, ctx: SourceContext) -> None:
        """Make the client; nothing is asked yet."""
        self._client = KapsoClient.connect(self.base_url, self.api_key, ctx)

    # ── discovery ───────────────────────────────────────────────────────────────────────────────

    async def partitions(
        self, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Partition | Checkpoint]:
        """Yield the executions of every workflow, a page at a time, the older ones of it first."""
        for key in dict.fromkeys(self.executions):
            yield Partition(key, uri=self._uri(key))
        if self.executions:
            return
        project, workflows = await self._survey(position)
        began: datetime | None = None
        for workflow in workflows:
            async for partition in self._executions_of(workflow, ctx):
                began = began or self._client.http.now()
                yield partition
        began = began or self._client.http.now()
        yield Checkpoint({"at": began.isoformat(), "project": project})

    async def _survey(self, position: Json) -> tuple[str | None, Sequence[str]]:
        """Return the project's id, as far as it is known, and the ids of the workflows to read."""
        before = position.get("project") if position else None
        if self.workflows:
            return before, list(dict.fromkeys(self.workflows))
        try:
            rows = [row async for page in self._client.workflows() for row in _workflows(page)]
        except Gone as gone:
            raise Fatal(f"{gone}; list the ids: workflows = [...]") from gone
        project = next((str(row.project_id) for row in rows if row.project_id is not None), before)
        if before not in {None, project}:
            raise Fatal(
                f"the API key is for project {project}, but the state is of project {before}; "
                "use that project's key, or another state folder"
            )
        return project, [str(row.id) for row in rows]

    async def _executions_of(self, workflow: str, ctx: SourceContext) -> AsyncIterator[Partition]:
        try:
            async for page in self._client.executions(workflow, limit=self.page_size):
                for row in reversed(decode_items(page.data, ExecutionRow)):
                    if isinstance(row, Rejected):
                        ctx.report("execution.unreadable", workflow=workflow, reason=row.reason)
                    else:
                        yield self._partition(row)
        except Gone as gone:
            if self.workflows:
                raise Fatal(f"{gone}; is the id in `workflows` right?") from gone
            ctx.report("workflow.gone", workflow=workflow, reason=str(gone))

    def _partition(self, row: ExecutionRow) -> Partition:
        key = str(row.id)
        final = row.status in FINAL if row.status else row.ended_at is not None
        shown = [row.status or row.ended_at, row.last_event_at]
        return Partition(
            key,
            version=shown if final or row.last_event_at is not None else None,
            order=parse_time(row.started_at),
            final=final,
            changed=parse_time(row.last_event_at) or parse_time(row.ended_at),
            uri=self._uri(key),
        )

    def _uri(self, key: str) -> str:
        return self._client.base_url + execution_path(key)

    # ── reading ─────────────────────────────────────────────────────────────────────────────────

    async def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Batch]:
        """Walk from the newest event back to what is settled; yield the walk oldest first.

        Its position is stored only with the last batch: a walk that was cut short begins anew.
        """
        newest = parse_time(position["newest"]) if position else None
        settled = newest - self.window if newest else None
        backlog, gone = ctx.backlog(), None
        try:
            async with aclosing(self._client.events(partition.key, limit=self.page_size)) as pages:
                async for page in pages:
                    rows, done = _unsettled(self._rows(page, partition), settled)
                    if rejected := [row for row in rows if isinstance(row, Rejected)]:
                        yield Batch((), rejected=rejected)
                    events = [row for row in rows if isinstance(row, Event)]
                    newest = max(filter(None, (newest, *(e.time for e in events))), default=None)
                    self._note_types(events, ctx)
                    if position:  # else it is all new, or the journal sees to it
                        known = await ctx.known(partition.key, [event.id for event in events])
                        events = [event for event in events if event.id not in known]
                    backlog.push(events)
                    if done:
                        break
        except Gone as error:
            gone = error  # what the walk has brought cannot be had a second time
        async for batch in backlog.batches(None if gone else self._position(newest)):
            yield batch
        if gone:
            raise gone

    def _rows(self, page: Page, partition: Partition) -> list[Event | Rejected]:
        """Return a page's events in its own order, newest first."""
        rows = to_events(
            page.data[::-1],
            EventRow,
            partition=partition.key,
            kinds=KINDS,
            now=partition.changed or self._client.http.now(),
        )
        return rows[::-1]

    def _note_types(self, events: list[Event], ctx: SourceContext) -> None:
        """Report types that Kapso does not document, each once."""
        for name in {event.type for event in events if event.kind is None} - self._unknown:
            self._unknown.add(name)
            ctx.report("type.unknown", type=name[:100])

    def _position(self, newest: datetime | None) -> Json:
        """Return the position after a walk.

        An event dated in the future would move the window past events yet to come, so the
        vendor's clock is as far as it goes.
        """
        return {"newest": min(newest, self._client.http.now()).isoformat() if newest else None}


def _unsettled(
    rows: list[Event | Rejected], settled: datetime | None
) -> tuple[list[Event | Rejected], bool]:
    """Return the rows that are not older than *settled*, and whether there are older ones.

    What cannot be read is as old as the rows around it.
    """
    if settled is None:
        return rows, False
    kept: list[Event | Rejected] = []
    done = False
    for row in rows:
        if isinstance(row, Event) and row.time < settled:
            done = True
        elif isinstance(row, Event) or not done:
            kept.append(row)
    return kept, done


def _workflows(page: Page) -> list[WorkflowRow]:
    return [row for row in decode_items(page.data, WorkflowRow) if not isinstance(row, Rejected)]
