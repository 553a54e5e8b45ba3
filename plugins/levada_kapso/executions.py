"""Executions as partitions: what a row of a list shows, and what to remember of it."""

from datetime import datetime
from typing import Any, Final

from attrs import evolve, frozen

from levada import Event, Json, Partition
from levada.page import parse_time
from levada_kapso.client import execution_path
from levada_kapso.rows import ExecutionRow

FINAL: Final = frozenset({"ended", "failed"})
"""Kapso allows no transition out of these; `waiting` and `handoff` may go on."""

OPEN: Final = frozenset({"running", "waiting", "handoff"})
"""The other ones that its list can be filtered by."""

ENDS: Final = frozenset({"execution_ended", "execution_failed"})
"""The events that such a transition writes."""


@frozen
class Executions:
    """Makes partitions of one project's executions."""

    base_url: str

    def partition(self, row: ExecutionRow, workflow: str | None) -> Partition:
        """Return the partition that a row shows, `workflow` being the list it is from."""
        key = str(row.id)
        if workflow is None and row.workflow is not None and row.workflow.id is not None:
            workflow = str(row.workflow.id)
        final = row.status in FINAL if row.status else row.ended_at is not None
        shown = [row.status or row.ended_at, row.last_event_at]
        return Partition(
            key,
            version=shown if final or row.last_event_at is not None else None,
            order=parse_time(row.started_at),
            final=final,
            changed=latest(parse_time(row.last_event_at), parse_time(row.ended_at)),
            uri=self.uri(key),
            memo={"workflow": workflow, "status": row.status},
        )

    def bare(self, key: str, workflow: str | None = None) -> Partition:
        """Return an execution of which only the id is known."""
        return unconfirmed(Partition(key, uri=self.uri(key), memo={"workflow": workflow}))

    def uri(self, key: str) -> str:
        """Return the address of an execution."""
        return self.base_url + execution_path(key)


def unconfirmed(partition: Partition, since: datetime | None = None) -> Partition:
    """Return an execution that its lists do not show: a read has to tell what has become of it.

    It was listed before *since*, so that is when it changed at the earliest.
    """
    memo = {**_memo(partition), "unconfirmed": True}
    return evolve(partition, version=None, changed=latest(partition.changed, since), memo=memo)


def is_unconfirmed(partition: Partition) -> bool:
    """Whether a read has to tell what has become of an execution, or what it is at all."""
    memo = _memo(partition)
    return bool(memo.get("unconfirmed")) or not memo


def is_listed_open(partition: Partition) -> bool:
    """Whether the list of its workflow shows an execution as going on."""
    is_listed = workflow_of(partition) is not None and not is_unconfirmed(partition)
    return is_listed and not partition.final


def ended(partition: Partition, end: Event) -> Partition:
    """Return an execution of which an event says that it is over."""
    changed = latest(partition.changed, end.time)
    return evolve(partition, final=True, changed=changed, version=[end.type, end.id])


def workflow_of(partition: Partition) -> str | None:
    """Return the workflow that an execution was found in, None where it is not known."""
    workflow = _memo(partition).get("workflow")
    return None if workflow is None else str(workflow)


def status_of(partition: Partition) -> str | None:
    """Return the status that an execution had when it was last listed, None if none was shown."""
    status = _memo(partition).get("status")
    return None if status is None else str(status)


def moment_of(partition: Partition) -> datetime | None:
    """Return when an execution started; the host gives its order back as text."""
    order = partition.order
    return order if isinstance(order, datetime) else parse_time(order)


def latest(*moments: datetime | None) -> datetime | None:
    """Return the latest of the moments that are known."""
    return max((moment for moment in moments if moment is not None), default=None)


def _memo(partition: Partition) -> dict[str, Any]:
    memo: Json = partition.memo
    return memo if isinstance(memo, dict) else {}
