"""Which executions may have something new: one pass over the project.

A pass asks for the workflows once, which tells of new executions, and then looks at those that
have some or have open ones; see `levada_kapso.look`.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from attrs import define, field, frozen

from levada import Checkpoint, Fatal, Gone, Partition, Rejected, Retry, SourceContext
from levada.page import decode_items, parse_time
from levada_kapso.capabilities import Capabilities
from levada_kapso.client import KapsoClient
from levada_kapso.executions import (
    Executions,
    latest,
    moment_of,
    unconfirmed,
    workflow_of,
)
from levada_kapso.look import Entry, Look
from levada_kapso.rows import ExecutionRow, Page, WorkflowRow

CHANCES: Final = 3
"""After so many lists that are broken it is not the lists."""

REMEMBERED: Final = timedelta(hours=1)
"""What started so long before the newest execution is forgotten when it is over; unless `lookback`
is longer than half of it."""


@frozen(kw_only=True)
class Scope:
    """What the source was told to look at."""

    workflows: Sequence[str]
    executions: Sequence[str]
    page_size: int
    lookback: timedelta


@define
class Discovery:
    """One pass.

    `position` is that of the last checkpoint::

        at          when the last pass began that looked at everything
        newest      the latest start of an execution
        project     the id of the project, once it was shown
        missing     routes that were not there, see `Capabilities`
        workflows   what is remembered of each, see `Look`
        over        the executions that were asked for by id, and whether each was read to its end
    """

    scope: Scope
    client: KapsoClient
    ctx: SourceContext
    capabilities: Capabilities
    executions: Executions
    position: dict[str, Any]
    tracked: Mapping[str, Partition] = field(init=False)
    """What was open, or lingered, when the pass began."""

    _over: dict[str, bool] = field(init=False)
    _began: datetime | None = field(init=False, default=None)
    _entries: dict[str, Entry] = field(init=False)
    _newest: datetime | None = field(init=False)
    _failures: list[Retry] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self.tracked = self.ctx.open_partitions
        over: dict[str, bool] = self.position.get("over", {})
        self._over = {key: over.get(key, False) for key in self.scope.executions}
        self._entries = dict(self.position.get("workflows", {}))
        self._newest = self._newest_before

    async def partitions(self) -> AsyncIterator[Partition | Checkpoint]:
        """Yield what may have something new, then the checkpoint."""
        if self.scope.executions:
            for each in self._given():
                yield each
            return
        project, workflows = await self._survey()
        left = self._open_by_workflow()
        async for partition in self._looked_at(workflows, left):
            yield partition
        for several in left.values():  # of workflows that are not there, or not wanted, any more
            for partition in several.values():
                yield unconfirmed(partition, self.looked_at)
        for key in self.ctx.hints - self.tracked.keys():
            yield self.executions.bare(key)
        if self._failures:
            raise self._failures[0]
        yield self._checkpoint(project)

    async def _looked_at(
        self, workflows: Iterable[WorkflowRow], left: dict[str, dict[str, Partition]]
    ) -> AsyncIterator[Partition]:
        """Look at each workflow, taking those of its executions that may go on out of *left*.

        One whose list is broken must not hide the others.
        """
        for workflow in workflows:
            key = str(workflow.id)
            look = Look(self, workflow, self._entries.get(key), left.pop(key, {}))
            try:
                async for partition in look.partitions():
                    yield partition
            except Retry as failure:
                self._failures.append(failure)
                if failure.everywhere or len(self._failures) == CHANCES:
                    raise
            else:
                self._entries[key] = look.entry
                self._newest = latest(self._newest, look.newest)

    @property
    def began(self) -> datetime:
        """When the pass began, by the vendor's clock; first asked for after its first answer."""
        if self._began is None:
            self._began = self.client.http.now()
        return self._began

    def _given(self) -> Iterable[Partition | Checkpoint]:
        """Yield the executions that were asked for by id, unless they were read and are over.

        One of which nothing was ever read may only not be there yet.
        """
        for key, is_over in self._over.items():
            if key in self.tracked:
                yield unconfirmed(self.tracked[key])
            elif not is_over or not self.ctx.count(key):
                yield self.executions.bare(key)
        # Reads may add to both until they are stored.
        yield Checkpoint({"over": self._over, "missing": self.capabilities.missing})

    def note_over(self, key: str) -> None:
        """Note that an execution was read to its end, if it was asked for by id."""
        if key in self._over:
            self._over[key] = True

    async def _survey(self) -> tuple[str | None, Sequence[WorkflowRow]]:
        """Return the project's id, as far as it is known, and the workflows to look at."""
        before = self.position.get("project")
        wanted = list(dict.fromkeys(self.scope.workflows))
        named = [WorkflowRow(id=each) for each in wanted]
        if len(wanted) == 1 or (wanted and not self.capabilities.has("workflows")):
            return before, named
        try:
            rows = [row async for page in self.client.workflows() for row in _workflows(page)]
        except Gone as gone:
            if not wanted:
                raise Fatal(
                    f"{gone}; if base_url is right, list the ids: workflows = [...]"
                ) from gone
            self.capabilities.miss("workflows", gone)
            return before, named
        project = next((str(row.project_id) for row in rows if row.project_id is not None), before)
        if before not in {None, project}:
            raise Fatal(
                f"the API key is for project {project}, but the state is of project {before}; "
                "use that project's key, or another state folder"
            )
        return project, _chosen(rows, wanted)

    def _open_by_workflow(self) -> dict[str, dict[str, Partition]]:
        """Return the executions that may go on, by workflow and id."""
        found: dict[str, dict[str, Partition]] = {}
        for key, partition in self.tracked.items():
            workflow = workflow_of(partition)
            if workflow is not None and not partition.final:
                found.setdefault(workflow, {})[key] = partition
        return found

    @property
    def looked_at(self) -> datetime | None:
        """When the pass before began, by the vendor's clock."""
        return parse_time(self.position.get("at"))

    @property
    def settled_before(self) -> datetime | None:
        """What started before this, and was over, the host has forgotten."""
        return self._settled(self._newest_before)

    @property
    def _newest_before(self) -> datetime | None:
        return parse_time(self.position.get("newest"))

    def is_forgotten(self, partition: Partition) -> bool:
        """Whether an execution that is over was read and forgotten before this pass."""
        entry = self.position.get("workflows", {}).get(workflow_of(partition)) or {}
        started, settled = moment_of(partition), self.settled_before
        newest = parse_time(entry.get("newest"))
        if started is None or settled is None or newest is None:
            return False
        return started < settled and started <= newest

    def _settled(self, newest: datetime | None) -> datetime | None:
        return newest - max(REMEMBERED, 2 * self.scope.lookback) if newest else None

    def _checkpoint(self, project: str | None) -> Checkpoint:
        newest = self._newest
        position = {
            "at": self.began.isoformat(),
            "newest": newest.isoformat() if newest else None,
            "project": project,
            "missing": self.capabilities.missing,  # reads may add to it until it is stored
            "workflows": self._entries,
        }
        return Checkpoint(position, settled=self._settled(newest))

    async def rows(self, workflow: str, **query: Any) -> AsyncIterator[tuple[int, ExecutionRow]]:
        """List executions, each with the number of its page; of a page the older ones first.

        Raises:
            Gone: the workflow is not there, though it was listed; that was reported.
        """
        number = 0
        try:
            async for page in self.client.executions(workflow, limit=self.scope.page_size, **query):
                number += 1
                for row in reversed(decode_items(page.data, ExecutionRow)):
                    if isinstance(row, Rejected):
                        self.ctx.report(
                            "execution.unreadable", workflow=workflow, reason=row.reason
                        )
                    else:
                        yield number, row
        except Gone as gone:
            if self.scope.workflows:
                raise Fatal(f"{gone}; is the id in `workflows` right?") from gone
            self.ctx.report("workflow.gone", workflow=workflow, reason=str(gone))
            raise


def _workflows(page: Page) -> Iterable[WorkflowRow]:
    return (row for row in decode_items(page.data, WorkflowRow) if not isinstance(row, Rejected))


def _chosen(rows: Sequence[WorkflowRow], wanted: Sequence[str]) -> Sequence[WorkflowRow]:
    if not wanted:
        return rows
    by_id = {str(row.id): row for row in rows}
    absent = [each for each in wanted if each not in by_id]
    if absent:
        raise Fatal(f"the project has no workflow {absent[0]!r}; is the id in `workflows` right?")
    return [by_id[each] for each in wanted]
