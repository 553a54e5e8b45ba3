"""How Stevora's API shows runs, their steps and events, with the field names of its pages."""

import msgspec
from attrs import frozen

from levada.sandbox.quirks import Shown
from levada.sandbox.stevora.data import StevoraEvent, StevoraRun, StevoraStepRun
from levada.sandbox.stevora.quirks import StevoraQuirks
from levada.sandbox.stevora.script import STEPS

__all__ = ["StevoraRows"]


@frozen
class StevoraRows:
    """The rows of one answer, of one workspace."""

    workspace_id: str
    quirks: StevoraQuirks

    def run(self, run: StevoraRun) -> Shown:
        """Show a run as the list has it."""
        q = self.quirks
        row = {
            "id": q.id(run.id),
            "workspaceId": self.workspace_id,
            "definitionId": q.id(run.definition.id),
            "definition": {"name": run.definition.name, "version": run.definition.version},
            "status": run.status,
            "currentStepName": run.current_step,
            "input": {"company": "Example Ltd"},
            "state": {},
            "output": {"sent": True} if run.status == "COMPLETED" else None,
            "error": run.error,
            "totalCostCents": round(run.cost_usd * 100, 4),
            "startedAt": q.time(run.started_at),
            "completedAt": q.time(run.ended_at if run.status == "COMPLETED" else None),
            "failedAt": q.time(run.ended_at if run.status == "FAILED" else None),
            "cancelledAt": q.time(run.ended_at if run.status == "CANCELLED" else None),
            "nextRunAt": None,
            "idempotencyKey": None,
            "version": run.version,
            "createdAt": q.time(run.created_at),
            "updatedAt": q.time(run.updated_at),
        }
        if q.bare_runs:
            del row["version"], row["updatedAt"]
        return q.row(row)

    def detail(self, run: StevoraRun) -> Shown:
        """Show a run by itself: with its steps, in the order in which they began."""
        step_runs = [self._step_run(step_run, run) for step_run in run.step_runs]
        return {**self.run(run), "stepRuns": step_runs}

    def event(self, run: StevoraRun, event: StevoraEvent) -> Shown | msgspec.Raw:
        """Show an event of a run."""
        q = self.quirks
        if not q.changes_events:
            return msgspec.Raw(event.json)
        data = event.data
        step_run_id = None if q.null_steps else data["stepRunId"]
        row = {
            "id": q.id(event.id),
            "workflowRunId": q.id(run.id),
            "stepRunId": None if step_run_id is None else q.id(step_run_id),
            "eventType": q.event_type(event.id, event.event_type),
            "payload": None if q.null_payloads else data["payload"],
            "createdAt": q.time(event.created_at),
        }
        return q.row(row)

    def _step_run(self, step_run: StevoraStepRun, run: StevoraRun) -> Shown:
        q = self.quirks
        return {
            "id": q.id(step_run.id),
            "workflowRunId": q.id(run.id),
            "stepName": step_run.step,
            "stepType": STEPS.get(step_run.step, "task"),
            "status": step_run.status,
            "attempt": step_run.attempt,
            "startedAt": q.time(step_run.started_at),
            "completedAt": q.time(step_run.ended_at),
        }
