"""A run as a partition: what its row says, and what its events say.

The version of a partition is what Stevora shows to change with the run, its memo what a later pass
has to know of it::

    status      as it was last shown; None: not known
    failed_at   of a failed run: since when its schedule counts
    shown       of a failed run: the version and last change of its row
"""

from datetime import datetime
from typing import Final

from attrs import evolve, frozen

from levada import Event, Json, Partition
from levada.page import parse_time
from levada_stevora.client import RunRow
from levada_stevora.schedule import AFTER, looks_due

ACTIVE: Final = ("RUNNING", "WAITING", "PAUSED", "PENDING")
"""The documented statuses of runs that go on; unknown ones are taken to go on as well."""

FINAL: Final = frozenset({"COMPLETED", "CANCELLED"})
"""What no transition leads out of. A failed run may be retried, so it is not here."""

FAILED: Final = "FAILED"

ENDS: Final = {
    "WORKFLOW_COMPLETED": "COMPLETED",
    "WORKFLOW_CANCELLED": "CANCELLED",
    "WORKFLOW_FAILED": FAILED,
}
"""The status that a run has after an event of such a type."""


def of_row(row: RunRow, *, uri: str, now: datetime) -> Partition:
    """Return a run as a list shows it."""
    order = parse_time(row.created_at)
    times = (row.updated_at, row.completed_at, row.cancelled_at, row.failed_at)
    changed = latest(*map(parse_time, times))
    memo = {"status": row.status}
    run = Partition(str(row.id), order=order, changed=changed, uri=uri, memo=memo)
    if row.status in FINAL:
        return _ended(run, row.status)
    shown = [row.version, row.updated_at]
    if row.status == FAILED:
        failed_at = changed or order or now
        return _failed(run, shown, failed_at, now)
    # Events of a model or a guardrail need not touch the row of the run they happen in.
    is_always_read = row.status == "RUNNING" or shown == [None, None]
    return evolve(run, version=None if is_always_read else [row.status, *shown])


def dated(
    run: Partition, tracked: Partition | None, since: datetime | None, now: datetime
) -> Partition:
    """Return a run that is listed as over with the time of its end as the linger counts it.

    It came to it after the pass that began at *since*, and its row may be of another clock.
    """
    if status_of(run) not in FINAL:
        return run
    if tracked is not None and tracked.version == run.version:
        return evolve(run, changed=tracked.changed)
    if tracked is not None and run.changed is None:
        return evolve(run, changed=now)
    return _changed(run, run.changed, since, now)


def _changed(
    run: Partition, at: datetime | None, since: datetime | None, now: datetime
) -> Partition:
    changed = latest(run.changed, at, since)
    return evolve(run, changed=min(changed, now) if changed else None)


def latest(*times: datetime | None) -> datetime | None:
    """Return the latest time that is known."""
    return max(filter(None, times), default=None)


def status_of(run: Partition) -> str | None:
    """Return the status that was last shown of a run that is tracked."""
    return run.memo.get("status") if run.memo else None


def is_listed_open(run: Partition) -> bool:
    """Whether a list shows a run as going on: one that failed is looked at without a list."""
    return not run.final and status_of(run) not in {None, FAILED}


def unconfirmed(run: Partition) -> Partition:
    """Return a run whose status is not known any more: it is read, and its events may tell."""
    return evolve(run, version=None, final=False, memo={"status": None})


def scheduled(run: Partition, now: datetime) -> Partition:
    """Return a failed run as it is now: another version whenever a look is due."""
    failed_at = parse_time(run.memo["failed_at"]) or now
    later = _failed(run, run.memo["shown"], failed_at, now)
    return later if run.version is not None else evolve(later, version=None)


@frozen
class Finding:
    """What a read saw at the end of a run's list of events."""

    newest: datetime | None
    """The time of the newest event; None: there is none."""

    ended: str | None
    """The status that one of the newest events says the run has come to."""

    is_new: bool
    """Whether the read brought events that were not known."""

    is_first: bool
    """Whether nothing was known before."""

    since: datetime | None = None
    """When the pass before began; None: not known, or there was none."""


def learnt(run: Partition, found: Finding, now: datetime) -> Partition:
    """Return what is known of a run after a read.

    A list may have been asked before the last events came, so an end that is new counts as well
    as one of a run of which nothing else is known; and a failed run that goes on was retried.
    """
    if found.is_new:
        run = _changed(run, found.newest, None, now)
    status = status_of(run)
    if status in FINAL:
        return run
    if found.ended is not None and (found.is_new or status is None):
        return _to(run, found, found.ended, now)
    if status == FAILED and found.is_new and not found.is_first and found.ended is None:
        return evolve(run, version=None, final=False, memo={"status": "RUNNING"})
    return run


def _to(run: Partition, found: Finding, status: str, now: datetime) -> Partition:
    """Return a run that has come to an end: failed, even once more, counts from then on."""
    if status in FINAL:
        since = found.since if found.since or found.is_first or not found.is_new else now
        return _ended(_changed(run, found.newest, since, now), status)
    failed_at = min(found.newest or now, now)
    if status_of(run) != FAILED:
        return _failed(run, [None, None], failed_at, now)
    before = parse_time(run.memo["failed_at"]) or failed_at
    return _failed(run, run.memo["shown"], max(before, failed_at), now)


def _ended(run: Partition, status: str) -> Partition:
    """Return a run that is over: whatever else its row may show to change, its events will not."""
    return evolve(run, version=[status], final=True, memo={"status": status})


def _failed(run: Partition, shown: Json, failed_at: datetime, now: datetime) -> Partition:
    looks = looks_due(failed_at, now)
    return evolve(
        run,
        version=[FAILED, *shown, looks],
        final=looks == len(AFTER),
        memo={"status": FAILED, "failed_at": failed_at.isoformat(), "shown": shown},
    )


class End:
    """Watches the events that a read sees, for how the newest of them leave the run."""

    def __init__(self) -> None:
        self.newest: datetime | None = None
        self.ended: str | None = None

    def see(self, event: Event) -> None:
        """Take an event into account; several may be the newest."""
        if self.newest is None or event.time > self.newest:
            self.newest, self.ended = event.time, ENDS.get(event.type)
        elif event.time == self.newest:
            self.ended = self.ended or ENDS.get(event.type)
