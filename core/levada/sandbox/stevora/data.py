"""What a Stevora workspace holds: workflow definitions, their runs and the events of those."""

from bisect import insort
from collections.abc import Iterator
from datetime import datetime
from operator import attrgetter
from random import Random
from typing import Any, Final

import msgspec
from attrs import define, field, frozen

from levada.sandbox.stevora.script import Beat, StevoraStatus
from levada.sandbox.world import rfc3339

__all__ = ["StevoraDefinition", "StevoraEvent", "StevoraRun", "StevoraStepRun", "new_id"]

_TIME: Final = attrgetter("created_at")
_FINAL: Final = frozenset[StevoraStatus]({"COMPLETED", "FAILED", "CANCELLED"})
_STEP_STATUSES: Final = {
    "STEP_STARTED": "RUNNING",
    "STEP_RETRYING": "RUNNING",
    "STEP_FAILED": "FAILED",
    "STEP_COMPLETED": "COMPLETED",
    "APPROVAL_REQUESTED": "WAITING",
    "APPROVAL_DECIDED": "RUNNING",
    "WORKFLOW_PAUSED": "WAITING",
    "SIGNAL_RECEIVED": "RUNNING",
}
"""Event type to what the step has afterwards; other events leave it as it is."""


def new_id(prefix: str, rng: Random) -> str:
    """Return the next id of `rng`: a prefix that tells the kind, and something opaque."""
    return f"{prefix}_{rng.getrandbits(80):020x}"


@frozen
class StevoraEvent:
    """An event and the JSON in which the API lists it, encoded once.

    It is listed from `visible_at` on, which may be some time after its own.
    """

    id: str
    event_type: str
    created_at: datetime
    visible_at: datetime
    json: bytes = field(repr=False)

    @property
    def data(self) -> dict[str, Any]:
        """The event as the API shows it, decoded anew each time."""
        decoded: dict[str, Any] = msgspec.json.decode(self.json)
        return decoded


@frozen
class StevoraDefinition:
    """A workflow definition; immutable, a change makes a new version."""

    id: str
    name: str
    created_at: datetime
    version: str = "1.0.0"


@define(kw_only=True, eq=False)
class StevoraStepRun:
    """One pass of a run through a step."""

    id: str
    step: str
    status: str = "RUNNING"
    attempt: int = 1
    started_at: datetime
    ended_at: datetime | None = None


@define(kw_only=True, eq=False)
class StevoraRun:
    """One run of a definition; `events` are the visible ones, oldest first, ties as they came.

    `version` and `updated_at` move with the run's status and steps, not with LLM events.
    `step_runs` are in the order in which they began.
    """

    id: str
    definition: StevoraDefinition = field(repr=False)
    created_at: datetime
    updated_at: datetime
    status: StevoraStatus = "PENDING"
    version: int = 1
    current_step: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None
    cost_usd: float = 0.0
    step_runs: list[StevoraStepRun] = field(factory=list, repr=False)
    events: list[StevoraEvent] = field(factory=list, repr=False)
    rng: Random = field(repr=False)
    beats: Iterator[Beat] = field(repr=False)

    @property
    def is_final(self) -> bool:
        """Whether the run has completed, failed or been cancelled."""
        return self.status in _FINAL

    def event_of(self, beat: Beat, created_at: datetime, visible_at: datetime) -> StevoraEvent:
        """Make an event of this run, without adding it."""
        event_id = new_id("evt", self.rng)
        shown = {
            "id": event_id,
            "workflowRunId": self.id,
            "stepRunId": self._step_run_id(beat, created_at),
            "eventType": beat.event_type,
            "payload": beat.payload(self.rng),
            "createdAt": rfc3339(created_at),
        }
        json = msgspec.json.encode(shown)
        return StevoraEvent(event_id, beat.event_type, created_at, visible_at, json)

    def show(self, event: StevoraEvent) -> None:
        """List an event from now on, in its place."""
        insort(self.events, event, key=_TIME)

    def follow(self, beat: Beat, event: StevoraEvent) -> None:
        """Take over what an event says about the run; a final one stays as it is."""
        if self.is_final:
            return
        status = beat.status or ("RUNNING" if self.status in {"WAITING", "PAUSED"} else None)
        if status is not None:
            self._change(status, event.created_at)
        self.started_at = self.started_at or event.created_at
        if beat.step is not None:
            self._follow_step(beat, event)
        if beat.event_type == "LLM_CALL_COMPLETED":
            self.cost_usd += event.data["payload"]["costUsd"]
        if beat.status == "FAILED":
            self.error = event.data["payload"].get("error")

    def reopen(self) -> None:
        """Take a failed run back: it goes on with its next event."""
        self.status, self.error, self.ended_at = "RUNNING", None, None
        self.version += 1

    def _change(self, status: StevoraStatus, time: datetime) -> None:
        self.status, self.updated_at = status, time
        self.version += 1
        if status in _FINAL:
            self.ended_at, self.current_step = time, None

    def _follow_step(self, beat: Beat, event: StevoraEvent) -> None:
        step_run = self.step_runs[-1]
        step_run.status = _STEP_STATUSES.get(beat.event_type, step_run.status)
        step_run.attempt += beat.event_type == "STEP_RETRYING"
        is_over = step_run.status in {"COMPLETED", "FAILED"}
        step_run.ended_at = event.created_at if is_over else None
        self.current_step = None if step_run.status == "COMPLETED" else beat.step

    def _step_run_id(self, beat: Beat, time: datetime) -> str | None:
        if beat.step is None:
            return None
        last = self.step_runs[-1] if self.step_runs else None
        if last is None or last.step != beat.step or beat.event_type == "STEP_STARTED":
            last = StevoraStepRun(id=new_id("srun", self.rng), step=beat.step, started_at=time)
            self.step_runs.append(last)
        return last.id
