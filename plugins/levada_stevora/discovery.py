"""Which runs may have something new: one pass over a workspace.

The list of all runs is asked for what is new in it. Open runs are looked up on the pages that this
takes anyway. If some are not there, either the rest of the list is read or the lists of their
statuses, whichever is fewer pages. What those do not show has changed its status between two
requests, or come to an end: it is read, and its events tell; if they do not, it is asked for by
itself on the next pass.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from typing import Final

from attrs import frozen

from levada import Checkpoint, Fatal, Gone, Partition, SourceContext, TooLarge
from levada.page import parse_time
from levada_stevora import runs
from levada_stevora.client import RunRow, StevoraClient, run_path
from levada_stevora.known import Survey
from levada_stevora.listing import Fetch, Listing, Memory
from levada_stevora.pages import Rows
from levada_stevora.runs import ACTIVE, FAILED, status_of

ALL: Final = ""


@frozen
class Scope:
    """What the source was told to look at."""

    runs: Sequence[str] = ()
    definitions: Sequence[str] = ()


class Discovery:
    """One pass. `open` are the runs that were open when it began."""

    def __init__(
        self, client: StevoraClient, scope: Scope, survey: Survey, ctx: SourceContext
    ) -> None:
        self.open: Mapping[str, Partition] = ctx.open_partitions
        self.looked_at = survey.looked_at
        """When the pass before began, by the vendor's clock; None: this is the first."""
        self._client = client
        self._scope = scope
        self._survey = survey
        self._ctx = ctx
        self._shown = set[str]()
        self._lists: dict[str, Listing] = {}
        self._added = self._added_definitions()

    async def partitions(self) -> AsyncIterator[Partition | Checkpoint]:
        """Yield what may have something new, then the checkpoint."""
        if self._scope.runs:
            for run in self._given():
                yield run
        else:
            async for run in self._listed():
                yield run
        for key in self._ctx.hints:
            if key not in self._shown and key not in self.open and not self._ctx.count(key):
                yield self._bare(key)
        self._survey.settle(self._client.http.now())
        yield Checkpoint(self._survey.position, settled=self._survey.settled)

    @cached_property
    def _began(self) -> datetime:
        """When the pass began, by the vendor's clock: it is known after the first answer."""
        return self._client.http.now()

    async def _listed(self) -> AsyncIterator[Partition]:
        try:
            async for run in self._new():
                yield run
        except Gone as gone:
            raise Fatal(f"{gone}; if base_url is right, list the ids: runs = [...]") from gone
        async for run in self._going_on():
            yield run
        self._survey.looked_at = self._began
        for name, listing in self._lists.items():
            self._survey.lists[name] = listing.known
            if listing.is_disordered:
                self._ctx.report("list.unordered", definition=name or None)
            if listing.lacks:
                self._ctx.report("list.incomplete", lacks=listing.lacks, total=listing.total)

    # ── the runs that were given by id ──────────────────────────────────────────────────────────

    def _given(self) -> Iterator[Partition]:
        """Yield them, but for those that were read to their end.

        One of which nothing was ever read may only not be there yet.
        """
        now, over = self._client.http.now(), self._survey.over
        self._survey.over = over = {key: over.get(key, False) for key in self._scope.runs}
        for key, is_over in over.items():
            run = self.open.get(key)
            if run is None and (not is_over or not self._ctx.count(key)):
                yield self._bare(key)
            elif run is not None and not run.final:  # else it only lingers
                is_failed = status_of(run) == FAILED
                yield runs.scheduled(run, now) if is_failed else runs.unconfirmed(run)

    def note_over(self, key: str) -> None:
        """Note that a run was read to its end, if it was asked for by id."""
        if key in self._survey.over:
            self._survey.over[key] = True

    def _bare(self, key: str) -> Partition:
        return Partition(key, uri=self._uri(key))

    def _uri(self, key: str) -> str:
        return self._client.base_url + run_path(key)

    # ── new runs ────────────────────────────────────────────────────────────────────────────────

    async def _new(self) -> AsyncIterator[Partition]:
        for definition in self._narrowed():
            listing = self._listing(definition)
            async for rows in listing.news(self._client.runs_on_a_page()):
                if definition == ALL and self._are_blind(rows):
                    self._survey.is_blind = True
                    self._lists.clear()
                    async for run in self._new():
                        yield run
                    return
                for run in self._found(rows, is_wanted=definition != ALL):
                    yield run

    def _narrowed(self) -> Sequence[str]:
        """Return the definitions whose lists are asked for; "" stands for the list of all runs.

        Of several definitions the list of all runs shows what is new in one request.
        """
        wanted = self._scope.definitions
        return wanted if len(wanted) == 1 or (wanted and self._survey.is_blind) else [ALL]

    def _listing(self, definition: str) -> Listing:
        wanted = self._scope.definitions if definition == ALL else ()
        listing = Listing(
            self._fetch(definition),
            self._survey.lists.get(definition),
            self._memory(definition),
            shortcuts=[self._fetch(each) for each in wanted],
        )
        self._lists[definition] = listing
        return listing

    def _memory(self, definition: str) -> Memory:
        return Memory(
            is_tracked=self._is_tracked,
            settled=self._survey.settled,
            report=self._report_unreadable,
            is_believed=partial(self._is_believed, definition),
        )

    def _fetch(self, definition: str, status: str | None = None) -> Fetch:
        return partial(self._client.runs, definition=definition or None, status=status)

    def _are_blind(self, rows: Sequence[RunRow]) -> bool:
        return bool(self._scope.definitions) and any(row.definition_id is None for row in rows)

    def _found(self, rows: Sequence[RunRow], *, is_wanted: bool) -> Iterator[Partition]:
        """Yield the runs on a page, each once, that are wanted and not forgotten."""
        for row in rows:
            self._survey.meet(row)
            key = str(row.id)
            is_open = key in self.open
            if key in self._shown or not (is_wanted or is_open or self._is_of_scope(row)):
                continue
            self._shown.add(key)
            if is_open or not self._is_forgotten(row):
                yield self._shown_as(row)
            elif row.status in ACTIVE:
                self._ctx.report("run.forgotten", partition=key)

    def _shown_as(self, row: RunRow) -> Partition:
        key, now = str(row.id), self._client.http.now()
        run = runs.of_row(row, uri=self._uri(key), now=now)
        return runs.dated(run, self.open.get(key), self.looked_at, self._began)

    def _is_of_scope(self, row: RunRow) -> bool:
        return not self._scope.definitions or str(row.definition_id) in self._scope.definitions

    def _is_forgotten(self, row: RunRow) -> bool:
        """Whether the host may have forgotten a run that is not open, and must not see it again."""
        created, settled = parse_time(row.created_at), self._survey.settled
        is_old = created is not None and settled is not None and created < settled
        return is_old and str(row.definition_id) not in self._added

    def _is_tracked(self, row: RunRow) -> bool:
        return str(row.id) in self.open or self._ctx.count(str(row.id)) > 0

    def _added_definitions(self) -> set[str]:
        """Return the definitions that earlier passes left out; what was counted then is void."""
        before, self._survey.definitions = self._survey.definitions, [*self._scope.definitions]
        if self._scope.runs or before is None or before == self._survey.definitions:
            return set()
        self._survey.lists.clear()
        return set(self._scope.definitions) - set(before) if before else set()

    def _is_believed(self, definition: str, page: Rows) -> bool:
        is_believed = self._client.is_believed(page, definition=definition or None)
        if is_believed:
            self._ctx.report("list.incomplete", page=page.number, total=page.total)
        return is_believed

    def _report_unreadable(self, reason: str) -> None:
        self._ctx.report("run.unreadable", reason=reason)

    # ── open runs ───────────────────────────────────────────────────────────────────────────────

    async def _going_on(self) -> AsyncIterator[Partition]:
        """Yield what becomes of the runs that were open and did not show among the new ones."""
        hidden = self._hidden()
        failed = [key for key in hidden if status_of(hidden[key]) == FAILED]
        if hidden:
            async for run in self._looked_up([status_of(run) for run in hidden.values()]):
                yield run
        now, absent = self._client.http.now(), list[str]()
        for key, run in self._hidden().items():
            if key in failed:
                yield runs.scheduled(run, now)
            elif status_of(run) is not None:
                yield runs.unconfirmed(run)
            elif key in self._survey.absent or (row := await self._by_itself(key)) is None:
                absent.append(key)  # the host reads it, or sees that it is gone
            else:
                yield self._shown_as(row)
        self._survey.absent = absent

    def _hidden(self) -> Mapping[str, Partition]:
        """Return the open runs that no list has shown; those that only linger are left out."""
        return {
            key: run for key, run in self.open.items() if key not in self._shown and not run.final
        }

    async def _looked_up(self, statuses: Sequence[str | None]) -> AsyncIterator[Partition]:
        """Yield what the cheaper lists show: the rest of all runs, or those of the statuses."""
        asked = self._asked(statuses)
        open_by_status = Counter(status_of(run) for run in self.open.values())
        pages = (-(-open_by_status[each] // self._client.runs_on_a_page()) for each in asked)
        if sum(each.left for each in self._lists.values()) <= sum(max(n, 1) for n in pages):
            for name, listing in self._lists.items():
                async for rows in listing.rest():
                    for run in self._found(rows, is_wanted=name != ALL):
                        yield run
            return
        narrowed = self._narrowed()
        definition = narrowed[0] if len(narrowed) == 1 else ALL
        for status in asked:
            fetch, memory = self._fetch(definition, status), self._memory(definition)
            async for rows in Listing(fetch, None, memory).all():
                for run in self._found(rows, is_wanted=definition != ALL):
                    yield run

    def _asked(self, statuses: Sequence[str | None]) -> Sequence[str]:
        """Return the statuses to list: those that runs had, and that which a failed run may have.

        Runs of which nothing is known are asked for one by one, unless all lists are fewer.
        """
        wanted = {"RUNNING" if status == FAILED else status for status in statuses}
        asked = [status for status in ACTIVE if status in wanted]
        unknown = statuses.count(None)
        if unknown and self._survey.has_detail is False:
            return ACTIVE
        return ACTIVE if unknown > len(ACTIVE) - len(asked) else asked

    async def _by_itself(self, key: str) -> RunRow | None:
        """Ask for one run; None where it is not there, or cannot be asked for like that.

        Stevora's pages have the route, but a 404 may mean either. A run that has events is there.
        """
        survey = self._survey
        if survey.has_detail is False or not self._ctx.count(key):
            return None
        try:
            row = await self._client.run(key)
        except TooLarge:
            return None
        if row is not None:
            survey.has_detail = True
        elif survey.has_detail is None and await self._has_events(key):
            survey.has_detail = False
            self._ctx.report("route.missing", route="GET /v1/workflow-runs/{id}")
        return row

    async def _has_events(self, key: str) -> bool:
        try:
            await self._client.events(key, 1, size=1)
        except Gone:
            return False
        return True
