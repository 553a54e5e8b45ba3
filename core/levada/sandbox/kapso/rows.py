"""How Kapso's API shows workflows, executions and events, with the names of its reference."""

from datetime import datetime

import msgspec
from attrs import frozen

from levada.sandbox.kapso.data import KapsoEvent, KapsoExecution, KapsoWorkflow
from levada.sandbox.kapso.quirks import KapsoQuirks
from levada.sandbox.quirks import Shown

__all__ = ["KapsoRows"]


@frozen
class KapsoRows:
    """The rows of one answer, made at `now` for one project."""

    project_id: str
    now: datetime
    quirks: KapsoQuirks

    def workflow(self, workflow: KapsoWorkflow) -> Shown:
        """Show a workflow, with how often and when it was last executed."""
        q, executions = self.quirks, workflow.executions
        last = executions[-1].started_at if executions else None
        row = {
            "id": q.id(workflow.id),
            "name": workflow.name,
            "slug": workflow.slug,
            "status": workflow.status,
            "lock_version": 0,
            "project_id": self.project_id,
            "execution_count": len(executions),
            "last_executed_at": q.time(last),
            "created_at": q.time(workflow.created_at),
            "updated_at": q.time(workflow.created_at),
        }
        if q.bare_workflows:
            del row["execution_count"], row["last_executed_at"]
        return q.row(row)

    def execution(self, execution: KapsoExecution) -> Shown:
        """Show an execution as the list has it."""
        row = self._execution(execution)
        if self.quirks.no_status:
            del row["status"]
        return self.quirks.row(row)

    def detail(self, execution: KapsoExecution) -> Shown:
        """Show an execution by itself: with its context and its whole history, oldest first."""
        q, is_waiting = self.quirks, execution.status == "waiting"
        row = {
            **self._execution(execution),
            "error_details": execution.error_details,
            "resumable_execution_id": q.id(execution.id) if is_waiting else None,
            "execution_context": self._context(execution),
            "events": [self.event(event) for event in self._history(execution)],
        }
        return q.row(row)

    def event(self, event: KapsoEvent) -> Shown | msgspec.Raw:
        """Show an event, in the list or in the detail."""
        q = self.quirks
        if not q.changes_events:
            return msgspec.Raw(event.json)
        row = event.data
        row["id"] = q.id(event.id)
        row["event_type"] = q.event_type(event.id, event.event_type)
        row["created_at"] = q.time(event.created_at)
        row["payload"] = None if q.null_payloads else row["payload"]
        if q.null_steps:
            row["step"] = None
        elif "step" in row:
            row["step"] = self._step(row["step"])
        return q.row(row)

    def _execution(self, execution: KapsoExecution) -> Shown:
        q, workflow, step = self.quirks, execution.workflow, execution.current_step
        return {
            "id": q.id(execution.id),
            "status": execution.status,
            "started_at": q.time(execution.started_at),
            "last_event_at": q.time(self._last_event_at(execution)),
            "ended_at": q.time(execution.ended_at),
            "tracking_id": execution.tracking_id,
            "whatsapp_conversation_id": execution.whatsapp_conversation_id,
            "workflow": {
                "id": q.id(workflow.id),
                "name": workflow.name,
                "status": workflow.status,
            },
            "current_step": self._step(None if step is None else workflow.steps[step]),
        }

    def _last_event_at(self, execution: KapsoExecution) -> datetime:
        lag = self.quirks.last_event_at_lag
        return execution.last_event_at_by(self.now - lag) if lag else execution.last_event_at

    def _history(self, execution: KapsoExecution) -> list[KapsoEvent]:
        newest, oldest = self.quirks.detail_newest, self.quirks.detail_oldest
        return execution.events[-newest if newest else None :][: oldest or None]

    def _step(self, step: Shown | None) -> Shown | None:
        return None if step is None else {**step, "id": self.quirks.id(step["id"])}

    def _context(self, execution: KapsoExecution) -> Shown:
        size = self.quirks.context_bytes
        return {
            "vars": {"order_number": 40_217, **({"transcript": "x" * size} if size else {})},
            "system": {"trigger_type": "inbound_message", "tracking_id": execution.tracking_id},
            "context": {"phone_number": "+15550100", "channel": "whatsapp"},
            "metadata": {},
        }
