"""What a Kapso project holds: workflows, their executions and the events of those."""

from bisect import bisect_right, insort
from collections.abc import Iterator
from datetime import datetime
from operator import attrgetter, itemgetter
from random import Random
from typing import Any, Final, Literal

import msgspec
from attrs import define, field, frozen

from levada.sandbox.kapso.script import STEPS, Beat, KapsoStatus
from levada.sandbox.world import new_uuid, rfc3339

__all__ = ["KapsoEvent", "KapsoExecution", "KapsoWorkflow", "shown_steps"]

_KEY: Final = attrgetter("key")
_MOMENT: Final = itemgetter(0)
_FINAL: Final = frozenset[KapsoStatus]({"ended", "failed"})


@frozen
class KapsoEvent:
    """An event and the JSON in which the API lists it, encoded once.

    It is listed from `visible_at` on, which may be some time after its own.
    """

    id: str
    event_type: str
    created_at: datetime
    visible_at: datetime
    json: bytes = field(repr=False)

    @property
    def key(self) -> tuple[datetime, str]:
        """What events are sorted by."""
        return self.created_at, self.id

    @property
    def data(self) -> dict[str, Any]:
        """The event as the API shows it, decoded anew each time."""
        decoded: dict[str, Any] = msgspec.json.decode(self.json)
        return decoded


@define(kw_only=True, eq=False)
class KapsoWorkflow:
    """A workflow; `executions` oldest first, `steps` by identifier as the API shows them."""

    id: str
    name: str
    slug: str
    created_at: datetime
    status: Literal["draft", "active", "archived"] = "active"
    steps: dict[str, dict[str, Any]] = field(repr=False)
    executions: list["KapsoExecution"] = field(factory=list, repr=False)


@define(kw_only=True, eq=False)
class KapsoExecution:
    """One run of a workflow; `events` are the visible ones, oldest first, equal times by id."""

    id: str
    workflow: KapsoWorkflow = field(repr=False)
    started_at: datetime
    last_event_at: datetime
    tracking_id: str
    whatsapp_conversation_id: str
    status: KapsoStatus = "running"
    waiting_reason: str | None = None
    ended_at: datetime | None = None
    current_step: str | None = None
    error_details: dict[str, Any] | None = None
    events: list[KapsoEvent] = field(factory=list, repr=False)
    _moves: list[tuple[datetime, datetime]] = field(init=False, factory=list, repr=False)
    rng: Random = field(repr=False)
    beats: Iterator[Beat] = field(repr=False)

    @property
    def key(self) -> tuple[datetime, str]:
        """What executions are sorted by."""
        return self.started_at, self.id

    @property
    def is_final(self) -> bool:
        """Whether the execution has ended or failed."""
        return self.status in _FINAL

    def event_of(self, beat: Beat, created_at: datetime, visible_at: datetime) -> KapsoEvent:
        """Make an event of this execution, without adding it."""
        event_id = new_uuid(self.rng)
        shown: dict[str, Any] = {
            "id": event_id,
            "event_type": beat.event_type,
            "direction": beat.edge_label,
            "edge_label": beat.edge_label,
            "created_at": rfc3339(created_at),
            "payload": beat.payload(self.rng),
        }
        if beat.step is not None:
            shown["step"] = self.workflow.steps[beat.step]
        json = msgspec.json.encode(shown)
        return KapsoEvent(event_id, beat.event_type, created_at, visible_at, json)

    def show(self, event: KapsoEvent) -> None:
        """List an event from now on, in its place."""
        insort(self.events, event, key=_KEY)

    def move(self, event: KapsoEvent, *, at: datetime) -> None:
        """Take over an event's time, if there is none later; `at` is when that happens."""
        if event.created_at > self.last_event_at:
            self.last_event_at = event.created_at
            self._moves.append((at, event.created_at))

    def last_event_at_by(self, moment: datetime) -> datetime:
        """Return what `last_event_at` was at a moment."""
        moves = bisect_right(self._moves, moment, key=_MOMENT)
        return self._moves[moves - 1][1] if moves else self.started_at

    def follow(self, beat: Beat, event: KapsoEvent) -> None:
        """Take over what an event says about the execution; a final one stays as it is."""
        if self.is_final:
            return
        self.status = beat.status
        self.waiting_reason = "wait_for_response" if beat.status == "waiting" else None
        if beat.event_type == "step_entered":
            self.current_step = beat.step
        elif beat.event_type in {"step_completed", "step_failed"}:
            self.current_step = None
        if beat.status in _FINAL:
            self.ended_at, self.current_step = event.created_at, None
        if beat.status == "failed":
            self.error_details = event.data["payload"]


def shown_steps(rng: Random) -> dict[str, dict[str, Any]]:
    """Make the steps of a workflow: identifier to how the API shows a step."""
    return {
        identifier: {
            "id": new_uuid(rng),
            "identifier": identifier,
            "stepable_type": stepable_type,
            "position": {"x": 240 * column, "y": 120},
        }
        for column, (identifier, stepable_type) in enumerate(STEPS.items())
    }
